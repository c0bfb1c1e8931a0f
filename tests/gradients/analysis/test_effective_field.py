"""The effective receptive field of stacks whose field is known (O17)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.gradients.analysis.effective_field import centre_field, coarse, extent

SIZE = 65


def box_stack(depth, w, k):
    """`depth` blocks (1 - w) x + w box(x) along both axes, on one channel."""
    kernel = np.zeros((k, k))
    kernel[k // 2, k // 2] = 1 - w
    kernel += w / k**2

    def stack(x):
        for _ in range(depth):
            x = jax.lax.conv_general_dilated(
                x,
                jnp.asarray(kernel, x.dtype).reshape(k, k, 1, 1),
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        return x

    return stack


def field_of(stack):
    with jax.enable_x64(True):
        images, signs = np.zeros((1, SIZE, SIZE, 1)), -np.ones((1, 1))
        return np.asarray(centre_field(stack, images, signs))


@pytest.mark.parametrize(("depth", "w", "k"), [(4, 1.0, 3), (6, 0.5, 3), (3, 0.25, 5)])
def test_box_filter_residual_blocks(depth, w, k):
    """O17: |dy/dx| has variance L w (k^2 - 1) / 12 along each axis."""
    found = extent(np.sqrt(field_of(box_stack(depth, w, k))))
    variance = depth * w * (k**2 - 1) / 12
    np.testing.assert_allclose([found.std_y**2, found.std_x**2], variance, rtol=1e-9)
    np.testing.assert_allclose(found.radius**2, 2 * variance, rtol=1e-9)


def test_the_shortcut_shrinks_the_field_by_the_root_of_w():
    stds = [
        extent(np.sqrt(field_of(box_stack(8, w, 3)))).std_x for w in (1.0, 0.5, 0.25)
    ]
    np.testing.assert_allclose(np.divide(stds, stds[0]), np.sqrt([1, 0.5, 0.25]))


def test_squares_of_a_deep_stack_tend_to_half_the_variance():
    """e itself, and its limit, a Gaussian squared; by the powers of the kernel."""
    for depth, near in ((4, 0.12), (16, 0.03)):
        row = np.ones(1)
        for _ in range(depth):
            row = np.convolve(row, np.ones(3) / 3)
        place = np.arange(len(row)) - depth
        expected = np.sum(place**2 * row**2) / np.sum(row**2)
        field = field_of(box_stack(depth, 1.0, 3))
        np.testing.assert_allclose(extent(field).std_x ** 2, expected, rtol=1e-9)
        half = extent(np.sqrt(field)).std_x ** 2 / 2
        np.testing.assert_allclose(expected, half, rtol=near)


def test_random_signs_sum_the_fields_of_the_channels():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1, 5, 5, 1))

    def channels(x):
        first, second = jnp.sum(a * x, (1, 2)), jnp.sum(b * x, (1, 2))
        rows = jnp.concatenate([first, second], axis=-1).reshape(-1, 1, 1, 2)
        return jnp.broadcast_to(rows, (len(x), 3, 3, 2))

    images = np.zeros((2, 5, 5, 1))
    with jax.enable_x64(True):
        # Both signs of the product occur once, so that the cross terms cancel.
        signs = np.array([[1.0, 1.0], [1.0, -1.0]])
        field = centre_field(channels, images, signs) / 2
    np.testing.assert_allclose(field, np.square(a[0, ..., 0]) + np.square(b[0, ..., 0]))


def test_the_extent_of_fields_drawn_by_hand():
    field = np.zeros((7, 9))
    field[2, 3] = 5
    assert extent(field) == (0, 0, 0, 1)
    field[2, 7] = 5
    assert extent(field) == (2, 0, 2, 2)
    field[4, 5] = 0.2  # below 4.55 % of the largest
    assert extent(field).area == 2
    edge = np.array([[1.0, 1 - 0.9545, 0.0456, 0.0454]])  # Luo 2016: more than 4.55 %
    assert extent(edge).area == 2
    empty = extent(np.zeros((3, 3)))
    assert np.isnan(empty.radius)
    assert empty.area == 0


@pytest.mark.parametrize(("size", "cells"), [(8, 4), (9, 4), (5, 64)])
def test_coarse_cells_keep_the_sum_and_the_centre_of_mass(size, cells):
    field = np.random.default_rng(0).random((size, size + 1))
    sums, y, x = coarse(field, cells)
    assert len(y) <= cells
    assert len(x) <= cells
    np.testing.assert_allclose(sums.sum(), field.sum())
    flat = np.ones((size, size + 1))
    sums, y, x = coarse(flat, cells)
    np.testing.assert_allclose((sums.sum(1) * y).sum() / flat.sum(), (size - 1) / 2)
    np.testing.assert_allclose((sums.sum(0) * x).sum() / flat.sum(), size / 2)
