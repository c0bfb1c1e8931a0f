"""Layers proved by values: each against its formula, written out in numpy."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.models.branch import SqueezeExcitation
from resseg.models.layers import (
    BatchNorm,
    Conv,
    Norm,
    standardize,
)
from resseg.models.ops.max_pool import max_pool
from resseg.models.pooling import average_pool
from resseg.models.resizing import resize, resize_nearest

# torch's: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
EPSILON, BATCH_MOMENTUM = 1e-5, 0.9  # torch's momentum is the share of the new, 0.1


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def convolved(x, kernel, strides=1, dilation=1, groups=1):
    """Zero padding of dilation * (size - 1) / 2, one output pixel and group a time."""
    size, share = kernel.shape[0], x.shape[-1] // groups
    outputs = kernel.shape[-1] // groups
    pad = dilation * (size - 1) // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = (-(-side // strides) for side in x.shape[1:3])
    y = np.zeros((x.shape[0], height, width, kernel.shape[-1]))
    for row, column, group in np.ndindex(height, width, groups):
        top, left = row * strides, column * strides
        reach = dilation * (size - 1) + 1
        window = padded[:, top : top + reach : dilation, left : left + reach : dilation]
        inside = window[..., group * share : (group + 1) * share]
        span = slice(group * outputs, (group + 1) * outputs)
        y[:, row, column, span] = np.tensordot(inside, kernel[..., span], 3)
    return y


@pytest.mark.parametrize(
    ("size", "strides", "dilation", "groups"),
    [
        (3, 1, 1, 1),
        (3, 2, 1, 1),
        (3, 1, 2, 4),
        (3, 2, 1, 8),
        (7, 2, 1, 1),
        (1, 2, 1, 1),
        (1, 2, 1, 4),
    ],
)
def test_convolution_is_the_explicit_sum(size, strides, dilation, groups):
    x = normal(2, 7, 8, 8)
    conv = Conv(16, size, strides, dilation, groups=groups, use_bias=True)
    params = conv.init(jax.random.key(1), x)["params"]
    assert params["kernel"].shape == (size, size, 8 // groups, 16)
    params["bias"] = normal(16, seed=2)
    kernel = np.asarray(params["kernel"])
    expected = convolved(np.asarray(x), kernel, strides, dilation, groups)
    expected = expected + np.asarray(params["bias"])
    y = conv.apply({"params": params}, x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_a_standardised_kernel_has_mean_0_and_variance_2_over_fan_in():
    kernel = 3.0 + 0.1 * normal(3, 3, 5, 7)
    used = np.asarray(standardize(kernel))
    np.testing.assert_allclose(used.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(used.var((0, 1, 2)), 2 / (3 * 3 * 5), rtol=1e-4)
    # The kernel in use is this one, and what shifts or scales the weights is gone.
    x = normal(1, 4, 4, 5)
    conv = Conv(7, standardized=True)
    y = conv.apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(y, convolved(np.asarray(x), used), rtol=1e-3, atol=1e-4)
    other = conv.apply({"params": {"kernel": 2 * kernel - 5}}, x)
    np.testing.assert_allclose(other, y, rtol=1e-2, atol=1e-3)


def batch_norm(x, train=True, dtype=jnp.float32, scale=None, bias=None, **stats):
    channels = x.shape[-1]
    norm = BatchNorm(dtype=dtype)
    params = {
        "scale": jnp.ones(channels) if scale is None else scale,
        "bias": jnp.zeros(channels) if bias is None else bias,
    }
    stats = {"mean": jnp.zeros(channels), "var": jnp.ones(channels)} | stats
    variables = {"params": params, "batch_stats": stats}
    y, new = norm.apply(variables, x, train, mutable=["batch_stats"])
    return y, new["batch_stats"]


def test_batch_norm_normalises_by_biased_and_collects_unbiased_variance():
    x, scale, bias = 2 + 3 * normal(2, 3, 3, 4), normal(4, seed=1), normal(4, seed=2)
    y, stats = batch_norm(x, scale=scale, bias=bias)
    values = np.asarray(x, np.float64).reshape(-1, 4)
    mean, biased = values.mean(0), values.var(0)
    expected = (values - mean) / np.sqrt(biased + EPSILON) * np.asarray(scale)
    expected = (expected + np.asarray(bias)).reshape(x.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    new = 1 - BATCH_MOMENTUM
    assert new == pytest.approx(0.1)  # what torch calls momentum
    np.testing.assert_allclose(stats["mean"], new * mean, rtol=1e-5)
    unbiased = values.var(0, ddof=1)
    np.testing.assert_allclose(stats["var"], 0.9 + new * unbiased, rtol=1e-5)


def test_batch_norm_of_a_single_value_is_its_bias():
    bias = jnp.asarray([1.0, -2.0])
    y, stats = batch_norm(jnp.asarray([[[[5.0, 7.0]]]]), bias=bias)
    np.testing.assert_array_equal(y, bias.reshape(1, 1, 1, 2))
    np.testing.assert_allclose(stats["mean"], [0.5, 0.7], rtol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.9, rtol=1e-6)


def test_batch_norm_in_eval_mode_uses_and_keeps_the_running_statistics():
    x, mean, var = normal(2, 2, 2, 3), normal(3, seed=1), jnp.asarray([1.0, 4.0, 9.0])
    y, stats = batch_norm(x, train=False, mean=mean, var=var)
    expected = (np.asarray(x) - np.asarray(mean)) / np.sqrt([1 + EPSILON, 4, 9])
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stats["mean"], mean)
    np.testing.assert_array_equal(stats["var"], var)


def test_statistics_of_half_precision_are_single():
    # Their mean, 129.5, is no bfloat16, and neither is a sum of 1024 of them.
    x = jnp.asarray([1.0, 258.0] * 512, jnp.bfloat16).reshape(1, 32, 32, 1)
    y, stats = batch_norm(x, dtype=jnp.bfloat16)
    assert y.dtype == jnp.bfloat16 and stats["var"].dtype == jnp.float32
    np.testing.assert_allclose(stats["mean"], 12.95, rtol=1e-5)
    unbiased = 128.5**2 * 1024 / 1023
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-4)
    np.testing.assert_allclose(jnp.abs(y).astype(jnp.float32), 1, rtol=1e-2)


def test_gradient_of_batch_norm_is_that_of_its_formula():
    x, scale, bias = normal(2, 3, 3, 4), 1 + normal(4, seed=1), normal(4, seed=2)
    weights = normal(*x.shape, seed=3)

    def ours(x, scale, bias):
        return (batch_norm(x, scale=scale, bias=bias)[0] * weights).sum()

    def formula(x, scale, bias):
        mean = x.mean((0, 1, 2), keepdims=True)
        var = ((x - mean) ** 2).mean((0, 1, 2), keepdims=True)
        y = (x - mean) / jnp.sqrt(var + EPSILON) * scale.reshape(1, 1, 1, 4)
        return ((y + bias.reshape(1, 1, 1, 4)) * weights).sum()

    found = jax.grad(ours, (0, 1, 2))(x, scale, bias)
    expected = jax.grad(formula, (0, 1, 2))(x, scale, bias)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("channels", [8, 32, 64])
def test_group_norm_of_one_pixel_keeps_what_tells_channels_apart(channels):
    """The image-level branch has one pixel: groups of one value would all be zero."""
    norm, x = Norm("group"), normal(2, 1, 1, channels)
    variables = norm.init(jax.random.key(0), x, False)
    y = norm.apply(variables, x, False)
    assert jnp.abs(y).mean() > 0.5
    gradient = jax.grad(lambda x: (norm.apply(variables, x, False) ** 3).sum())(x)
    assert jnp.abs(gradient).max() > 1e-2


@pytest.mark.parametrize(
    ("channels", "reduction", "inner"), [(64, 16, 8), (256, 16, 16), (320, 16, 24)]
)
def test_squeeze_and_excitation_is_its_formula(channels, reduction, inner):
    x, layer = normal(2, 3, 5, channels), SqueezeExcitation(reduction)
    params = layer.init(jax.random.key(1), x)["params"]
    assert params["reduce"]["kernel"].shape == (1, 1, channels, inner)
    keys = jax.random.split(jax.random.key(2), 4)
    leaves, tree = jax.tree.flatten(params)
    leaves = [
        jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    params = jax.tree.unflatten(tree, leaves)
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    means = np.asarray(x, np.float64).mean((1, 2))
    hidden = means @ wide["reduce"]["kernel"][0, 0] + wide["reduce"]["bias"]
    scores = np.maximum(hidden, 0) @ wide["expand"]["kernel"][0, 0]
    gate = 1 / (1 + np.exp(-(scores + wide["expand"]["bias"])))
    expected = np.asarray(x) * gate[:, None, None]
    y = layer.apply({"params": params}, x)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-5)


def interpolated(line, to, align_corners):
    """One axis, by the rule of torch's `interpolate` in mode bilinear."""
    of = len(line)
    result = []
    for i in range(to):
        if align_corners:
            place = i * (of - 1) / (to - 1) if to > 1 else 0.0
        else:
            place = max((i + 0.5) * of / to - 0.5, 0.0)
        low = min(math.floor(place), of - 1)
        high, share = min(low + 1, of - 1), place - low
        result.append((1 - share) * line[low] + share * line[high])
    return np.stack(result)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("of", "to"),
    [((4, 5), (8, 15)), ((5, 7), (13, 9)), ((9, 8), (4, 3)), ((1, 3), (4, 1))],
)
def test_resize_is_torchs_bilinear(of, to, align_corners):
    x = normal(2, *of, 3)
    rows = interpolated(np.moveaxis(np.asarray(x), 1, 0), to[0], align_corners)
    both = interpolated(np.moveaxis(rows, 2, 0), to[1], align_corners)
    expected = both.transpose(2, 1, 0, 3)
    y = resize(x, to, align_corners)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_aligned_corners_coincide_and_others_do_not():
    x = normal(1, 4, 6, 2)
    corners = list(itertools.product((0, -1), (0, -1)))
    aligned, centred = (resize(x, (9, 14), align) for align in (True, False))
    for row, column in corners:
        place = (0, row, column)
        np.testing.assert_allclose(aligned[place], x[place], rtol=1e-6)
    # Half a pixel inside, the neighbours of a corner weigh in where centres align.
    assert jnp.abs(aligned[:, 1] - centred[:, 1]).max() > 0.1


