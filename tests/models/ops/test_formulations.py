"""Every formulation gives the values and gradients of the plain one."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.models import resizing
from resseg.models.ops import (
    batch_norm,
    convolution,
    max_pool,
    relu,
    repeat,
    weight_gradient,
)
from resseg.models.ops.choice import Formulation, current, for_cpu, formulation
from resseg.models.ops.upsampled import Upsampled, worthwhile

CPU, GPU, PLAIN = Formulation.CPU, Formulation.GPU, Formulation.PLAIN
EACH = pytest.mark.parametrize("chosen", [CPU, Formulation.ONEDNN])


def normal(*shape, seed=0, dtype=np.float32):
    draw = np.random.default_rng(seed)
    return jnp.asarray(draw.normal(size=shape), dtype)


def value_and_gradients(chosen, function, *arguments):
    """The value, and gradients of its sum with weights, jitted under a choice."""

    def weighted(*arguments):
        y = function(*arguments)
        return (y * normal(*y.shape, seed=9).astype(y.dtype)).sum(), y

    with formulation(chosen):
        places = tuple(range(len(arguments)))
        run = jax.jit(jax.value_and_grad(weighted, places, has_aux=True))
        (_, y), gradients = run(*arguments)
    return y, *gradients


def assert_close(found, expected, tolerance):
    """Largest difference against the largest number, array by array."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


