import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resseg.errors import UserError
from resseg.training import groups
from resseg.training.optim import (
    averaged,
    clip_factor,
    ema_update,
    make_optimizer,
    make_schedule,
)

DEFAULTS = {
    "momentum": 0.9,
    "b1": 0.9,
    "b2": 0.999,
    "weight_decay": 0.0,
    "backbone_factor": 1.0,
    "clip_norm": None,
}


def tree(kernel, scale):
    """Two leaves of each of two parts: one that decays and one that does not."""
    return {
        part: {
            "kernel": jnp.asarray(kernel, jnp.float32),
            "scale": jnp.asarray(scale, jnp.float32),
        }
        for part in ("backbone", "head")
    }


def optimizer(name="sgd", rate=0.1, **options):
    return make_optimizer(name, optax.constant_schedule(rate), **(DEFAULTS | options))


def run(transformation, params, gradients):
    """Parameters after one update per gradient, each in the same compiled step."""

    @jax.jit
    def step(params, state, gradient):
        updates, state = transformation.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    state = transformation.init(params)
    history = []
    for gradient in gradients:
        params, state = step(params, state, gradient)
        history.append(params)
    assert step._cache_size() == 1
    return history


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # warm-up to 0.2 over 10 updates, then 100 updates down to 0.02
        ("poly", {60: 0.02 + 0.18 * 0.5**0.9, 85: 0.02 + 0.18 * 0.25**0.9, 110: 0.02}),
        (
            "cosine",
            {60: 0.11, 85: 0.02 + 0.09 * (1 - math.sqrt(0.5)), 110: 0.02},
        ),
        ("constant", {60: 0.2, 85: 0.2, 110: 0.2}),
    ],
)
def test_schedule_values(name, expected):
    schedule = jax.jit(make_schedule(name, 0.2, 110, 10, 0.9, 0.1))
    assert schedule(0) == 0
    assert schedule(5) == pytest.approx(0.1)
    assert schedule(10) == pytest.approx(0.2)
    for step, value in expected.items():
        assert schedule(step) == pytest.approx(value, rel=1e-5), step


@pytest.mark.parametrize("name", ["poly", "cosine"])
@pytest.mark.parametrize("warmup", [0, 3])
def test_schedule_ends_exactly_and_wastes_no_update(name, warmup):
    to_zero = make_schedule(name, 0.01, 50, warmup, 0.9, 0.0)
    assert to_zero(50) == 0
    assert to_zero(49) > 0
    assert to_zero(warmup) == np.float32(0.01)
    rates = np.array([float(to_zero(step)) for step in range(warmup, 51)])
    assert (np.diff(rates) < 0).all()
    to_share = make_schedule(name, 0.01, 50, warmup, 0.9, 0.25)
    assert float(to_share(50)) == np.float32(0.0025)


def test_first_rate_without_warmup_is_the_peak():
    for name in ("constant", "poly", "cosine"):
        assert float(make_schedule(name, 0.5, 1, 0, 0.9, 0.0)(0)) == 0.5


def test_run_shorter_than_its_warmup_stays_in_it():
    schedule = make_schedule("cosine", 1.0, 5, 10, 0.9, 0.0)
    assert [float(schedule(step)) for step in range(5)] == pytest.approx(
        [0.0, 0.1, 0.2, 0.3, 0.4]
    )


NETWORK = {
    "backbone": {
        "stem": {"conv": {"kernel": np.ones((3, 3, 3, 4))}},
        "stage1": {
            "block1": {
                "branch": {
                    "conv1": {"kernel": np.ones((3, 3, 4, 8))},
                    "norm1": {"scale": np.ones(8), "bias": np.ones(8)},
                },
                "branch_factor": {"factor": np.ones(())},
            },
            "block2": {
                "gate": {"conv": {"kernel": np.ones((1, 1, 8, 8))}, "bias": np.ones(8)},
                "conv": {"kernel": np.ones((3, 3, 1, 8))},
            },
        },
        "stage10": {"block1": {"conv": {"kernel": np.ones((1, 1, 8, 16))}}},
        "stage2": {"block1": {"conv": {"kernel": np.ones((1, 1, 8, 4))}}},
        "long_skip_stage1_exit": {"scale": np.ones(8), "bias": np.ones(8)},
    },
    "head": {"classifier": {"kernel": np.ones((1, 1, 8, 3)), "bias": np.ones(3)}},
}


def names_where(mask):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, chosen in jax.tree_util.tree_leaves_with_path(mask)
        if chosen
    }