@pytest.mark.parametrize("to", [(8, 10), (7, 9), (13, 23)])
def test_nearest_shows_the_floor_of_the_place(to):
    x = normal(1, 4, 5, 2)
    rows = [i * 4 // to[0] for i in range(to[0])]
    columns = [i * 5 // to[1] for i in range(to[1])]
    expected = np.asarray(x)[:, rows][:, :, columns]
    np.testing.assert_array_equal(resize_nearest(x, to), expected)


def test_windows_cut_by_the_border_average_what_they_hold():
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    pooled = average_pool(x, 2)[0, :, :, 0]
    np.testing.assert_allclose(pooled, [[(0 + 1 + 3 + 4) / 4, (2 + 5) / 2], [6.5, 8]])


def sent_back(layer, x, cotangent=None):
    """|g_in| / |g_out| and g_in; g_out is 1 everywhere unless it is given."""
    y, pull = jax.vjp(layer, x)
    g = jnp.ones_like(y) if cotangent is None else cotangent(y)
    (back,) = pull(g)
    # In float64: a float32 sum of many squares is off by more than these tests allow.
    sent, got = (np.linalg.norm(np.asarray(a, np.float64)) for a in (back, g))
    return float(sent / got), back


def independent(y):
    return normal(*y.shape, seed=7)


@pytest.mark.parametrize("cotangent", [None, independent])
def test_pooling_and_striding_send_back_what_their_adjoints_say(cotangent):
    """O22: average pool of 2 1/2; stride 2 all of it, to a quarter of the sites; the
    mean over an image 1 / sqrt(sites).
    """
    x = normal(2, 16, 16, 3)
    ratio, _ = sent_back(lambda x: average_pool(x, 2), x, cotangent)
    np.testing.assert_allclose(ratio, 1 / 2, rtol=1e-6)
    ratio, back = sent_back(lambda x: x[:, ::2, ::2], x, cotangent)
    np.testing.assert_allclose(ratio, 1, rtol=1e-6)
    assert np.mean(np.asarray(back) == 0) == 3 / 4
    ratio, _ = sent_back(lambda x: x.mean((1, 2), keepdims=True), x, cotangent)
    np.testing.assert_allclose(ratio, 1 / 16, rtol=1e-6)


def test_a_strided_projection_leaves_three_quarters_without_gradient():
    """O22: a 1x1 convolution that reads every other row and column."""
    conv, x = Conv(5, 1, 2), normal(2, 8, 8, 3)
    variables = conv.init(jax.random.key(1), x)
    _, back = sent_back(lambda x: conv.apply(variables, x), x)
    unread = np.ones((8, 8), bool)
    unread[::2, ::2] = False
    np.testing.assert_array_equal(np.asarray(back == 0).all((0, 3)), unread)


def test_max_pooling_keeps_the_norm_where_no_window_shares_its_peak():
    """O22; of overlapping windows that do, a peak gets the sum: 4 / sqrt(4)."""
    apart = jnp.zeros((1, 8, 8, 1)).at[:, ::2, ::2].set(1)
    np.testing.assert_allclose(sent_back(max_pool, apart)[0], 1, rtol=1e-6)
    shared = jnp.zeros((1, 8, 8, 1)).at[:, 1::4, 1::4].set(1)
    np.testing.assert_allclose(sent_back(max_pool, shared)[0], 2, rtol=1e-6)


def test_upsampling_sends_back_sums_of_what_it_spreads():
    """O22: of a constant 2; of independent entries 1 by nearest neighbour, bilinear
    (1.25 n + .75) / 2 n: .631 at 64, .625 far from the border.
    """
    x, size = normal(8, 64, 64, 4), (128, 128)
    for layer in (resize, resize_nearest):
        ratio, _ = sent_back(lambda x, layer=layer: layer(x, size), x)
        np.testing.assert_allclose(ratio, 2, rtol=1e-5)
    ratio, _ = sent_back(lambda x: resize_nearest(x, size), x, independent)
    np.testing.assert_allclose(ratio, 1, rtol=0.01)
    ratio, back = sent_back(lambda x: resize(x, size), x, independent)
    np.testing.assert_allclose(ratio, (1.25 * 64 + 0.75) / 128, rtol=0.01)
    inside = float(jnp.sqrt(jnp.mean(back[:, 1:-1, 1:-1] ** 2))) / 2
    np.testing.assert_allclose(inside, 0.625, rtol=0.01)
