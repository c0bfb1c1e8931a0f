import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.inference.metrics import (
    boundary_counts,
    boundary_scores,
    confusion_matrix,
    scores,
)

VOID = 255
NAN = np.nan


def count_on_host(labels, predictions, classes):
    return confusion_matrix(np.array(labels), np.array(predictions), classes)


@pytest.fixture(params=["host", "device", "jit"])
def count(request):
    """`confusion_matrix` in one of the places where it runs."""
    if request.param == "host":
        return count_on_host
    function = confusion_matrix
    if request.param == "jit":
        function = jax.jit(confusion_matrix, static_argnums=2)
    return lambda labels, predictions, classes: function(
        jnp.array(labels), jnp.array(predictions), classes
    )


def test_confusion_by_hand(count):
    labels = [[0, 0, 1, VOID], [1, 1, VOID, 0]]
    predictions = [[0, 1, 1, 1], [1, 2, 0, 0]]
    matrix = count(labels, predictions, 3)
    np.testing.assert_array_equal(matrix, [[2, 1, 0], [0, 2, 1], [0, 0, 0]])


def test_confusion_agrees_with_a_loop(count):
    random = np.random.default_rng(0)
    labels = random.choice([0, 1, 2, 3, 4, VOID], (3, 7, 9)).astype(np.int32)
    predictions = random.integers(0, 5, (3, 7, 9)).astype(np.int32)
    expected = np.zeros((5, 5), np.int64)
    for true, predicted in zip(labels.ravel(), predictions.ravel(), strict=True):
        if true != VOID:
            expected[true, predicted] += 1
    np.testing.assert_array_equal(count(labels, predictions, 5), expected)


def test_bytes_do_not_wrap_around(count):
    labels = np.array([20, 20, VOID], np.uint8)
    predictions = np.array([19, 20, 20], np.uint8)
    matrix = count(labels, predictions, 21)
    assert (matrix[20, 19], matrix[20, 20], matrix.sum()) == (1, 1, 2)