def test_decay_reaches_kernels_norms_and_biases_apart():
    kernels = {
        "backbone/stem/conv/kernel",
        "backbone/stage1/block1/branch/conv1/kernel",
        "backbone/stage1/block2/conv/kernel",
        "backbone/stage10/block1/conv/kernel",
        "backbone/stage2/block1/conv/kernel",
        "head/classifier/kernel",
    }
    norms = {
        f"backbone/{norm}/{leaf}"
        for norm in ("stage1/block1/branch/norm1", "long_skip_stage1_exit")
        for leaf in ("scale", "bias")
    }
    assert names_where(groups.decays(groups.KERNELS)(NETWORK)) == kernels
    assert names_where(groups.decays(groups.NORMS)(NETWORK)) == norms
    assert names_where(groups.decays(groups.BIASES)(NETWORK)) == {
        "head/classifier/bias"
    }
    made = optimizer(rate=1.0, weight_decay=0.1, norm_decay=0.2, bias_decay=0.3)
    zeros = jax.tree.map(np.zeros_like, NETWORK)
    updates, _ = made.update(zeros, made.init(NETWORK), NETWORK)
    shares = jax.tree.map(lambda update: round(-float(np.mean(update)), 6), updates)
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/"): share
        for path, share in jax.tree_util.tree_leaves_with_path(shares)
    }
    expected = dict.fromkeys(kernels, 0.1) | dict.fromkeys(norms, 0.2)
    expected["head/classifier/bias"] = 0.3
    assert {name: share for name, share in flat.items() if share} == expected


def test_rates_decay_from_block_to_block_and_frozen_stages_stay():
    made = optimizer(
        rate=1.0,
        weight_decay=0.5,
        backbone_factor=0.3,
        layer_factor=0.5,
        frozen=("stage10",),
    )
    gradient = jax.tree.map(np.ones_like, NETWORK)
    updates, _ = made.update(gradient, made.init(NETWORK), NETWORK)
    share = {"stem": 0.5**5, "stage2": 0.5**2, "long_skip_stage1_exit": 1}
    for part, factor in share.items():
        leaf = jax.tree.leaves(updates["backbone"][part])[-1]
        decayed = 1.5 if part != "long_skip_stage1_exit" else 1
        np.testing.assert_allclose(leaf, -0.3 * factor * decayed, rtol=1e-6)
    for block, factor in (("block1", 0.5**4), ("block2", 0.5**3)):
        leaf = jax.tree.leaves(updates["backbone"]["stage1"][block])[-1]
        np.testing.assert_allclose(leaf, -0.3 * factor, rtol=1e-6)
    stays = updates["backbone"]["stage10"]["block1"]["conv"]["kernel"]
    np.testing.assert_array_equal(stays, 0)
    np.testing.assert_allclose(updates["head"]["classifier"]["kernel"], -1.5)


def test_no_gradient_reaches_what_is_frozen():
    def loss(params):
        return sum(map(jnp.sum, jax.tree.leaves(groups.held(params, ("stem",)))))

    gradient = jax.grad(loss)(NETWORK)
    assert not gradient["backbone"].pop("stem")["conv"]["kernel"].any()
    assert all(leaf.all() for leaf in jax.tree.leaves(gradient))


def drawn(seed):
    draw = np.random.default_rng(seed)
    normal = lambda leaf: draw.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(normal, NETWORK)


def as_matrix(kernel):
    return np.asarray(kernel).reshape(-1, kernel.shape[-1])


MATRICES = {
    "backbone/stage1/block1/branch/conv1/kernel",
    "backbone/stage10/block1/conv/kernel",
    "backbone/stage2/block1/conv/kernel",
}