CASES = [
    # kernel, strides, dilation, groups, image, inputs, outputs
    *itertools.product((3,), (1, 2), (1, 2), (1,), ((8, 9),), (16,), (16, 5)),
    (1, 1, 1, 1, (5, 6), 8, 12),
    (1, 2, 1, 1, (5, 6), 8, 12),
    (1, 2, 1, 4, (5, 6), 8, 12),
    (7, 2, 1, 1, (16, 16), 3, 8),
    (5, 1, 1, 1, (8, 8), 4, 4),
    (3, 1, 6, 1, (8, 8), 4, 8),  # the corners of the kernel see half of the image
    (3, 1, 12, 1, (8, 10), 4, 8),  # only its centre sees any
    (3, 2, 6, 1, (9, 8), 4, 8),
    (3, 1, 1, 8, (7, 8), 8, 8),  # depthwise
    (3, 2, 1, 8, (7, 8), 8, 16),
    (3, 1, 5, 8, (7, 8), 8, 8),
    (3, 1, 1, 2, (7, 8), 8, 8),
    (3, 1, 1, 1, (1, 1), 16, 16),
    (3, 1, 1, 1, (2, 1), 16, 5),
    (3, 1, 1, 1, (4, 4), 256, 256),  # so wide that it goes by taps
    (3, 1, 2, 1, (4, 4), 512, 512),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
@EACH
def test_a_convolution(chosen, case, dtype):
    if dtype == "bfloat16" and case not in CASES[::3]:
        pytest.skip("every third in half precision")
    found, expected = (convolved(each, case, dtype) for each in (chosen, PLAIN))
    assert_close(found, expected, 1e-5 if dtype == "float32" else 3e-2)


@functools.cache
def convolved(chosen, case, dtype):
    size, strides, dilation, groups, sides, inputs, outputs = case
    x = normal(2, *sides, inputs, dtype=dtype)
    kernel = normal(size, size, inputs // groups, outputs, seed=1, dtype=dtype)

    def run(x, kernel):
        return convolution.convolve(x, kernel, strides, dilation, groups)

    return value_and_gradients(chosen, run, x, kernel)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize(("dilation", "outputs"), [(1, 8), (2, 16), (7, 8)])
def test_a_depthwise_convolution_for_a_gpu(dilation, outputs, strides, dtype):
    x = normal(2, 9, 8, 8, dtype=dtype)
    kernel = normal(3, 3, 1, outputs, seed=1, dtype=dtype)

    def run(x, kernel):
        return convolution.convolve(x, kernel, strides, dilation, 8)

    found = value_and_gradients(GPU, run, x, kernel)
    expected = value_and_gradients(PLAIN, run, x, kernel)
    assert_close(found, expected, 1e-5 if dtype == "float32" else 3e-2)


SIZES = [((4, 5), (16, 20)), ((1, 1), (8, 4)), ((3, 2), (6, 2)), ((7, 9), (21, 45))]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("sides", "size"), SIZES)
def test_enlarging_for_a_gpu(sides, size, align_corners):
    x = normal(2, *sides, 3)
    resize = functools.partial(resizing.resize, size=size, align_corners=align_corners)
    found = value_and_gradients(GPU, resize, x)
    assert_close(found, value_and_gradients(PLAIN, resize, x), 1e-5)
    half = value_and_gradients(GPU, resize, x.astype(jnp.bfloat16))
    assert_close([y.astype(jnp.float32) for y in half], found, 2e-2)
    with formulation(GPU):
        assert "dot_general" not in str(jax.make_jaxpr(resize)(x))
        other = functools.partial(resize, size=(9, 8))
        assert "dot_general" in str(jax.make_jaxpr(other)(normal(1, 4, 4, 1)))


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("outputs", [16, 6])
@EACH
def test_the_gradient_of_a_kernel(chosen, batch, dilation, outputs):
    """By strips of rows where images are few; by inputs where outputs fill no lane."""
    x, kernel = normal(batch, 8, 7, 16), normal(3, 3, 16, outputs, seed=1)
    y = convolution.plain(x, kernel, 1, dilation)
    linear = functools.partial(weight_gradient.tangent, x, dilation=dilation)
    with formulation(chosen):
        assert_close([linear(kernel)], [y], 1e-5)
        (found,) = jax.linear_transpose(linear, kernel)(y)
    plain = functools.partial(convolution.plain, x, strides=1, dilation=dilation)
    (expected,) = jax.linear_transpose(plain, kernel)(y)
    assert_close([found], [expected], 1e-5)


@pytest.mark.parametrize(
    ("batch", "height", "expected"),
    [(8, 32, 1), (2, 32, 4), (1, 32, 8), (2, 6, 2), (1, 7, 1), (1, 2, 1)],
)
def test_few_images_are_cut_into_strips(batch, height, expected):
    count = weight_gradient.strips(batch, height)
    assert count == expected and height % count == 0


def fork(chosen, transform):
    """A network of every operation, under a transformation."""

    def network(x, kernel, wise, scale):
        y = convolution.convolve(x, kernel, 1, 1, 1)
        y, _, _ = batch_norm.normalize(y, scale, scale, 1e-5)
        y = max_pool.max_pool(relu.relu(y))
        return convolution.convolve(y, wise, 1, 1, 16)

    arguments = (
        normal(4, 8, 8, 16),
        *(
            normal(*shape, seed=seed)
            for seed, shape in enumerate([(3, 3, 16, 16), (3, 3, 1, 16), (16,)], 1)
        ),
    )
    with formulation(chosen):
        return jax.jit(transform(network))(*arguments)


TRANSFORMS = {
    "vmap": lambda f: (
        lambda *a: jax.vmap(jax.grad(lambda *b: (f(*b) ** 2).sum(), (0, 1, 2, 3)))(
            *(jnp.stack([b, 2 * b]) for b in a)
        )
    ),
    "remat": lambda f: jax.grad(
        lambda *b: (jax.checkpoint(f)(*b) ** 2).sum(), (0, 1, 2, 3)
    ),
    "forward mode": lambda f: lambda *a: jax.jvp(f, a, tuple(b + 1 for b in a)),
    "along the gradient": lambda f: (
        lambda *a: jax.jvp(
            jax.grad(lambda *b: (f(*b) ** 2).sum(), (0, 1, 2, 3)),
            a,
            tuple(b + 1 for b in a),
        )
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("chosen", [CPU, Formulation.ONEDNN, GPU])
def test_under_a_transformation(chosen, transform):
    found = fork(chosen, TRANSFORMS[transform])
    expected = fork(PLAIN, TRANSFORMS[transform])
    assert_close(jax.tree.leaves(found), jax.tree.leaves(expected), 2e-5)


@EACH
def test_over_four_devices(chosen):
    mesh = jax.make_mesh((4,), ("data",))
    split = jax.NamedSharding(mesh, jax.P("data"))
    whole = jax.NamedSharding(mesh, jax.P())

    def run(x, kernel, scale):
        y = convolution.convolve(x, kernel, 1, 2, 1)
        y, _, _ = batch_norm.normalize(y, scale, scale, 1e-5)
        return (max_pool.max_pool(relu.relu(y)) ** 2).sum()

    arguments = normal(4, 8, 8, 16), normal(3, 3, 16, 16, seed=1), normal(16, seed=2)
    gradients = jax.grad(run, (0, 1, 2))
    with formulation(chosen):
        found = jax.jit(gradients, in_shardings=(split, whole, whole))(*arguments)
    with formulation(PLAIN):
        expected = jax.jit(gradients)(*arguments)
    assert_close(found, expected, 1e-5)


@pytest.mark.parametrize("sides", [(8, 8), (7, 8), (1, 1), (9, 2)])
@pytest.mark.parametrize("chosen", [CPU, GPU])
def test_max_pooling(chosen, sides):
    x = normal(2, *sides, 3).round(1)  # with equal pixels
    found = value_and_gradients(chosen, max_pool.max_pool, x)
    expected = value_and_gradients(PLAIN, max_pool.max_pool, x)
    assert_close(found, expected, 0)


@pytest.mark.parametrize(("times", "axis"), [(2, 1), (3, 2), (1, 1)])
def test_repeating(times, axis):
    x = normal(2, 4, 5, 3)
    run = functools.partial(repeat.repeat, times=times, axis=axis)
    found = value_and_gradients(CPU, run, x)
    expected = value_and_gradients(PLAIN, run, x)
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize("skips", [[normal(2, 16, 18, 3, seed=1)], []])
def test_a_convolution_over_what_is_upsampled(skips):
    low, kernel = normal(2, 8, 9, 5), normal(3, 3, 5 + 3 * len(skips), 4, seed=2)

    def merged(kernel, low, *skips):
        return Upsampled(low, *skips or [None]).convolve(kernel)

    def made(kernel, low, *skips):
        large = low.repeat(2, axis=1).repeat(2, axis=2)
        both = jnp.concatenate([large, *skips], axis=-1)
        return convolution.plain(both, kernel, 1, 1)

    found = value_and_gradients(CPU, merged, kernel, low, *skips)
    expected = value_and_gradients(PLAIN, made, kernel, low, *skips)
    assert_close(found, expected, 1e-5)


def test_what_is_small_or_not_doubled_is_upsampled():
    low = jnp.zeros((1, 8, 8, 2))
    assert worthwhile(low, (16, 16))
    assert not worthwhile(low, (15, 16)) and not worthwhile(low[:, :4], (8, 16))
    assert not worthwhile(low.astype(jnp.bfloat16), (16, 16))
    with formulation(PLAIN):
        assert not worthwhile(low, (16, 16))


def test_a_nan_wins_its_windows():
    x = normal(1, 6, 6, 1).at[0, 3, 3, 0].set(jnp.nan)
    y, _ = value_and_gradients(CPU, max_pool.max_pool, x)
    np.testing.assert_array_equal(jnp.isnan(y), jnp.isnan(max_pool.plain(x)))


@pytest.mark.parametrize("ratio", [100.0, 1000.0])
def test_batch_norm_of_a_channel_far_from_zero(ratio):
    """One pass over squares is 3e-4 and 3e-2 off here; two passes are not."""
    x, weights = ratio + normal(4, 8, 8, 2), normal(4, 8, 8, 2, seed=1)
    x = x.astype(jnp.float32)

    def gradient(x, weights, ones):
        def run(x):
            return (batch_norm.normalize(x, ones, ones, 1e-5)[0] * weights).sum()

        return jax.grad(run)(x)

    found = gradient(x, weights, jnp.ones(2))
    wide, g = np.asarray(x, np.float64), np.asarray(weights, np.float64)
    axes = (0, 1, 2)
    inverse = 1 / np.sqrt(wide.var(axes) + 1e-5)
    normed = (wide - wide.mean(axes)) * inverse
    expected = inverse * (g - g.mean(axes) - normed * (g * normed).mean(axes))
    assert_close([found], [expected.astype(np.float32)], 2e-6 * ratio / 100)


def test_batch_norm_of_a_channel_of_one_value_is_finite():
    """Its variance is a difference of what rounds, which could be below nothing."""
    x, one = jnp.full((3, 24, 7, 5), 1.1e9 + 64.0, jnp.float32), jnp.ones(5)
    x = x * jnp.asarray([1.0, 1.7, 2.3, 3.1, 4.9]).reshape(1, 1, 1, 5)
    y, _, var = batch_norm.normalize(x, one, one, 1e-5)
    assert (var >= 0).all() and jnp.isfinite(y).all()


@pytest.mark.parametrize("groups", [1, 32])
def test_half_precision_sums_in_single(groups):
    x = normal(1, 4, 4, 32, dtype=jnp.bfloat16)
    kernel = normal(3, 3, 32 // groups, 32, seed=1, dtype=jnp.bfloat16)
    with formulation(CPU):
        found = convolution.convolve(x, kernel, 1, 3, groups)
    expected = convolution.plain(x, kernel, 1, 3, groups)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("platform", "expected"), [("cuda", GPU), ("rocm", GPU), ("tpu", PLAIN)]
)
def test_another_device_has_its_choice(monkeypatch, platform, expected):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert current() is expected


def test_the_choice_is_of_the_device_unless_told():
    assert for_cpu()  # tests run on CPUs
    with formulation(PLAIN):
        assert not for_cpu()


def test_a_program_for_other_devices_has_no_formulation_of_a_cpu():
    def network(x, kernel, wise):
        y = max_pool.max_pool(convolution.convolve(x, kernel, 1, 1, 1))
        return convolution.convolve(y, wise, 1, 12, 8)

    arguments = normal(1, 8, 8, 8), normal(3, 3, 8, 8), normal(3, 3, 1, 8)
    with formulation(PLAIN):
        plain = str(jax.make_jaxpr(network)(*arguments))
    names = plain.split()
    assert "optimization_barrier" not in plain and "custom_jvp" not in plain
    assert sum(name.startswith("conv_general_dilated[") for name in names) == 2