def test_pixels_of_no_class_do_not_land_in_another_cell(count):
    labels = [0, 3, -1, 1, 1, VOID]
    predictions = [0, 0, 0, 3, -1, VOID]
    np.testing.assert_array_equal(
        count(labels, predictions, 3), [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    )


def test_counts_of_the_host_are_of_numpy_and_in_int64():
    labels = np.zeros(3, np.uint8)
    matrix = confusion_matrix(labels, labels, 2)
    assert isinstance(matrix, np.ndarray) and matrix.dtype == np.int64
    on_device = confusion_matrix(jnp.array(labels), jnp.array(labels), 2)
    assert isinstance(on_device, jax.Array) and on_device.dtype == np.int32


def test_counts_are_exact_where_float32_is_not():
    size = 2**24 + 3
    labels = np.zeros(size, np.uint8)
    labels[0] = 1
    function = jax.jit(confusion_matrix, static_argnums=2)
    matrix = np.asarray(function(labels, np.zeros(size, np.uint8), 2), np.int64)
    assert matrix.tolist() == [[size - 1, 0], [1, 0]]
    set_of_batches = sum([matrix] * 200)
    assert set_of_batches[0, 0] == 200 * (size - 1) > 2**31


def test_scores_by_hand_with_void_and_an_absent_class():
    # Three of four classes occur; the void pixel is counted nowhere.
    labels = [0, 0, 0, 0, 1, 1, 2, VOID]
    predictions = [0, 0, 0, 1, 1, 0, 1, 2]
    result = scores(count_on_host(labels, predictions, 4))
    np.testing.assert_allclose(result["iou"], [3 / 5, 1 / 4, 0, NAN])
    np.testing.assert_allclose(result["dice"], [6 / 8, 2 / 5, 0, NAN])
    np.testing.assert_allclose(result["class_accuracy"], [3 / 4, 1 / 2, 0, NAN])
    assert result["mean_iou"] == pytest.approx((3 / 5 + 1 / 4 + 0) / 3)
    assert result["mean_dice"] == pytest.approx((6 / 8 + 2 / 5 + 0) / 3)
    assert result["pixel_accuracy"] == pytest.approx(4 / 7)
    assert result["mean_class_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)


def test_class_predicted_but_never_true_counts_as_zero():
    result = scores(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(result["iou"], [3 / 4, 0])
    assert result["mean_iou"] == pytest.approx(3 / 8)
    np.testing.assert_allclose(result["class_accuracy"], [3 / 4, NAN])
    assert result["mean_class_accuracy"] == pytest.approx(3 / 4)


def test_nothing_counted_has_no_score():
    result = scores(np.zeros((2, 2), np.int64))
    assert all(np.isnan(value).all() for value in result.values())


def test_miou_comes_from_one_matrix():
    # A good large batch and a bad small one: the mean of their mIoUs is far lower.
    first = count_on_host([0] * 50 + [1] * 50, [0] * 50 + [1] * 50, 2)
    second = count_on_host([0, 0, 1, 1], [1, 1, 0, 0], 2)
    whole = scores(first + second)["mean_iou"]
    assert whole == pytest.approx(50 / 54)
    assert (
        scores(first)["mean_iou"] + scores(second)["mean_iou"]
    ) / 2 == pytest.approx(0.5)


def test_scores_of_a_large_set_do_not_overflow():
    result = scores(np.array([[2**40, 0], [2**40, 2**41]]))
    np.testing.assert_allclose(result["iou"], [1 / 2, 2 / 3])


def test_matrix_must_be_square():
    with pytest.raises(ValueError, match="square"):
        scores(np.zeros((2, 3), np.int64))


def band_by_loop(region, width):
    """Pixels of a region within `width` rows and columns of one that is not of it."""
    height, length = region.shape
    band = np.zeros_like(region)
    for y, x in zip(*np.nonzero(region), strict=True):
        for v in range(y - width, y + width + 1):
            for u in range(x - width, x + width + 1):
                inside = 0 <= v < height and 0 <= u < length
                band[y, x] |= not (inside and region[v, u])
    return band


def test_boundary_of_a_square_by_hand():
    # The band of a 4 x 4 square is 12 pixels. Two of them, one column apart, share
    # three pixels of the top row, three of the bottom row and none between these.
    label = np.zeros((10, 10), np.uint8)
    label[3:7, 3:7] = 1
    prediction = np.zeros((10, 10), np.uint8)
    prediction[3:7, 4:8] = 1
    counts = boundary_counts(label, prediction, 2)
    assert counts[1].tolist() == [6, 18]
    assert counts.dtype == np.int64


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.15])
def test_boundary_agrees_with_a_loop(fraction):
    random = np.random.default_rng(3)
    coarse = random.integers(0, 3, (2, 4, 5))
    label, prediction = coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    label[2:5, 3:9] = VOID
    prediction[10, 10] = 0
    width = {0.02: 1, 0.1: 3, 0.15: 4}[fraction]
    counts = boundary_counts(label, prediction, 3, fraction)
    for index in range(3):
        truth = band_by_loop((label == index) & (label != VOID), width)
        guess = band_by_loop((prediction == index) & (label != VOID), width)
        assert counts[index].tolist() == [(truth & guess).sum(), (truth | guess).sum()]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_class_of_one_side_alone_has_a_band_and_shares_none(swapped):
    label, prediction = np.zeros((2, 6, 8), np.uint8)
    prediction[2:5, 2:5] = 1
    pair = (prediction, label) if swapped else (label, prediction)
    assert boundary_counts(*pair, 3)[1:].tolist() == [[0, 8], [0, 0]]


def test_image_border_is_a_boundary():
    label = np.zeros((6, 8), np.uint8)
    assert boundary_counts(label, label, 1).tolist() == [[24, 24]]


def test_void_has_no_effect_on_boundaries():
    label = np.zeros((12, 12), np.uint8)
    label[:, 6:] = 1
    label[4:8, 2:10] = VOID
    first, second = label.copy(), label.copy()
    first[label == VOID] = 0
    second[label == VOID] = 1
    counts = boundary_counts(label, first, 2)
    np.testing.assert_array_equal(counts, boundary_counts(label, second, 2))
    np.testing.assert_array_equal(counts[:, 0], counts[:, 1])
    assert boundary_scores(counts)["mean_boundary_iou"] == 1.0


def test_padding_with_void_moves_only_the_diagonal():
    random = np.random.default_rng(4)
    label, prediction = random.integers(0, 2, (2, 3, 3)).repeat(4, 1).repeat(4, 2)
    wide = np.pad(label, ((0, 4), (0, 2)), constant_values=VOID)
    guess = np.pad(prediction, ((0, 4), (0, 2)), constant_values=1)
    np.testing.assert_array_equal(
        boundary_counts(wide, guess, 2), boundary_counts(label, prediction, 2)
    )


def test_boundary_scores_pool_images_and_leave_absent_classes_out():
    counts = np.array([[1, 2], [0, 3], [0, 0]]) + np.array([[2, 2], [0, 0], [0, 0]])
    result = boundary_scores(counts)
    np.testing.assert_allclose(result["boundary_iou"], [3 / 4, 0, NAN])
    assert result["mean_boundary_iou"] == pytest.approx(3 / 8)


def test_boundary_refuses_other_shapes():
    with pytest.raises(ValueError, match="differ"):
        boundary_counts(np.zeros((2, 3)), np.zeros((3, 2)), 2)