def test_muon_makes_the_update_of_a_convolution_orthogonal():
    """The polar factor of its momentum, to the accuracy of the iteration."""
    assert names_where(groups.matrices(NETWORK)) == MATRICES
    made, plain = optimizer("muon", 1.0, momentum=0.8), optimizer("adamw", 1.0)
    state, other = made.init(NETWORK), plain.init(NETWORK)
    sums = jax.tree.map(np.zeros_like, NETWORK)
    for seed in (0, 1):
        gradient = drawn(seed)
        sums = jax.tree.map(lambda m, g: 0.8 * m + 0.2 * g, sums, gradient)
        updates, state = made.update(gradient, state, NETWORK)
        by_adam, other = plain.update(gradient, other, NETWORK)
    # Nesterov, each moment without its bias.
    looks_ahead = jax.tree.map(
        lambda m, g: 0.8 * m / (1 - 0.8**3) + 0.2 * g / (1 - 0.8**2), sums, gradient
    )
    flat = jax.tree_util.tree_leaves_with_path
    for (path, update), ahead, adam in zip(
        flat(updates),
        jax.tree.leaves(looks_ahead),
        jax.tree.leaves(by_adam),
        strict=True,
    ):
        if jax.tree_util.keystr(path, simple=True, separator="/") not in MATRICES:
            np.testing.assert_array_equal(update, adam)
            continue
        found = -as_matrix(update) / (0.2 * math.sqrt(max(as_matrix(update).shape)))
        u, _, v = np.linalg.svd(as_matrix(ahead), full_matrices=False)
        values = np.linalg.svd(found, compute_uv=False)
        assert values.min() > 0.65 and values.max() < 1.25
        polar = u @ v
        cosine = (found * polar).sum() / np.linalg.norm(found) / np.linalg.norm(polar)
        assert cosine > 0.97
        assert 0.12 < np.sqrt(np.mean(np.square(update))) < 0.25


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_a_gradient_that_is_scaled_backward_hides_under_muon_as_under_adam(name):
    """Every block above a shortcut scaled by alpha has its gradient times alpha^k."""
    alpha = 1e-3

    def last(factor):
        made = optimizer(name, 1.0)
        state = made.init(NETWORK)
        for seed in (0, 1):
            gradient = jax.tree.map(lambda g: np.float32(factor) * g, drawn(seed))
            updates, state = made.update(gradient, state, NETWORK)
        return as_matrix(
            updates["backbone"]["stage1"]["block1"]["branch"]["conv1"]["kernel"]
        )

    plain, hidden = last(1.0), last(alpha)
    ratio = np.linalg.norm(hidden) / np.linalg.norm(plain)
    assert ratio == pytest.approx(alpha if name == "sgd" else 1.0, rel=1e-3)
    if name == "muon":
        np.testing.assert_allclose(hidden, plain, atol=1e-3 * np.abs(plain).max())


def test_an_even_average_of_weights_from_an_update_on():
    weights = [{"kernel": np.float32([step])} for step in range(1, 10)]
    average, numbers = {"kernel": jnp.zeros(1)}, {"swa_start": 3.0, "swa_every": 2.0}
    update = jax.jit(averaged)
    for step, params in enumerate(weights):
        average = update(average, params, numbers, step)
        made = step + 1
        taken = list(range(3, made + 1, 2)) or [made]
        np.testing.assert_allclose(average["kernel"], np.mean(taken), rtol=1e-6)
    assert update._cache_size() == 1


def test_sgd_adds_decay_before_momentum():
    params = tree([1.0, -2.0], [1.0])
    gradients = [tree([0.5, 1.0], [0.4]), tree([-1.0, 0.25], [0.2])]
    decayed = optimizer(weight_decay=0.1)
    first, second = run(decayed, params, gradients)
    # m1 = g1 + 0.1 w0 = (0.6, 0.8); w1 = w0 - 0.1 m1
    np.testing.assert_allclose(first["head"]["kernel"], [0.94, -2.08], rtol=1e-6)
    # m2 = 0.9 m1 + g2 + 0.1 w1 = (0.54 - 1 + 0.094, 0.72 + 0.25 - 0.208)
    np.testing.assert_allclose(
        second["head"]["kernel"], [0.94 + 0.0366, -2.08 - 0.0762], rtol=1e-6
    )
    # no decay: m = 0.4, then 0.9 * 0.4 + 0.2
    np.testing.assert_allclose(first["head"]["scale"], [0.96], rtol=1e-6)
    np.testing.assert_allclose(second["head"]["scale"], [0.904], rtol=1e-6)


def test_first_step_of_adamw_is_the_sign_and_its_decay_is_decoupled():
    params = tree([1.0, -2.0], [1.0])
    gradients = [tree([3e-3, -70.0], [1e-2])]
    (after,) = run(optimizer("adamw", 0.01, weight_decay=0.1), params, gradients)
    np.testing.assert_allclose(
        after["head"]["kernel"],
        [1.0 - 0.01 * (1 + 0.1 * 1.0), -2.0 - 0.01 * (-1 + 0.1 * -2.0)],
        rtol=1e-5,
    )
    np.testing.assert_allclose(after["head"]["scale"], [0.99], rtol=1e-5)


