"""Over the paths of a fork the cotangents add up to the gradient of the activation.

The reference shares nothing with the taps: zeros are added in front of every fork and
behind it to each of its copies, and the loss is differentiated with respect to them.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import drawn, two_stages

from resseg import sharding
from resseg.blueprint.trace import trace
from resseg.gradients.fork import Fork, fork_name, statistics_by_fork
from resseg.training import losses

CLASSES, SHAPE = 3, (4, 16, 16, 3)
LOSS = losses.make_loss({"cross_entropy": 1.0, "dice": 0.5}, num_classes=CLASSES)
PIXEL_MEAN = losses.make_loss({"cross_entropy": 1.0}, num_classes=CLASSES)


# A block that changes no shape, and one that does.
STRIDES = {"backbone.stage_strides": (1, 2), "backbone.output_stride": 2}


def network(head="unet", **settings):
    return two_stages((1, 1), CLASSES, head, **STRIDES, **settings)


NETWORKS = {
    "concat": network(),
    "long skips added": network(**{"long_skip.kind": "add"}),
    "long skips gated, transition D": network(
        **{"long_skip.kind": "gate", "shortcut.transition": "D"}
    ),
    "transition A": network(**{"shortcut.transition": "A"}),
    "pyramid and auxiliary": network("deeplabv3plus", **{"aux.weight": 0.4}),
    "Highway": network(**{"shortcut.kind": "gate_exclusive"}),
    "inverted, some without shortcut": network(
        "fcn", **{"backbone.block": "inverted", "shortcut.transition": "none"}
    ),
    "ghost": network("fcn", **{"backbone.block": "ghost"}),
    "pre-activation, scaled backward": network(
        **{
            "backbone.order": "pre",
            "gradient.shortcut": 0.5,
            "gradient.branch_in": 0.25,
            "gradient.long_skip": 2.0,
        }
    ),
}


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, SHAPE[:3]).astype(np.int32)
    label[0, :9] = 255
    return {"image": rng.normal(size=SHAPE).astype(np.float32), "label": label}


@functools.cache
def variables_of(net):
    variables = drawn(net, jnp.zeros((1, *SHAPE[1:])), seed=1)
    return {key: value for key, value in variables.items() if key != "taps"}


def total_loss(net, collections, batch, loss):
    outputs, _ = net.apply(
        collections,
        batch["image"],
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": jax.random.key(2)},
    )
    value, _ = loss(outputs["logits"], batch["label"])
    if "aux" in outputs:
        value = value + 0.4 * loss(outputs["aux"], batch["label"])[0]
    return value


def perturbed(zeros, function):
    """Calls `function` with zeros added in front of and behind every fork."""

    def add(call, args, kwargs, context):
        fork = context.module
        if not isinstance(fork, Fork) or context.method_name != "__call__":
            return call(*args, **kwargs)
        front, behind = zeros[fork_name(fork.path)]
        x, *rest = args
        copies = call(x + front.astype(x.dtype), *rest, **kwargs)
        return tuple(c + z.astype(x.dtype) for c, z in zip(copies, behind, strict=True))

    with nn.intercept_methods(add):
        return function()


def measured(net, batch, **how):
    """By fork: what the taps say; and (gradient in front of it, gradients behind it),
    in the same backward pass, as two programs round apart.
    """
    zeros = {
        f.name: (jnp.zeros(f.shape), (jnp.zeros(f.shape),) * len(f.paths))
        for f in trace(net, batch["image"].shape).forks
    }

    def loss(taps, zeros):
        def run(taps, zeros):
            collections = {**variables_of(net), "taps": taps}
            return total_loss(net, collections, batch, how.get("loss", LOSS))

        wrap = how.get("wrap", lambda function: function)
        return wrap(lambda *both: perturbed(both[1], lambda: run(*both)))(taps, zeros)

    taps, gradients = jax.grad(loss, (0, 1))(trace(net, SHAPE).zero_taps(), zeros)
    return statistics_by_fork(taps), gradients


def compiled(net, **how):
    """`measured`, jitted; the variables are drawn outside of it."""
    variables_of(net)
    transform = how.pop("transform", lambda function: function)
    shardings = how.pop("shardings", {})
    run = jax.jit(transform(functools.partial(measured, net, **how)), **shardings)
    return lambda batch: jax.device_get(run(batch))


def factors_of(net):
    """fork -> backward factor of each path, as the `paths` collection holds them."""
    found = {}
    paths = variables_of(net)["paths"]
    for fork in trace(net, SHAPE).forks:
        node = paths
        for part in fork.name.split("/"):
            node = node[part]
        node = node.get("fork", node)
        found[fork.name] = [float(node[path]) for path in fork.paths]
    return found


def norm(x):
    return np.linalg.norm(np.asarray(x, np.float64).ravel())


def assert_sums(net, found, tolerance=1e-6):
    """The parts add up to the whole, entry by entry, and are what the taps saw."""
    statistics, gradients = found
    factors = factors_of(net)
    assert set(statistics) == set(gradients) == set(factors)
    for name, (front, behind) in gradients.items():
        parts = [
            factor * np.asarray(g, np.float64)
            for factor, g in zip(factors[name], behind, strict=True)
        ]
        assert norm(front) > 0
        assert norm(sum(parts) - front) <= tolerance * norm(front), name
        seen = statistics[name]
        expected = [norm(part) for part in parts]
        np.testing.assert_allclose(np.sqrt(seen.squares), expected, rtol=tolerance)
        np.testing.assert_allclose(
            np.sqrt(seen.total_square), norm(front), rtol=tolerance
        )
        assert not seen.nonfinite.any() and not seen.total_nonfinite
        if len(parts) == 2:
            size = expected[0] * expected[1]
            np.testing.assert_allclose(
                seen.inner, np.vdot(*parts), atol=tolerance * size
            )
        else:
            assert seen.inner == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_under_jit_parts_add_up_and_are_what_the_taps_say(name, batch):
    net = NETWORKS[name]
    kinds = {fork.kind for fork in trace(net, SHAPE).forks}
    assert "block" in kinds
    assert ("pyramid" in kinds and "auxiliary" in kinds) == ("pyramid" in name)
    assert_sums(net, compiled(net)(batch))


@pytest.mark.parametrize("name", ["concat", "pyramid and auxiliary"])
def test_with_rematerialisation(name, batch):
    net = NETWORKS[name]
    assert_sums(net, compiled(net, wrap=jax.checkpoint)(batch))


@pytest.mark.parametrize("head", ["unet", "deeplabv3plus"])
def test_in_bfloat16(head, batch):
    net = network(head, dtype="bfloat16", **{"aux.weight": 0.4})
    assert_sums(net, compiled(net)(batch), 1e-2)


def test_under_vmap_every_slice_has_its_own_sums(batch):
    net = NETWORKS["pyramid and auxiliary"]
    other = {"image": batch["image"] ** 2, "label": batch["label"]}
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), batch, other)
    found = compiled(net, transform=jax.vmap)(stacked)
    one, two = (jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(2))
    assert_sums(net, one)
    assert_sums(net, two)
    name = "backbone/stage1/block1"
    assert abs(one[0][name].total_square / two[0][name].total_square - 1) > 1e-3


def test_with_gradient_accumulation(batch):
    """Half batches with a mean over half the pixels: their squares count a quarter."""
    net = network(norm="group")
    batch = batch | {"label": np.where(batch["label"] == 255, 0, batch["label"])}
    run = compiled(net, loss=PIXEL_MEAN)
    whole, _ = run(batch)
    sums = dict.fromkeys(whole, 0.0)
    for half in (slice(0, 2), slice(2, 4)):
        found = run({name: value[half] for name, value in batch.items()})
        assert_sums(net, found)
        sums = {name: sums[name] + found[0][name].squares / 4 for name in sums}
    for name, statistics in whole.items():
        np.testing.assert_allclose(statistics.squares, sums[name], rtol=1e-5)


@pytest.mark.parametrize("name", ["concat", "pyramid and auxiliary"])
def test_on_four_devices(name, batch):
    net = NETWORKS[name]
    split = sharding.by_batch(sharding.make_mesh(4))
    run = compiled(net, shardings={"in_shardings": (split,)})
    assert_sums(net, run(sharding.put_batch(batch, split)))
