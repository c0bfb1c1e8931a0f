"""Receptive fields: the published ones, and those that gradients measure."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.blueprint.receptive_field import EVERYTHING, PIXEL, Field, follow, window
from resseg.blueprint.trace import trace
from resseg.models.heads.fcn import deepest
from resseg.models.resnet import Stage
from tests.models.networks import network

B = "backbone."
OS8, OS16 = {"backbone.output_stride": 8}, {"backbone.output_stride": 16}


def deepest_field(net, size=(64, 64)):
    calls = trace(net, (1, *size, 3), train=False).measured
    return [call.after for call in calls if isinstance(call.module, Stage)][-1]


@pytest.mark.parametrize(
    ("depth", "variant", "size"),
    [
        # Araujo 2019, table 1: bottlenecks that stride on the 1x1
        (50, "v1", 483),
        (101, "v1", 1027),
        (152, "v1", 1507),
        # on the 3x3: three of these see a finer grid, 8 + 16 + 32 pixels less
        (50, "v1.5", 427),
        (101, "v1.5", 971),
        # basic blocks
        (18, "v1.5", 435),
        (34, "v1.5", 899),
    ],
)
def test_receptive_fields_are_the_published_ones(depth, variant, size):
    net = network(**{B + "depth": depth, B + "variant": variant, "head.name": "fcn"})
    field = deepest_field(net)
    assert (field.size, field.jump) == (size, 32)
    assert -field.low == field.high == size // 2, "centred"


def test_dilation_of_torchvision_keeps_the_receptive_field_and_uniform_widens_it():
    wide = {B + "depth": 50, "head.name": "fcn"}
    fields = {
        (stride, convention): deepest_field(
            network(**wide | {B + "output_stride": stride, B + "dilation": convention})
        )
        for stride in (8, 16, 32)
        for convention in ("torchvision", "uniform")
    }
    sizes = {key: field.size for key, field in fields.items()}
    assert {sizes[stride, "torchvision"] for stride in (8, 16, 32)} == {427}
    # The first block of each dilated stage: 3x3 at twice the dilation.
    assert sizes[32, "uniform"] == 427
    assert sizes[16, "uniform"] == 427 + 2 * 16
    assert sizes[8, "uniform"] == 427 + 2 * 16 + 2 * 8
    assert all(field.jump == stride for (stride, _), field in fields.items())


def positive(net, images):
    """Kernels of equal positive entries that keep the mean; biases 0, factors 1."""
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), images, train=False))

    def fill(leaf):
        if leaf.ndim != 4:
            return jnp.zeros(leaf.shape)
        return jnp.full(leaf.shape, 1 / math.prod(leaf.shape[:3]))

    paths = trace(net, images.shape, train=False).paths()
    return {"params": jax.tree.map(fill, variables["params"]), "paths": paths}


def seen_rows(net, rows, columns, places):
    """First and last row of the image that each place of the deepest feature sees.

    The gradient through max-pooling goes to the largest value only: on an image that
    rises downwards it shows the last row, on one that falls the first.
    """
    ramp = 1 + jnp.arange(rows, dtype=jnp.float32).reshape(1, rows, 1, 1) / rows
    rising = jnp.broadcast_to(ramp, (1, rows, columns, 3))
    variables = positive(net, rising)

    @jax.jit
    def support(variables, images, place):
        def feature(images):
            features = net.apply(variables, images, train=False)
            deep = features[deepest(features)]
            return deep[0, place, deep.shape[2] // 2].sum()

        return jnp.abs(jax.grad(feature)(images)).sum((0, 2, 3))

    ends = []
    for place in places:
        last = np.flatnonzero(support(variables, rising, place))[-1]
        first = np.flatnonzero(support(variables, rising[:, ::-1], place))[0]
        ends.append((int(first), int(last)))
    return ends


SMALL = {B + "depth": 50, B + "stage_sizes": (1, 1, 2, 1), B + "width": 8}
BASIC = {B + "depth": 10, B + "width": 4}


@pytest.mark.parametrize(
    "settings",
    [
        BASIC,
        BASIC | {B + "stem": "deep", "shortcut.kind": "none"},
        BASIC | {B + "variant": "v2", "shortcut.transition": "A"},
        BASIC | OS8 | {B + "variant": "v1d", B + "dilation": "uniform"},
        {B + "depth": 20, B + "width": 4},
        SMALL | {B + "variant": "v1"},
        SMALL | {B + "variant": "v1.5"},
        SMALL | {B + "variant": "v1d"},
        SMALL | OS8,
        SMALL | OS8 | {B + "dilation": "uniform"},
        SMALL | OS16 | {B + "stage_sizes": (1, 1, 1, 2), B + "multi_grid": (2, 4)},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_gradients_reach_exactly_the_receptive_field(settings):
    segmenter = network(2, **settings | {"norm": "none", "head.name": "fcn"})
    field = deepest_field(segmenter)
    jump = int(field.jump)
    place = math.ceil(-field.low / jump)
    rows = int(place * jump + field.high) + 2 * jump
    expected = [
        (int(p * jump + field.low), int(p * jump + field.high))
        for p in (place, place + 1)
    ]
    assert seen_rows(segmenter.backbone, rows, 32, (place, place + 1)) == expected


def test_means_over_the_image_do_not_count():
    plain = network(**BASIC | {"head.name": "fcn", "norm": "none"})
    means = network(
        **BASIC | {"head.name": "fcn", "norm": "group", B + "se_reduction": 2}
    )
    assert deepest_field(means) == deepest_field(plain)
    assert deepest_field(plain).size == 195


def test_windows_of_windows():
    seven = window(PIXEL, 7, stride=2, pad=3)
    assert seven == Field(-3, 3, 2)
    assert window(seven, 3, stride=2, dilation=2, pad=2) == Field(-7, 7, 4)


def test_what_mixes_rows_otherwise_sees_everything():
    weights = jnp.ones((4, 8))

    def trace(function):
        program = jax.make_jaxpr(function)(jnp.ones((1, 8, 8, 3)))
        return follow(program.jaxpr, [PIXEL])

    assert trace(lambda x: jnp.einsum("yh,bhwc->bywc", weights, x)) == [EVERYTHING]
    assert trace(lambda x: x.repeat(2, axis=1)) == [EVERYTHING]
    assert trace(lambda x: x - x.mean((1, 2), keepdims=True)) == [PIXEL]
    assert trace(lambda x: x.mean((1, 2), keepdims=True)) == [None]
    assert trace(lambda x: (x[:, 1::2] + x[:, ::2], x[:, 3:5])) == [
        Field(0, 1, 2),
        Field(3, 3, 1),
    ]
    assert trace(lambda x: jnp.pad(x, ((0, 0), (2, 0), (0, 0), (0, 4)))) == [
        Field(-2, -2, 1)
    ]
    assert trace(lambda x: x + x[:, ::-1]) == [EVERYTHING]
    assert trace(lambda x: x.transpose(0, 2, 1, 3)) == [EVERYTHING]


def test_what_sees_everything_has_no_bounds_and_no_jump():
    assert (EVERYTHING.low, EVERYTHING.high) == (-math.inf, math.inf)
    assert math.isnan(EVERYTHING.jump)
    assert math.isnan(window(EVERYTHING, 3, 2, pad=1).jump)