def test_two_steps_of_adamw_by_hand():
    """Loshchilov & Hutter 2019, algorithm 2: both decays, their corrections, 1e-8."""
    b1, b2, rate, decay = 0.7, 0.95, 0.1, 0.2
    w, m, v = np.array([1.0, -2.0]), 0.0, 0.0
    slopes = [np.array([0.5, 2e-8]), np.array([-1.5, 1e-8])]
    for step, g in enumerate(slopes, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        moved = m / (1 - b1**step) / (np.sqrt(v / (1 - b2**step)) + 1e-8)
        w = w - rate * (moved + decay * w)
    made = optimizer("adamw", rate, b1=b1, b2=b2, weight_decay=decay)
    *_, after = run(made, tree([1.0, -2.0], [1.0]), [tree(g, [0.0]) for g in slopes])
    for part in ("backbone", "head"):
        np.testing.assert_allclose(after[part]["kernel"], w, rtol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_backbone_factor_scales_its_update_exactly(name):
    params = tree([1.0, -2.0], [1.0])
    gradient = tree([0.3, 0.7], [0.2])

    def updates(factor):
        made = optimizer(name, weight_decay=0.1, backbone_factor=factor)
        return made.update(gradient, made.init(params), params)[0]

    plain, quartered = updates(1.0), updates(0.25)
    for leaf in ("kernel", "scale"):
        np.testing.assert_array_equal(
            quartered["backbone"][leaf], 0.25 * plain["backbone"][leaf]
        )
        np.testing.assert_array_equal(quartered["head"][leaf], plain["head"][leaf])
        assert np.all(plain["backbone"][leaf] != 0)


def test_backbone_factor_wants_a_backbone():
    made = optimizer(backbone_factor=0.1)
    params = {"head": {"kernel": jnp.ones(2)}}
    with pytest.raises(ValueError, match="'backbone'"):
        made.update(params, made.init(params), params)


@pytest.mark.parametrize(
    ("clip_norm", "expected"), [(1.0, 0.1), (10.0, 1.0), (20.0, 1.0), (None, 1.0)]
)
def test_clipping_multiplies_by_the_clip_factor(clip_norm, expected):
    gradient = tree([3.0, 4.0], [5.0])  # global norm sqrt(2 * 50) = 10
    norm = optax.tree.norm(gradient)
    factor = clip_factor(norm, clip_norm)
    assert factor == pytest.approx(expected)
    made = optimizer(rate=1.0, clip_norm=clip_norm)
    updates, _ = made.update(gradient, made.init(gradient), gradient)
    jax.tree.map(
        lambda u, g: np.testing.assert_allclose(u, -factor * g, rtol=1e-6),
        updates,
        gradient,
    )


def test_clipping_comes_before_the_decay():
    params = tree([10.0, 0.0], [0.0])
    made = optimizer(rate=1.0, weight_decay=1.0, clip_norm=1.0)
    gradient = tree([3.0, 4.0], [5.0])
    updates, _ = made.update(gradient, made.init(params), params)
    np.testing.assert_allclose(updates["head"]["kernel"], [-10.3, -0.4], rtol=1e-6)


def test_clip_factor_of_a_vanished_and_of_a_broken_gradient():
    assert clip_factor(0.0, 1.0) == 1
    assert np.isnan(clip_factor(jnp.nan, 1.0))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_rate_follows_the_count_inside_one_compiled_step(name):
    schedule = make_schedule("poly", 0.1, 4, 2, 1.0, 0.0)
    made = make_optimizer(name, schedule, **(DEFAULTS | {"momentum": 0.0, "b1": 0.0}))
    params = tree([0.0], [0.0])
    gradient = tree([1.0], [1.0])
    history = run(made, params, [gradient] * 5)
    values = [0.0] + [float(after["head"]["scale"][0]) for after in history]
    np.testing.assert_allclose(
        -np.diff(values), [0.0, 0.05, 0.1, 0.05, 0.0], rtol=1e-4, atol=1e-7
    )


def test_average_warms_up_then_keeps_its_decay():
    ema, params = {"kernel": jnp.asarray([1.0])}, {"kernel": jnp.asarray([0.0])}
    update = jax.jit(ema_update)
    for step, kept in [(0, 0.1), (8, 0.5), (10_000, 0.99)]:
        moved = update(ema, params, 0.99, step)["kernel"]
        np.testing.assert_allclose(moved, [kept], rtol=1e-6)
    assert update._cache_size() == 1


def test_average_of_constant_parameters_is_exact():
    params = {"kernel": jnp.asarray([0.3, -7.0])}
    ema = params
    for step in range(5):
        ema = ema_update(ema, params, 0.999, step)
    np.testing.assert_allclose(ema["kernel"], params["kernel"], rtol=1e-6)


def test_wrong_names_and_norms_are_named():
    with pytest.raises(UserError, match=r"optim\.schedule='cosin'.*mean 'cosine'"):
        make_schedule("cosin", 0.1, 10, 0, 0.9, 0.0)
    with pytest.raises(UserError, match=r"optim\.name='adam'.*mean 'adamw'"):
        optimizer("adam")
    with pytest.raises(UserError, match=r"optim\.clip_norm=0\.0"):
        optimizer(clip_norm=0.0)
