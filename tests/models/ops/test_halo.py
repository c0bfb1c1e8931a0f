"""Images whose rows lie on several devices: every operation is that of one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg import sharding
from resseg.models import layers, pooling, resizing
from resseg.models.heads.fcn import Upsample
from resseg.models.heads.linknet import TransposedConv
from resseg.models.ops import halo
from resseg.models.ops.choice import Formulation, formulation
from resseg.models.shortcuts import Shortcut

CHANNELS, BATCH, WIDTH = 4, 2, 8


def conv(kernel, strides=1, dilation=1, **settings):
    module = layers.Conv(CHANNELS, kernel, strides, dilation, **settings)
    inputs = CHANNELS // settings.get("groups", 1)
    return module, (kernel, kernel, inputs, CHANNELS)


def upsample(ratio):
    return Upsample(ratio), (2 * ratio, 2 * ratio, CHANNELS, CHANNELS)


# A module that has a kernel, and its shape.
CONVOLUTIONS = {
    "1x1, stride 2": conv(1, 2),
    "3x3": conv(3),
    "3x3, stride 2": conv(3, 2),
    "3x3, dilation 2": conv(3, 1, 2),
    "3x3, dilation 6": conv(3, 1, 6),
    "3x3, dilation 2, stride 2": conv(3, 2, 2),
    "5x5": conv(5),
    "7x7, stride 2": conv(7, 2),
    "in groups": conv(3, groups=2),
    "in groups, stride 2": conv(3, 2, groups=2),
    "depthwise": conv(3, groups=CHANNELS),
    "depthwise, stride 2": conv(3, 2, groups=CHANNELS),
    "depthwise, dilation 6": conv(3, 1, 6, groups=CHANNELS),
    "transposed, 2": upsample(2),
    "transposed, 4": upsample(4),
}


def enlarged(resize, factor, *more):
    def operation(x):
        return resize(x, (factor * x.shape[1], factor * x.shape[2]), *more)

    return operation


def every_second(x):
    shortcut = Shortcut("identity", CHANNELS, 2, "none", transition="A")
    return shortcut.apply({}, x, True)


def regions(x):
    grid = pooling.adaptive_average_pool(x, 3)
    return resizing.resize_whole(grid, resizing.size_of(x))


def transposed(x):
    kernel = jnp.sin(jnp.arange(16 * CHANNELS**2.0)).reshape(4, 4, CHANNELS, CHANNELS)
    params = {"kernel": kernel, "bias": jnp.arange(float(CHANNELS))}
    return TransposedConv(CHANNELS).apply({"params": params}, x)


OTHERS = {
    "max-pooling": pooling.max_pool,
    "average pooling": functools.partial(pooling.average_pool, strides=2),
    "bilinear, 2": enlarged(resizing.resize, 2),
    "bilinear, 4": enlarged(resizing.resize, 4),
    "bilinear, aligned corners": enlarged(resizing.resize, 2, True),
    "nearest neighbour": enlarged(resizing.resize_nearest, 2),
    "every second": every_second,
    "halved": pooling.halved_max_pool,
    "regions": regions,
    "transposed, 4x4": transposed,
}


def results(split, formulated, images, kernels, seeds):
    """By operation and height: values, and gradients of image and kernel."""

    def measured(operation, x, kernel, seed):
        y, pull = jax.vjp(operation, x, kernel)
        return y, *pull(jax.random.normal(jax.random.key(seed), y.shape))

    found = {}
    with halo.splitting(split), formulation(formulated):
        for height, image in images.items():
            # As the network sees it: computed, not an argument.
            x = image + 0.5
            for name, (module, _) in CONVOLUTIONS.items():

                def operation(x, kernel, module=module):
                    return module.apply({"params": {"kernel": kernel}}, x)

                seed = seeds[name]
                found[name, height] = measured(operation, x, kernels[name], seed)
            for name, function in OTHERS.items():
                found[name, height] = measured(
                    lambda x, scale, function=function: function(x * scale),
                    x,
                    jnp.ones((1,) * 4),
                    seeds[name],
                )
    return found


@pytest.mark.parametrize(
    ("data", "space", "formulated", "rows"),
    [
        (2, 2, Formulation.CPU, (2,)),
        *(
            pytest.param(*mesh, formulated, (2, 4), marks=pytest.mark.slow)
            for mesh in ((1, 2), (1, 4), (2, 2))
            for formulated in Formulation
        ),
    ],
)
def test_operations_are_those_of_one_device(data, space, formulated, rows):
    """Down to two rows on each device, less than many a kernel reaches beyond."""
    mesh, draw = sharding.make_mesh(data, space), np.random.default_rng(0)

    def drawn(*shape):
        return draw.normal(size=shape).astype(np.float32)

    heights = [space * each for each in rows]
    images = {height: drawn(BATCH, height, WIDTH, CHANNELS) for height in heights}
    kernels = {name: drawn(*shape) for name, (_, shape) in CONVOLUTIONS.items()}
    seeds = {name: seed for seed, name in enumerate([*CONVOLUTIONS, *OTHERS])}
    of = functools.partial(results, seeds=seeds)
    one = jax.jit(functools.partial(of, None, formulated))(images, kernels)
    split, whole = sharding.by_batch(mesh), sharding.replicated(mesh)
    several = jax.jit(
        functools.partial(of, split, formulated), in_shardings=(split, whole)
    )(images, kernels)
    assert len(one) == len(heights) * (len(CONVOLUTIONS) + len(OTHERS))
    for key, values in one.items():
        for what, value, other in zip(
            ("value", "image", "kernel"), values, several[key], strict=True
        ):
            np.testing.assert_allclose(
                other, value, rtol=1e-4, atol=1e-4, err_msg=f"{key}, {what}"
            )


def test_rows_that_cannot_be_shared_are_refused():
    split = sharding.by_batch(sharding.make_mesh(1, 4))
    x = jnp.zeros((1, 12, 4, 1))
    said = "12 rows, strides 2: 3 on each of 4 devices"
    with halo.splitting(split), pytest.raises(ValueError, match=said):
        pooling.average_pool(x, 2)


def test_whole_images_have_no_halo():
    """On a mesh that splits the batch alone programs are as without it."""
    x, kernel = jnp.zeros((4, 4, 4, 1)), jnp.zeros((3, 3, 1, 1))

    def program(split):
        with halo.splitting(split):
            return str(
                jax.make_jaxpr(layers.Conv(1).apply)({"params": {"kernel": kernel}}, x)
            )

    assert program(sharding.by_batch(sharding.make_mesh(4))) == program(None)
    assert "ppermute" in program(sharding.by_batch(sharding.make_mesh(1, 4)))
