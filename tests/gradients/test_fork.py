"""The fork against the analytic answers for linear stacks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.blueprint.trace import trace
from resseg.gradients.fork import (
    Fork,
    fork_name,
    scale_cotangent,
    statistics_by_fork,
)
from resseg.gradients.statistics import TapStatistics

L, N = 6, 8


class LinearStack(nn.Module):
    """x <- c x + w A x, L times, with a fork in front of each block."""

    matrix: np.ndarray
    c: float = 1.0
    w: float = 1.0
    alpha: float = 1.0
    gamma: float = 1.0

    @nn.compact
    def __call__(self, x, train=False):
        for i in range(L):
            paths, factors = ("shortcut", "branch"), (self.alpha, self.gamma)
            shortcut, branch = Fork("block", paths, factors, name=f"block{i}")(x)
            x = self.c * shortcut + self.w * (branch @ self.matrix.T)
        return x


def rotation(theta):
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    return np.kron(np.eye(N // 2), turn).astype(np.float32)


def measure(stack):
    """Value; per block squares of shortcut, branch, total; that of the cotangent."""
    x = jax.random.normal(jax.random.key(0), (3, N))
    cotangent = jax.random.normal(jax.random.key(1), (3, N))
    variables = stack.init(jax.random.key(0), x)

    def run(x, taps):
        return stack.apply({"paths": variables["paths"], "taps": taps}, x)

    y, pull = jax.vjp(run, x, variables["taps"])
    gradient, taps = pull(cotangent)
    found = statistics_by_fork(taps)
    blocks = [found[f"block{i}"] for i in range(L)]
    measured = np.array([[*block.squares, block.total_square] for block in blocks])
    # The batch is summed over in the squares, never in the gradient itself.
    np.testing.assert_allclose(measured[0, 2], jnp.sum(gradient**2), rtol=1e-6)
    return y, measured, float(jnp.sum(cotangent**2))


@pytest.mark.parametrize(("c", "w"), [(1.0, 1.0), (0.5, 1.0), (1.0, -0.25)])
def test_identity_stack_grows_by_c_plus_w(c, w):
    _, squares, top = measure(LinearStack(np.eye(N, dtype=np.float32), c, w))
    ratio = np.sqrt(squares[:, 2] / top)
    expected = np.abs(c + w) ** (L - np.arange(L))
    np.testing.assert_allclose(ratio, expected, rtol=1e-5)


@pytest.mark.parametrize("theta", [0.3, 2.0])
def test_rotation_gives_share_and_cosine(theta):
    c, w = 1.0, 0.5
    _, squares, _ = measure(LinearStack(rotation(theta), c, w))
    shortcut, branch, total = squares.T
    np.testing.assert_allclose(np.sqrt(shortcut / branch), abs(c / w), rtol=1e-5)
    cosine = (total - shortcut - branch) / (2 * np.sqrt(shortcut * branch))
    np.testing.assert_allclose(cosine, np.cos(theta), rtol=1e-4)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.5, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_backward_factors_leave_the_value_and_scale_the_gradient(alpha, gamma):
    eye, c, w = np.eye(N, dtype=np.float32), 0.75, 0.5
    y, squares, top = measure(LinearStack(eye, c, w, alpha, gamma))
    plain, *_ = measure(LinearStack(eye, c, w))
    np.testing.assert_array_equal(y, plain)
    expected = (alpha * c + gamma * w) ** (L - np.arange(L))
    np.testing.assert_allclose(np.sqrt(squares[:, 2] / top), expected, rtol=1e-5)


def test_factors_are_traced_inputs():
    stack = LinearStack(np.eye(N, dtype=np.float32))
    x = jnp.ones((1, N))
    paths = stack.init(jax.random.key(0), x)["paths"]
    compiled = jax.jit(
        jax.grad(lambda x, paths: stack.apply({"paths": paths}, x).sum())
    )
    gradients = [
        compiled(x, jax.tree.map(lambda leaf, f=f: leaf * f, paths)) for f in (1, 0.5)
    ]
    assert compiled._cache_size() == 1
    np.testing.assert_allclose(gradients[0], 2.0**L)
    np.testing.assert_allclose(gradients[1], 1.0)


def test_scale_cotangent_is_exact_for_every_value():
    x = jax.random.normal(jax.random.key(0), (100_000,)) * 1e3
    x = x.at[:3].set(jnp.array([jnp.inf, -jnp.inf, 1e-42]))
    for factor in (0.0, 0.1, 1 / 3, 3.0):
        np.testing.assert_array_equal(scale_cotangent(x, jnp.float32(factor)), x)


def test_scale_cotangent_works_forward_and_gives_its_factor_no_gradient():
    def f(x, a):
        return scale_cotangent(x, a) ** 2

    at, along = (jnp.float32(3), jnp.float32(0.5)), (jnp.float32(1), jnp.float32(1))
    _, tangent = jax.jvp(f, at, along)
    np.testing.assert_allclose(tangent, 3.0)
    assert jax.grad(f, argnums=1)(*at) == 0.0


def test_without_taps_a_fork_is_a_plain_copy():
    stack = LinearStack(np.eye(N, dtype=np.float32))
    x = jnp.ones((2, N))
    paths = stack.init(jax.random.key(0), x)["paths"]
    _, tangent = jax.jvp(lambda x: stack.apply({"paths": paths}, x), (x,), (x,))
    np.testing.assert_allclose(tangent, 2.0**L)
    plain = jax.grad(lambda x: stack.apply({"paths": paths}, x).sum())
    assert "is_finite" not in str(jax.make_jaxpr(plain)(x))
    assert "custom_vjp" not in str(jax.make_jaxpr(plain)(x))


def test_five_paths_add_up_bit_for_bit_with_and_without_taps():
    class Five(nn.Module):
        @nn.compact
        def __call__(self, x):
            copies = Fork("pyramid", tuple("abcde"), name="fork")(x)
            return sum(jnp.sin((i + 1.3) * copy) for i, copy in enumerate(copies))

    x = jax.random.normal(jax.random.key(0), (64, 64))
    variables = Five().init(jax.random.key(0), x)
    paths, taps = variables["paths"], variables["taps"]
    plain = jax.grad(lambda x: Five().apply({"paths": paths}, x).sum())(x)
    tapped = jax.grad(lambda x: Five().apply({"paths": paths, "taps": taps}, x).sum())(
        x
    )
    np.testing.assert_array_equal(plain, tapped)


def test_non_finite_cotangents_are_counted_and_not_repaired():
    stack = LinearStack(np.eye(N, dtype=np.float32))
    x = jnp.ones((2, N))
    variables = stack.init(jax.random.key(0), x)
    poison = jnp.ones((2, N)).at[0, 1].set(jnp.nan)
    _, pull = jax.vjp(
        lambda taps: stack.apply({"paths": variables["paths"], "taps": taps}, x),
        variables["taps"],
    )
    measured = statistics_by_fork(pull(poison)[0])["block5"]
    # c * NaN stays one entry; the product with A spreads it over its row.
    np.testing.assert_array_equal(measured.nonfinite, [1, N])
    assert measured.total_nonfinite == N
    assert np.isnan([*measured.squares, measured.total_square]).all()


def test_measurement_needs_no_memory_that_grows_with_the_batch():
    stack = LinearStack(np.eye(N, dtype=np.float32))
    for batch in (1, 50):
        taps = stack.init(jax.random.key(0), jnp.ones((batch, N)))["taps"]
        assert {leaf.shape for leaf in jax.tree.leaves(taps)} == {(3, 3)}


def test_forks_are_listed_in_the_order_of_the_signal():
    forks = trace(LinearStack(np.eye(N, dtype=np.float32)), (5, N)).forks
    assert [fork.name for fork in forks] == [f"block{i}" for i in range(L)]
    assert forks[0].shape == (5, N)
    assert forks[0].paths == ("shortcut", "branch")


def test_a_fork_goes_by_the_name_of_its_block():
    assert (
        fork_name(("backbone", "stage1", "block1", "fork")) == "backbone/stage1/block1"
    )
    assert fork_name(("backbone", "long_skip_stem")) == "backbone/long_skip_stem"


def test_means_over_batches_leave_counts_of_entries_alone():
    sums = TapStatistics(np.arange(9.0).reshape(3, 3) * 6)
    means = sums.per_batch(3)
    np.testing.assert_array_equal(means.squares, sums.squares / 3)
    np.testing.assert_array_equal(means.total_square, sums.total_square / 3)
    np.testing.assert_array_equal(means.inner, sums.inner / 3)
    np.testing.assert_array_equal(means.nonfinite, sums.nonfinite)
    assert means.total_nonfinite == sums.total_nonfinite > 0


def test_statistics_are_read_by_name_behind_any_axes():
    a, b = np.float32([[3, 4, np.inf], [1, 2, 2]])
    one = TapStatistics.of((jnp.asarray(b), jnp.asarray(a)), jnp.asarray(a + b))
    stacked = jax.tree.map(lambda leaf: np.stack([leaf] * 2), one)
    assert stacked.squares.tolist() == [[9.0, np.inf]] * 2
    assert stacked.nonfinite.tolist() == [[0, 1]] * 2
    assert stacked.total_square.tolist() == [np.inf] * 2
    assert stacked.total_nonfinite.tolist() == [1] * 2
    assert TapStatistics.of((b[:2], a[:2]), a[:2]).inner == 11
    assert TapStatistics.zero_tap(2).shape == one.array.shape
