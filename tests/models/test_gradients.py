"""Structure proved by gradients: what reaches what, and what does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import drawn

from resseg.blueprint.network import build_segmenter
from resseg.gradients.fork import statistics_by_fork
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import BlockStyle


def block(x, **arguments):
    module = Block(x.shape[-1], **arguments)
    return module, drawn(module, x, seed=1, train=False)


@pytest.fixture
def small(small):
    """Of two stages: what is computed op by op compiles op by op."""
    backbone = small.backbone
    backbone.stage_sizes, backbone.stage_strides = (1, 1), (2, 2)
    backbone.output_stride = 4
    return small


@pytest.fixture
def positive():
    return jnp.abs(jax.random.normal(jax.random.key(0), (2, 6, 6, 8))) + 0.1


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_identity_block_is_transparent_at_zero_gamma(positive, kind):
    module, variables = block(positive, style=BlockStyle(kind, init="zero_gamma"))
    y, pull = jax.vjp(lambda x: module.apply(variables, x, train=False), positive)
    np.testing.assert_array_equal(y, positive)
    np.testing.assert_array_equal(pull(jnp.ones_like(y))[0], 1.0)


def test_zero_gamma_sends_all_gradient_over_the_shortcut(positive):
    module, variables = block(positive, style=BlockStyle(init="zero_gamma"))

    def run(taps):
        return module.apply(variables | {"taps": taps}, positive, train=False).sum()

    measured = statistics_by_fork({"block": jax.grad(run)(variables["taps"])})["block"]
    np.testing.assert_allclose(measured.squares, [positive.size, 0])
    np.testing.assert_allclose(measured.total_square, positive.size)


def test_block_without_shortcut_is_its_branch(positive):
    both, variables = block(positive, style=BlockStyle(order="pre"))
    alone, plain = block(positive, style=BlockStyle(order="pre", shortcut="none"))
    assert set(plain["paths"]["fork"]) == {"branch"}
    # Same seed and names: the same branch.
    h = alone.apply(plain, positive, train=False)
    y = both.apply(variables, positive, train=False)
    np.testing.assert_allclose(y, positive + h, rtol=1e-6)


@pytest.mark.parametrize("learn", ["no", "scalar", "channel"])
def test_path_factors_are_w_c_and_w_r(positive, learn):
    kind = "identity" if learn == "no" else f"learned_{learn}"
    style = BlockStyle(shortcut=kind, learn_branch=learn, order="pre")
    one, variables = block(positive, style=style)
    two, scaled = block(positive, style=style, factors=BlockFactors(0.25, 3.0))
    h = one.apply(variables, positive, train=False) - positive
    y = two.apply(scaled, positive, train=False)
    np.testing.assert_allclose(y, 0.25 * positive + 3.0 * h, rtol=1e-4, atol=1e-4)
    where, shape = ("paths", ()) if learn == "no" else ("params", ())
    shape = (8,) if learn == "channel" else shape
    assert scaled[where]["shortcut_factor"]["factor"].shape == shape


def test_gamma_in_spares_the_weights_and_gamma_out_does_not(positive):
    def weight_gradient(**factors):
        module, variables = block(positive, factors=BlockFactors(**factors))

        def run(params):
            return module.apply(
                variables | {"params": params}, positive, train=False
            ).sum()

        return jax.grad(run)(variables["params"])["branch"]["conv2"]["kernel"]

    full = weight_gradient()
    assert jnp.abs(full).max() > 0
    np.testing.assert_array_equal(weight_gradient(gradient_in=0.0), full)
    np.testing.assert_array_equal(weight_gradient(gradient_out=0.0), 0.0)


def test_backward_factors_leave_the_logits_bit_identical(small):
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    plain = build_segmenter(small, 3)
    reference = plain.apply(drawn(plain, images), images)["logits"]
    for key in ("shortcut", "branch_in", "branch_out", "long_skip"):
        small.gradient[key] = 0.3
    net = build_segmenter(small, 3)
    scaled = net.apply(drawn(net, images), images)["logits"]
    np.testing.assert_array_equal(scaled, reference)


def test_paths_of_a_fork_add_up_to_the_plain_gradient(small):
    """The total of the first block's fork is the gradient at its input."""
    net = build_segmenter(small, 3)
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    variables = drawn(net, images)
    stem_skip = "backbone/long_skip_stem"

    def loss(params, taps):
        outputs = net.apply(variables | {"params": params, "taps": taps}, images)
        return (outputs["logits"] ** 2).mean()

    measured = statistics_by_fork(
        jax.grad(loss, 1)(variables["params"], variables["taps"])
    )
    (skip, deeper), total = (
        measured[stem_skip].squares,
        measured[stem_skip].total_square,
    )
    block_total = measured["backbone/stage1/block1"].total_square
    np.testing.assert_allclose(deeper, block_total, rtol=1e-6)
    cosine = (total - skip - deeper) / (2 * np.sqrt(skip * deeper))
    assert -1 <= cosine <= 1


def test_pre_activation_ends_in_norm_and_relu(small):
    small.backbone.order, small.head.name = "pre", "deeplabv3"
    small.head.rates = (1, 2, 3)
    net = build_segmenter(small, 3)
    images = jax.random.normal(jax.random.key(1), (1, 32, 32, 3))
    variables = drawn(net, images)
    features = net.apply(
        variables, images, False, method=lambda m, x, t: m.backbone(x, t)
    )
    assert "final" in variables["params"]["backbone"]
    assert features["stage2"].min() == 0


def test_dropped_branches_leave_the_shortcut(positive):
    module, variables = block(positive, drop_rate=0.5)
    outputs = [
        module.apply(
            variables,
            positive,
            train=True,
            rngs={"dropout": jax.random.key(seed)},
            mutable=["batch_stats"],
        )[0]
        for seed in range(12)
    ]
    kept = [bool(jnp.array_equal(y[i], positive[i])) for y in outputs for i in range(2)]
    assert 4 <= sum(kept) <= 20
