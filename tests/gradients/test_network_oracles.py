"""Oracles on networks as they are built: O16, O19, O20, O21, O23."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from resseg.blueprint.drawing import Drawing
from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.config import base
from resseg.errors import UserError
from resseg.gradients.analysis.curvature import require_true_gradient
from resseg.gradients.fork import statistics_by_fork
from resseg.models.blocks import Block
from resseg.models.branch import BlockStyle
from resseg.models.heads.unet import UNet
from resseg.runs import gradients_table
from resseg.training.losses import make_loss

SHAPE = (1, 6, 6, 3)


def draw(traced):
    """The weights of a traced network."""
    key = jax.random.key(0)
    return Drawing.of(traced.drawing(), key)(key)


def unet(**settings):
    """A U-Net in which no stage strides: every map is as large as the image."""
    model = base.get_config().model
    model.backbone.stage_sizes, model.backbone.stage_strides = (1,) * 3, (1,) * 3
    model.backbone.width, model.backbone.stem = 4, "3x3"
    model.head.channels, model.shortcut.span = (16, 8, 4), 1
    model.update_from_flattened_dict(settings)
    return build_segmenter(model, 3)


def identity_kernels(params, factors):
    """Every kernel carries the first channels on; times the factor its path ends in."""
    flat = flatten_dict(params, sep="/")
    for path, leaf in flat.items():
        value = jnp.zeros_like(leaf)
        if leaf.ndim == 4:
            middle = leaf.shape[0] // 2
            factor = next((x for end, x in factors.items() if end in path), 1.0)
            value = value.at[middle, middle].set(factor * jnp.eye(*leaf.shape[2:]))
        flat[path] = value
    return unflatten_dict({tuple(path.split("/")): x for path, x in flat.items()})


def test_each_long_skip_of_a_unet_carries_its_share_to_the_image():
    """O19: skip i contributes kappa_i (e d)^i, the bottleneck (e d)^3; to the bit, as
    all of them are short binary fractions. Positive signals pass every ReLU.
    """
    e, d, kappas = 0.75, 1.25, (1.0, 0.75, 0.5)
    net = unet(
        **{
            "norm": "none",
            "shortcut.kind": "none",
            "long_skip.kind": "add",
            "long_skip.scale": kappas,
        }
    )
    traced = trace(net, SHAPE)
    shapes = traced.variables["params"]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), dict(shapes))
    params = identity_kernels(zeros, {"branch/conv1": e, "merge_": d})
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.integers(1, 9, SHAPE), jnp.float32)
    cotangent = jnp.asarray(rng.integers(-4, 5, SHAPE), jnp.float32)

    @jax.jit
    def back(paths):
        def loss(image):
            y = net.apply({"params": params, "paths": paths}, image)["logits"]
            return jnp.vdot(y, cotangent)

        return jax.grad(loss)(image)

    def gradient(**leaves):
        flat = flatten_dict(traced.paths(), sep="/")
        flat |= {f"backbone/long_skip_{k}": np.float32(x) for k, x in leaves.items()}
        return back(unflatten_dict({tuple(k.split("/")): x for k, x in flat.items()}))

    stages = ("stem", "stage1", "stage2")
    cut = {f"{stage}/skip": 0.0 for stage in stages}
    routes = [gradient(**cut)]
    np.testing.assert_array_equal(routes[0], (e * d) ** 3 * cotangent)
    for i, (stage, kappa) in enumerate(zip(stages, kappas, strict=True)):
        alone = cut | {f"{stage}/skip": 1.0, f"{stage}/deeper": 0.0}
        routes.append(gradient(**alone))
        np.testing.assert_array_equal(routes[-1], kappa * (e * d) ** i * cotangent)
    np.testing.assert_array_equal(sum(routes), gradient())


def test_what_a_merge_sends_back_splits_exactly_between_skip_and_decoder():
    """O20, at every merge of a U-Net: |g_cat|^2 = |g_skip|^2 + |g_up|^2, and channel by
    channel g_cat is one behind the other. What the fork measures of the skip is
    kappa times the part that went there.
    """
    kappas = (0.5, 2.0, 0.25)
    net = unet(**{"long_skip.scale": kappas})
    traced = trace(net, SHAPE)
    drawn = draw(traced)
    image = jax.random.normal(jax.random.key(1), (2, *SHAPE[1:]))
    widths = {"merge_stage2": (16, 8), "merge_stage1": (16, 4), "merge_stem": (8, 4)}
    area = image.shape[:3]
    zeros = {
        name: [jnp.zeros((*area, n)) for n in (up, skip, up + skip)]
        for name, (up, skip) in widths.items()
    }

    def loss(zeros, taps):
        def shifted(call, args, kwargs, context):
            if not isinstance(context.module, UNet) or context.method_name != "merged":
                return call(*args, **kwargs)
            up, skip, name = args
            first, second, both = zeros[name]
            return call(up + first, skip + second, name) + both

        variables = drawn | {"paths": traced.paths(), "taps": taps}
        with nn.intercept_methods(shifted):
            y = net.apply(variables, image)["logits"]
        return jnp.sum(jnp.tanh(y) ** 2)

    gradients, taps = jax.jit(jax.grad(loss, (0, 1)))(zeros, traced.zero_taps())
    measured = statistics_by_fork(taps)
    for kappa, name in zip(kappas[::-1], widths, strict=True):
        up, skip, whole = map(np.asarray, gradients[name])
        np.testing.assert_array_equal(np.concatenate([up, skip], -1), whole)
        squares = [np.sum(np.square(g, dtype=np.float64)) for g in (up, skip, whole)]
        assert min(squares) > 0
        np.testing.assert_allclose(sum(squares[:2]), squares[2], rtol=1e-14)
        fork = measured[f"backbone/long_skip_{name.removeprefix('merge_')}"]
        np.testing.assert_allclose(fork.squares[0], kappa**2 * squares[1], rtol=1e-5)


class Tiled(nn.Module):
    """Blocks of 3x3 kernels that hold a middle alone, and class scores."""

    @nn.compact
    def __call__(self, x, train):
        for number in (1, 2):
            x = Block(3, style=BlockStyle(), name=f"block{number}")(x, train)
        return x


def test_a_tiled_image_has_the_gradients_of_the_image():
    """O21: parameters' gradients stay, l2 halves, rms is a quarter, `site` stays.

    Of what touches the border nothing is compared: padding is with zeros here.
    """
    net, loss = Tiled(), make_loss({"cross_entropy": 1.0}, num_classes=3)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 6, 6, 3)).astype(np.float32)
    label = rng.integers(0, 3, image.shape[:3]).astype(np.int32)
    label[0, 2:4] = 255
    traced = trace(net, image.shape, train=True)
    drawn = draw(traced)

    def middle(leaf):
        if leaf.ndim != 4:
            return leaf
        return jnp.zeros_like(leaf).at[1, 1].set(2 * leaf[1, 1])

    params = jax.tree.map(middle, drawn["params"])

    @jax.jit
    def measured(image, label):
        def value(params, taps):
            variables = drawn | {"params": params, "paths": traced.paths()}
            y, _ = net.apply(
                variables | {"taps": taps}, image, True, mutable=["batch_stats"]
            )
            total, parts = loss(y, label)
            return total, parts["loss_pixels"]

        return jax.value_and_grad(value, (0, 1), has_aux=True)(
            params, traced.zero_taps()
        )

    def rows(image, label):
        (value, pixels), (gradients, taps) = measured(image, label)
        forks = [fork._replace(shape=(*image.shape[:3], 3)) for fork in traced.forks]
        statistics = jax.device_get(statistics_by_fork(taps))
        return value, gradients, gradients_table.rows(1, forks, statistics, pixels)

    twice = (np.tile(image, (1, 2, 2, 1)), np.tile(label, (1, 2, 2)))
    one, two = rows(image, label), rows(*twice)
    np.testing.assert_allclose(two[0], one[0], rtol=1e-6)
    for (path, small), large in zip(
        flatten_dict(one[1], sep="/").items(), jax.tree.leaves(two[1]), strict=True
    ):
        if small.ndim == 4:
            small, large = small[1, 1], large[1, 1]
        atol = 1e-6 * float(jnp.abs(small).max())
        np.testing.assert_allclose(large, small, rtol=1e-4, atol=atol, err_msg=path)
    for name, ratio in (("l2", 1 / 2), ("rms", 1 / 4), ("site", 1), ("share", 1)):
        np.testing.assert_allclose(
            np.divide(two[2][name], one[2][name]), ratio, rtol=2e-5, err_msg=name
        )


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_kernel_in_front_of_a_norm_feels_no_change_of_its_size(norm):
    """O23: <g_w, w> = 0 and g(a w) = g(w) / a. The signal is large, so that the
    epsilon of the norm, 1e-5, is nothing beside its variance.
    """
    block = Block(8, style=BlockStyle(norm=norm, order="post"))
    x = 1e4 * jax.random.normal(jax.random.key(0), (4, 6, 6, 8))
    variables = block.init(jax.random.key(1), x, True)
    del variables["taps"]

    @jax.jit
    def gradient(kernel):
        def loss(kernel):
            params = jax.tree.map(lambda leaf: leaf, variables["params"])
            params["branch"]["conv1"] = {"kernel": kernel}
            y, _ = block.apply(
                variables | {"params": params}, x, True, mutable=["batch_stats"]
            )
            return jnp.sum(jnp.sin(y - x))

        return jax.grad(loss)(kernel)

    kernel = variables["params"]["branch"]["conv1"]["kernel"]
    g = gradient(kernel)
    size = jnp.linalg.norm(g) * jnp.linalg.norm(kernel)
    assert abs(jnp.vdot(g, kernel)) < 1e-6 * size
    scaled = 4 * gradient(4 * kernel)
    np.testing.assert_allclose(scaled, g, atol=1e-4 * float(jnp.abs(g).max()))


SECOND_ORDER = {
    "resunet": {"aux.weight": 0.4, "shortcut.kind": "dropout"},
    "deeplabv3plus": {"head.rates": (1, 2, 3), "shortcut.kind": "gate_exclusive"},
}


@functools.cache
def leaves_of(head):
    settings = {"head.channels": ()} if head == "deeplabv3plus" else {}
    model = unet(**{"head.name": head, **settings, **SECOND_ORDER[head]})
    return flatten_dict(trace(model, SHAPE).paths(), sep="/")


@pytest.mark.parametrize("head", SECOND_ORDER)
def test_every_backward_leaf_refuses_second_derivatives_and_no_forward_one(head):
    """O16: one factor other than its neutral number, wherever it stands."""
    leaves = leaves_of(head)

    def check(flat):
        require_true_gradient(
            unflatten_dict({tuple(path.split("/")): x for path, x in flat.items()})
        )

    check(leaves)
    kinds = set()
    for path in leaves:
        name = path.rpartition("/")[2]
        changed = leaves | {path: leaves[path] + np.float32(0.25)}
        kinds.add(name)
        if name in ("factor", "rate"):
            check(changed)
        else:
            with pytest.raises(UserError, match=f"paths/{path}=.*has no Hessian"):
                check(changed)
    assert {"shortcut", "branch", "bypass", "branch_out", "skip", "deeper"} <= kinds
    assert {"resunet": {"aux", "rate"}, "deeplabv3plus": {"gate", "pool", "rate2"}}[
        head
    ] <= kinds
