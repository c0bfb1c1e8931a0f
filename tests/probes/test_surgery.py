"""Removing and exchanging blocks, against stacks whose answer is known (O29)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.blueprint.trace import trace
from resseg.gradients.fork import Fork
from resseg.models.shortcuts import PathFactor
from resseg.probes.surgery import (
    interchangeable,
    pairs,
    reordered,
    scrambled,
    without_branches,
)

C = (1.0, 0.5, 2.0, 1.5)
W = (0.25, 1.0, -0.5, 3.0)


class Scalar(nn.Module):
    """y = c x + w x"""

    c: float
    w: float
    learn: str = "no"

    @nn.compact
    def __call__(self, x):
        shortcut, branch = Fork("block", ("shortcut", "branch"), name="fork")(x)
        return PathFactor(value=self.c, name="shortcut_factor")(shortcut) + PathFactor(
            self.learn, self.w, name="branch_factor"
        )(branch)


class Scalars(nn.Module):
    learn: str = "no"

    @nn.compact
    def __call__(self, x, train=False):
        for i in range(len(C)):
            x = Scalar(C[i], W[i], self.learn, name=f"block{i + 1}")(x)
        return x


class Matrices(nn.Module):
    """x + A x with matrices that commute or not, which are parameters."""

    @nn.compact
    def __call__(self, x):
        for i in range(3):
            x = x + nn.Dense(2, use_bias=False, name=f"block{i + 1}")(x)
        return x


@pytest.fixture
def x():
    return jnp.array([[1.0, -2.0]])


@pytest.mark.parametrize("learn", ["no", "scalar"])
@pytest.mark.parametrize("block", range(4))
def test_without_its_branch_a_scalar_block_passes_c_of_c_plus_w(x, learn, block):
    model = Scalars(learn)
    variables = dict(model.init(jax.random.key(0), x))
    without = without_branches(variables, [f"block{block + 1}"])
    ratio = model.apply(without, x) / model.apply(variables, x)
    np.testing.assert_allclose(ratio, C[block] / (C[block] + W[block]), rtol=1e-6)
    # Nothing but that one number is touched.
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), variables, without)
    assert sum(jax.tree.leaves(changed)) == 1


def test_removals_multiply(x):
    model = Scalars()
    variables = dict(model.init(jax.random.key(0), x))
    without = without_branches(variables, ["block1", "block4"])
    expected = np.prod([C[i] / (C[i] + W[i]) for i in (0, 3)])
    ratio = model.apply(without, x) / model.apply(variables, x)
    np.testing.assert_allclose(ratio, expected, rtol=1e-6)


def test_a_removal_does_not_recompile(x):
    model = Scalars()
    variables = dict(model.init(jax.random.key(0), x))
    apply = jax.jit(model.apply)
    for blocks in ([], ["block1"], ["block2", "block3"]):
        apply(without_branches(variables, blocks), x)
    assert apply._cache_size() == 1


def test_an_unknown_block_is_refused(x):
    variables = dict(Scalars().init(jax.random.key(0), x))
    with pytest.raises(ValueError, match="no branch factor of block9"):
        without_branches(variables, ["block9"])


def test_the_order_of_scalar_blocks_changes_nothing(x):
    model = Scalars()
    variables = dict(model.init(jax.random.key(0), x))
    names = [f"block{i + 1}" for i in (2, 0, 3, 1)]
    places = [f"block{i + 1}" for i in range(4)]
    moved = reordered(variables, dict(zip(places, names, strict=True)))
    np.testing.assert_allclose(
        model.apply(moved, x), model.apply(variables, x), rtol=1e-6
    )
    factor = moved["paths"]["block1"]["branch_factor"]["factor"]
    assert factor == W[2]


def test_the_order_matters_only_where_blocks_do_not_commute(x):
    model = Matrices()
    turn, mirror = np.array([[0, 1], [-1, 0]]), np.array([[1, 0], [0, -1]])
    swap = {"block1": "block2", "block2": "block1"}

    def change(first, second):
        kernels = (first, second, np.eye(2))
        variables = {
            "params": {
                f"block{i + 1}": {"kernel": jnp.asarray(kernel, jnp.float32)}
                for i, kernel in enumerate(kernels)
            }
        }
        moved = model.apply(reordered(variables, swap), x)
        return float(jnp.abs(moved - model.apply(variables, x)).max())

    assert change(turn, 3 * turn + np.eye(2)) == 0  # polynomials of one matrix
    assert change(turn, mirror) > 1


def test_blocks_of_equal_variables_and_signals_form_a_group(x):
    model = Scalars()
    variables = dict(model.init(jax.random.key(0), x))
    forks = trace(model, x.shape).forks
    shapes = {f"block{i + 1}": x.shape for i in range(4)}
    names = tuple(shapes)
    assert interchangeable(variables, forks, shapes) == [names]
    # One that puts out another shape, and one with other variables, stay apart.
    other = shapes | {"block2": (1, 7)}
    assert interchangeable(variables, forks, other) == [("block1", "block3", "block4")]
    variables["params"] = {"block4": {"bias": jnp.zeros(2)}}
    assert interchangeable(variables, forks, other) == [("block1", "block3")]


@pytest.mark.parametrize("inversions", [0, 1, 5, 9, 13])
def test_scrambling_turns_exactly_so_many_pairs_around(inversions):
    sizes = (2, 4, 1, 4)
    assert pairs(sizes) == 13
    for seed in range(5):
        orders = scrambled(sizes, inversions, np.random.default_rng(seed))
        assert [sorted(order) for order in orders] == [list(range(s)) for s in sizes]
        turned = sum(
            order[i] > order[j]
            for order in orders
            for j in range(len(order))
            for i in range(j)
        )
        assert turned == inversions


def test_more_inversions_than_pairs_are_refused():
    with pytest.raises(ValueError, match="4 inversions of 3 pairs"):
        scrambled((3,), 4, np.random.default_rng(0))
