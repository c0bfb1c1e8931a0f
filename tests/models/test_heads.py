"""Heads proved by values and gradients: every skip, the upsampling, the pyramid."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from tiny import drawn

from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.gradients.fork import statistics_by_fork
from resseg.models.heads.deeplab import Pyramid
from resseg.models.heads.fcn import Upsample, bilinear_kernel, deepest
from resseg.models.heads.unet import UNet

STAGES = ["stage1", "stage2", "stage3"]
# Compiling takes the time here, not computing.
quickly = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def without_taps(variables):
    return {name: value for name, value in variables.items() if name != "taps"}


STEM_7X7 = {
    "backbone.stem": "7x7",
    "backbone.stage_strides": (1, 2, 2, 2),
    "backbone.output_stride": 32,
}


@pytest.mark.parametrize(
    ("head", "kind", "skips", "settings"),
    [
        ("unet", "native", ["stem", *STAGES], {}),
        ("unet", "add", ["stem", *STAGES], STEM_7X7),
        ("resunet", "native", ["stem", *STAGES], {}),
        ("resunet", "add", ["stem", *STAGES], {"backbone.order": "pre"}),
        ("fcn8s", "native", ["stage2", "stage3"], {}),
        ("fcn16s", "add", ["stage3"], {}),
        ("deeplabv3plus", "native", ["stage1"], {}),
    ],
)
def test_every_skip_changes_the_output_and_gets_a_gradient(
    small, head, kind, skips, settings
):
    settings = {"head.name": head, "long_skip.kind": kind} | settings
    small.update_from_flattened_dict(settings)
    net, images = build_segmenter(small, 3), normal(1, 64, 64, 3, seed=1)
    shapes = jax.eval_shape(net.init, jax.random.key(0), images)
    factors = [f"skip_factor_{skip}" for skip in skips]
    found = [name for name in shapes["paths"]["head"] if "skip_factor" in name]
    assert sorted(found) == sorted(factors)

    variables = drawn(net, images)

    @quickly
    def run(variables, scales):
        changed = {
            name: {"factor": scale} for name, scale in zip(factors, scales, strict=True)
        }
        paths = variables["paths"]
        paths = paths | {"head": paths["head"] | changed}

        def loss(taps):
            held = variables | {"taps": taps, "paths": paths}
            logits = net.apply(held, images)["logits"]
            return (logits**2).mean(), logits

        gradient, logits = jax.grad(loss, has_aux=True)(variables["taps"])
        return logits, statistics_by_fork(gradient)

    whole = np.ones(len(skips), np.float32)
    logits, measured = run(variables, whole)
    forks = [f"backbone/long_skip_{skip}" for skip in skips]
    assert sorted(name for name in measured if "long_skip" in name) == sorted(forks)
    for i, fork in enumerate(forks):
        squares = measured[fork].squares
        assert (squares > 0).all() and np.isfinite(squares).all(), fork
        assert not measured[fork].nonfinite.any(), fork
        cut = whole.copy()
        cut[i] = 0
        without, rest = run(variables, cut)
        assert jnp.abs(without - logits).max() > 1e-4, fork
        assert rest[fork].squares[0] == 0, fork


@pytest.mark.parametrize(
    "head", ["fcn8s", "fcn16s", "unet", "resunet", "deeplabv3plus"]
)
def test_no_long_skips_leave_none(small, head):
    small.head.name, small.long_skip.kind = head, "none"
    net = build_segmenter(small, 3)
    kinds = {fork.kind for fork in trace(net, (1, 32, 32, 3)).forks}
    assert kinds - {"pyramid"} == {"block"}
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    paths = traverse_util.flatten_dict(shapes["paths"], sep="/")
    assert not [name for name in paths if "skip" in name]


def test_a_residual_decoder_is_a_fork_per_level(small):
    small.head.name = "resunet"
    names = [
        fork.name for fork in trace(build_segmenter(small, 3), (1, 32, 32, 3)).forks
    ]
    decoder = [f"head/decoder{level}" for level in (1, 2, 3, 4)]
    assert [name for name in names if name.startswith("head")] == decoder


def test_levels_of_a_unet_without_a_skip_double_up_to_the_image():
    shapes = {"stage1": (4, 6, 8), "stage2": (2, 3, 8), "image": (7, 24, 3)}
    features = {name: jnp.zeros((1, *shape)) for name, shape in shapes.items()}
    head = UNet(num_classes=3, channels=(8, 8, 8, 8), skips=("stage1",))
    seen = jax.eval_shape(
        lambda: head.init_with_output(
            jax.random.key(0), features, train=False, capture_intermediates=True
        )[1]["intermediates"]
    )
    sizes = [seen[f"decoder{i}"]["__call__"][0].shape[1:3] for i in (1, 2, 3, 4)]
    assert sizes == [(4, 6), (7, 12), (7, 24), (7, 24)]


@pytest.mark.parametrize("ratio", [2, 4])
def test_fcn_upsampling_of_a_constant_is_that_constant(ratio):
    """At the border half a tent hangs over the image, where there is zero."""
    x = jnp.broadcast_to(jnp.asarray([2.0, -3.0]).reshape(1, 1, 1, 2), (1, 5, 4, 2))
    module = Upsample(ratio)
    variables = drawn(module, x)
    y = np.asarray(module.apply(variables, x))
    assert y.shape == (1, 5 * ratio, 4 * ratio, 2)
    half = ratio // 2
    inside = y[:, half:-half, half:-half]
    np.testing.assert_allclose(inside, np.broadcast_to([2.0, -3.0], inside.shape))
    # Row i of the border lies (half - i - 1/2) pixels beyond the centre of the first.
    share = 1 - (half - np.arange(half) - 0.5) / ratio
    np.testing.assert_allclose(y[0, :half, ratio, 0], 2 * share, rtol=1e-6)
    np.testing.assert_allclose(y[0, ::-1, ratio, 0], y[0, :, ratio, 0], rtol=1e-6)


@pytest.mark.parametrize("ratio", [2, 4])
def test_every_output_of_the_transposed_convolution_is_covered(ratio):
    """And by its own pixel most: with the start weights it interpolates."""
    module, x = Upsample(ratio), jnp.zeros((1, 3, 4, 1))
    variables = drawn(module, x)
    jacobian = jax.jacobian(lambda x: module.apply(variables, x)[0, :, :, 0])(x)
    weights = np.asarray(jacobian)[:, :, 0, :, :, 0]
    assert (weights.sum((2, 3)) > 0.2).all()
    own = weights.reshape(3 * ratio, 4 * ratio, -1).argmax(-1)
    rows, columns = np.arange(3 * ratio) // ratio, np.arange(4 * ratio) // ratio
    np.testing.assert_array_equal(own, 4 * rows[:, None] + columns)


def test_the_start_of_upsampling_mixes_no_classes():
    kernel = np.asarray(bilinear_kernel(2, 3))
    tent = np.asarray([0.25, 0.75, 0.75, 0.25])
    for of, to in np.ndindex(3, 3):
        expected = np.outer(tent, tent) * (of == to)
        np.testing.assert_allclose(kernel[:, :, of, to], expected)


@pytest.mark.parametrize(
    ("head", "norm"), [("deeplabv3", "group"), ("deeplabv3plus", "batch")]
)
def test_the_pyramid_trains_on_a_single_image(small, head, norm):
    small.head.name, small.norm = head, norm
    net, images = build_segmenter(small, 3), normal(1, 32, 32, 3, seed=1)

    variables = without_taps(drawn(net, images))

    @quickly
    def run(variables):
        def loss(params):
            held = variables | {"params": params}
            outputs, _ = net.apply(held, images, train=True, mutable=["batch_stats"])
            return ((outputs["logits"] - 1) ** 2).mean(), outputs["logits"]

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    (_, logits), gradient = run(variables)
    assert jnp.isfinite(logits).all()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert jnp.abs(gradient["head"]["pyramid"]["rate6"]["conv"]["kernel"]).max() > 0
    pool = jnp.abs(gradient["head"]["pyramid"]["pool"]["conv"]["kernel"]).max()
    # The one value of a channel minus its mean is 0, whatever the weights are.
    assert pool > 0 if norm == "group" else pool == 0


def test_the_image_level_branch_is_the_mean_of_the_image():
    pyramid, x = Pyramid(8, (1, 2, 3), dropout=0.0), normal(2, 5, 6, 4)
    variables = without_taps(drawn(pyramid, x, train=False))
    lone = jax.tree.map(jnp.zeros_like, variables["params"])
    for name in ("pool", "project"):
        lone[name] = variables["params"][name]
    y = pyramid.apply(variables | {"params": lone}, x, False)
    # Alone it says the same everywhere, and only the mean matters to it.
    np.testing.assert_allclose(y, jnp.broadcast_to(y[:, :1, :1], y.shape), rtol=1e-5)
    assert jnp.abs(y).max() > 0
    mixed = x[:, ::-1, ::-1]
    again = pyramid.apply(variables | {"params": lone}, mixed, False)
    np.testing.assert_allclose(again, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("stride", "rates"), [(32, (3, 6, 9)), (16, (6, 12, 18)), (8, (12, 24, 36))]
)
@pytest.mark.parametrize("head", ["deeplabv3", "deeplabv3plus"])
def test_rates_of_the_pyramid_resolve_from_the_output_stride(
    small, head, stride, rates
):
    small.head.name, small.backbone.output_stride = head, stride
    small.backbone.stem, small.backbone.stage_strides = "7x7", (1, 2, 2, 2)
    pyramid = build_segmenter(small, 3).head.pyramid
    assert pyramid.rates == rates
    small.head.rates = (1, 2, 4)
    assert build_segmenter(small, 3).head.pyramid.rates == (1, 2, 4)


def test_the_deepest_of_ten_stages_is_the_tenth():
    features = dict.fromkeys(["stem", "image", *(f"stage{i}" for i in range(1, 11))])
    assert deepest(features) == "stage10"
