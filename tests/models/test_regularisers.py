"""What drops and shakes: shares, means, and factors forward and backward apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg import sharding
from resseg.gradients.apart import apart
from resseg.gradients.measure import by_taps
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import BlockStyle
from resseg.models.ops.halo import splitting
from resseg.models.regularisers import DropBlock, DropPath, ShakeDrop, ShakeShake
from resseg.models.resnet import ResNet

KEY = jax.random.key(3)
X = np.random.default_rng(0).normal(size=(8, 6, 6, 4)).astype(np.float32)


def applied(module, *inputs, train=True, rate=None, key=KEY):
    variables = {} if rate is None else {"paths": {"rate": jnp.float32(rate)}}
    return module.apply(variables, *inputs, train, rngs={"dropout": key})


def with_cotangents(module, *inputs, rate=None):
    """What it puts out, and the cotangents of its inputs for one of all ones."""
    value, pull = jax.vjp(lambda *x: applied(module, *x, rate=rate), *inputs)
    return value, pull(jnp.ones_like(value))


def test_a_factor_forward_and_another_backward():
    forward, backward = (np.full((8, 1, 1, 1), f, np.float32) for f in (0.3, -2.0))
    value, pull = jax.vjp(apart, jnp.asarray(X), forward, backward)
    np.testing.assert_array_equal(value, X * forward)
    of_x, *of_factors = pull(jnp.ones_like(value))
    np.testing.assert_array_equal(of_x, np.full_like(X, -2.0))
    assert not any(map(np.any, of_factors))


def drop_block_mask(size, rate, key=KEY, shape=(16, 24, 20, 8)):
    ones = jnp.ones(shape)
    dropped = np.asarray(applied(DropBlock(0.0, size), ones, rate=rate, key=key))
    return dropped, dropped > 0


def test_dropped_squares_are_whole_and_keep_the_mean():
    value, kept = drop_block_mask(5, 0.2)
    assert value.mean() == pytest.approx(1, rel=1e-5)
    assert np.unique(value).size == 2
    # Each square lies inside; about a fifth is gone, less what overlaps.
    assert 0.15 < 1 - kept.mean() < 0.2
    squares = np.lib.stride_tricks.sliding_window_view(~kept, (5, 5), (1, 2))
    whole = squares.all((-1, -2))
    covered = np.zeros_like(kept)
    for at in np.argwhere(whole):
        image, y, x, channel = at
        covered[image, y : y + 5, x : x + 5, channel] = True
    np.testing.assert_array_equal(covered, ~kept)
    # Channels and images are drawn apart.
    assert (kept[:1] != kept[1:2]).any() and (kept[..., :1] != kept[..., 1:2]).any()


@pytest.mark.parametrize(("size", "side"), [(1, 1), (4, 3), (99, 5)])
def test_squares_have_the_next_odd_side_below_and_fit(size, side):
    _, kept = drop_block_mask(size, 0.02, shape=(64, 5, 6, 4))
    rows = (~kept).any(2).sum(1)
    assert rows[rows > 0].min() == side


def test_nothing_is_dropped_at_rate_0_or_in_evaluation():
    np.testing.assert_array_equal(applied(DropBlock(0.0, 3), X, rate=0.0), X)
    for module in (DropBlock(0.5, 3), DropPath(0.5)):
        np.testing.assert_array_equal(applied(module, X, train=False, rate=0.5), X)


def test_squares_reach_over_devices():
    mesh = sharding.make_mesh(1, 4)
    split = sharding.by_batch(mesh)

    def drop(x):
        return applied(DropBlock(0.0, 7), x, rate=0.3)

    def on_devices(x):
        with splitting(split):
            return drop(x)

    ones = np.ones((2, 8, 8, 3), np.float32)
    several = jax.jit(on_devices, in_shardings=split)(sharding.put(ones, split))
    np.testing.assert_allclose(several, jax.jit(drop)(ones), rtol=1e-6)
    assert (np.asarray(several) == 0).any()


def test_paths_are_dropped_by_image_and_others_make_up_for_it():
    many = np.ones((4000, 1, 1, 2), np.float32)
    value = np.asarray(applied(DropPath(0.0), many, rate=0.25))
    assert set(np.unique(value)) == {0, np.float32(4 / 3)}
    assert (value[..., 0] == value[..., 1]).all()
    assert value.mean() == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("forward", ["shake", "even"])
@pytest.mark.parametrize("backward", ["shake", "even", "keep"])
def test_shake_shake_mixes_two_branches_backward_otherwise(forward, backward):
    other = 2 * X
    module = ShakeShake(forward, backward)
    value, (of_one, of_other) = with_cotangents(module, X, other)
    alpha = np.asarray((value - other) / (X - other))[:, :1, :1, :1]
    mixed = alpha * X + (1 - alpha) * other
    np.testing.assert_allclose(value, mixed, rtol=1e-3, atol=1e-4)
    beta = np.asarray(of_one)[:, :1, :1, :1]
    np.testing.assert_allclose(of_one, np.broadcast_to(beta, X.shape))
    np.testing.assert_allclose(of_one + of_other, np.ones_like(X), rtol=1e-6)
    for drawn, kind in ((alpha, forward), (beta, backward)):
        if kind == "even":
            np.testing.assert_allclose(drawn, 0.5, rtol=1e-3)
        else:
            assert np.unique(drawn.round(4)).size == 8 or kind == "keep"
            assert drawn.min() > -1e-3 and drawn.max() < 1 + 1e-3
    same = np.allclose(alpha, beta, atol=1e-3)
    assert same == (backward == "keep" or (forward == backward == "even"))
    even = applied(module, X, other, train=False)
    np.testing.assert_allclose(even, 1.5 * X, rtol=1e-6)


def test_shake_drop_shakes_a_share_of_images():
    many = np.ones((8000, 1, 1, 1), np.float32)
    value, (cotangent,) = with_cotangents(ShakeDrop(0.0), many, rate=0.4)
    alpha, beta = np.ravel(value), np.ravel(cotangent)
    left = alpha == 1
    assert left.mean() == pytest.approx(0.6, abs=0.03) and (beta[left] == 1).all()
    assert alpha[~left].min() < -0.95 and abs(alpha[~left].mean()) < 0.05
    assert beta.min() >= 0 and beta[~left].mean() == pytest.approx(0.5, abs=0.03)
    assert abs(np.corrcoef(alpha[~left], beta[~left])[0, 1]) < 0.05
    evaluated = applied(ShakeDrop(0.0), many, train=False, rate=0.4)
    np.testing.assert_allclose(evaluated, 0.6, rtol=1e-6)
    assert value.mean() == pytest.approx(0.6, abs=0.03)


class Marked(Block):
    """A block whose branch is the identity, so that factors are all there is."""

    def branches(self, x, train, activated):
        rate = self.factors.shake
        return ShakeDrop(rate, "shake", "shake", name="branch_shake")(x, train)

    def finish(self, y, train):
        return y


def test_a_fork_measures_the_backward_factor_of_a_shaken_branch():
    """What forks see is beta, not alpha: g_branch = beta G, y = (1 + alpha) x."""
    x = np.ones((1, 2, 2, 3), np.float32)
    block = Marked(3, style=BlockStyle(shake="shake_drop"))
    variables = block.init({"params": KEY, "dropout": KEY}, x, True)
    paths = dict(variables["paths"])
    paths["branch_shake"] = {"rate": jnp.float32(1 - 1e-7)}

    def loss(params, collections):
        y = block.apply({"paths": paths, **collections}, x, True, rngs={"dropout": KEY})
        return y.sum(), y

    taps = jax.tree.map(jnp.zeros_like, variables["taps"])
    (_, y), _, forks = by_taps(loss, {}, taps)
    (statistics,) = forks.values()
    shortcut, branch, total = np.asarray(statistics.array)[:, 0]
    alpha, beta = float(y[0, 0, 0, 0]) - 1, np.sqrt(branch / 12)
    assert -1 < alpha < 1 and 0 < beta < 1 and abs(alpha - beta) > 0.05
    assert shortcut == pytest.approx(12)
    assert total == pytest.approx(12 * (1 + beta) ** 2, rel=1e-5)


def blocks_of(**style):
    """Whether squares are dropped in a feature of a small backbone, by module."""
    factors = BlockFactors(drop_block=0.3, drop_path=0.3)
    network = ResNet(
        (1, 1),
        4,
        "3x3",
        (1, 2),
        2,
        style=BlockStyle(norm="none", **style),
        factors=(factors,) * 2,
        drop_block_size=6,
    )
    image = np.ones((1, 8, 8, 3), np.float32)
    variables = network.init({"params": KEY, "dropout": KEY}, image, True)
    return variables


@pytest.mark.parametrize(
    ("where", "ways"),
    [
        ("branch", {"branch"}),
        ("shortcut", {"shortcut"}),
        ("both", {"branch", "shortcut"}),
    ],
)
def test_squares_are_dropped_where_they_shall_be(where, ways):
    paths = blocks_of(drop_block=where)["paths"]
    for block in (paths["stage1"]["block1"], paths["stage2"]["block1"]):
        there = {
            name.removesuffix("_drop_block") for name in block if "drop_block" in name
        }
        assert there == ways


def test_sides_of_squares_follow_the_stride(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        DropBlock,
        "__call__",
        lambda self, x, train: sizes.append((x.shape[1], self.size)) or x,
    )
    blocks_of(drop_block="branch")
    assert sizes == [(8, 6), (4, 3)]


def test_two_branches_are_two_sets_of_weights():
    params = blocks_of(shake="shake_shake")["params"]
    block = params["stage1"]["block1"]
    assert jax.tree.map(jnp.shape, block["branch"]) == jax.tree.map(
        jnp.shape, block["branch2"]
    )
    assert (
        block["branch"]["conv1"]["kernel"] != block["branch2"]["conv1"]["kernel"]
    ).any()
