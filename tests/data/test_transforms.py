"""Image and mask move together, and a mask is never interpolated."""

import weakref

import numpy as np
import pytest
from ml_collections import ConfigDict

from resseg.config import base
from resseg.data import VOID
from resseg.data.crops import crop_matrix, cut, draw_corner, warp
from resseg.data.normalization import Normalizer, denormalize, normalize
from resseg.data.transforms import draw_color, jitter_color, make_train_transform

COLORS = np.array([[20, 60, 200], [230, 40, 90], [90, 220, 30]], np.uint8)


@pytest.fixture
def data() -> ConfigDict:
    """Every augmentation off; a crop of 40 x 48."""
    data = base.get_config().data
    data.crop, data.scale = (40, 48), (1.0, 1.0)
    data.flip = data.vertical_flip = data.rotate = data.color = data.rare_crop = 0.0
    return data


def painted(height: int = 60, width: int = 70) -> dict:
    """Large patches of three classes, and the image that is their colours."""
    rows, columns = np.indices((height, width))
    mask = ((rows // 20 + columns // 20) % 3).astype(np.uint8)
    return {"image": COLORS[mask], "mask": mask, "name": "painted"}


def noise(height: int, width: int) -> dict:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "mask": rng.integers(0, 5, (height, width), dtype=np.uint8),
        "name": "noise",
    }


def test_nothing_asked_for_gives_the_exact_pixels_of_a_window(data):
    example = noise(40, 48)
    found = make_train_transform(data, ())(example, np.random.default_rng(0))
    assert np.array_equal(
        found["image"], normalize(example["image"], data.mean, data.std)
    )
    assert np.array_equal(found["label"], example["mask"])
    assert found["image"].dtype == np.float32
    assert found["label"].dtype == np.int32


def test_a_crop_is_a_window_of_the_image_bit_for_bit():
    example = noise(60, 70)
    matrix = crop_matrix((7, 11), (40, 48), 1.0, 0.0)
    image, mask = warp(
        example["image"], example["mask"], matrix, (40, 48), (0.5, 0.5, 0.5)
    )
    assert np.array_equal(image, example["image"][7:47, 11:59])
    assert np.array_equal(mask, example["mask"][7:47, 11:59])


def test_flips_mirror_both(data):
    example = noise(40, 48)
    data.flip = data.vertical_flip = 1.0
    found = make_train_transform(data, ())(example, np.random.default_rng(0))
    image = denormalize(found["image"], data.mean, data.std)
    assert np.array_equal(image, example["image"][::-1, ::-1])
    assert np.array_equal(found["label"], example["mask"][::-1, ::-1])


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": (0.5, 2.0)},
        {"rotate": 90.0},
        {"flip": 0.5, "vertical_flip": 0.5},
        {"rare_crop": 1.0},
        {"crop": (80, 96)},
        {
            "scale": (0.3, 2.0),
            "rotate": 45.0,
            "flip": 0.5,
            "vertical_flip": 0.5,
            "rare_crop": 0.5,
            "crop": (80, 96),
        },
    ],
)
def test_the_mask_stays_on_the_image(data, changes):
    data.update(changes)
    example = painted()
    transform = make_train_transform(data, (2,))
    wrong = labelled = 0
    for seed in range(20):
        found = transform(example, np.random.default_rng(seed))
        image = denormalize(found["image"], data.mean, data.std).astype(int)
        label = found["label"]
        assert set(np.unique(label)) <= {0, 1, 2, VOID}
        inside = label != VOID
        distance = np.abs(image[inside][:, None] - COLORS.astype(int)).sum(axis=2)
        wrong += (distance.argmin(axis=1) != label[inside]).sum()
        labelled += inside.sum()
    # Interpolated pixels along an edge may be nearer to the other class; were the mask
    # off by a whole pixel, a tenth of all pixels would be.
    assert labelled > 10_000
    assert wrong < 0.02 * labelled


def test_outside_the_image_is_the_mean_colour_and_void(data):
    data.crop = (64, 100)
    example = noise(40, 48)
    found = make_train_transform(data, ())(example, np.random.default_rng(3))
    void = found["label"] == VOID
    assert void.sum() == 64 * 100 - 40 * 48
    assert np.abs(found["image"][void]).max() < 0.01
    assert np.array_equal(found["label"][~void], example["mask"].ravel())


def test_void_never_becomes_a_class_nor_a_class_void(data):
    data.scale, data.rotate, data.crop = (0.4, 2.0), 180.0, (80, 96)
    example = noise(60, 70)
    transform = make_train_transform(data, ())
    example["mask"] = np.full((60, 70), VOID, np.uint8)
    example["mask"][::2] = 3
    for seed in range(10):
        label = transform(example, np.random.default_rng(seed))["label"]
        assert set(np.unique(label)) <= {3, VOID}
    example["mask"][:] = 3
    data.scale, data.rotate, data.crop = (1.0, 2.0), 0.0, (40, 48)
    inner = make_train_transform(data, ())
    for seed in range(10):
        assert (inner(example, np.random.default_rng(seed))["label"] == 3).all()


def test_an_enlarged_image_keeps_its_edge_pixels():
    example = {"image": np.full((20, 20, 3), 200, np.uint8)}
    mask = np.zeros((20, 20), np.uint8)
    matrix = crop_matrix((0, 0), (40, 40), 2.0, 0.0)
    image, sampled = warp(example["image"], mask, matrix, (40, 40), (0.0, 0.0, 0.0))
    assert (image == 200).all()
    assert (sampled == 0).all()


def test_a_rare_crop_holds_the_rare_class(data):
    data.rare_crop, data.crop, data.scale = 1.0, (32, 32), (0.8, 2.0)
    example = noise(200, 300)
    example["mask"][:] = 0
    places = ((0, 0), (199, 299), (100, 3), (90, 150))
    for place in places:
        example["mask"][:] = 0
        row, column = place
        example["mask"][max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 4
        transform = make_train_transform(data, (3, 4))
        for seed in range(10):
            label = transform(example, np.random.default_rng(seed))["label"]
            assert (label == 4).any()
            assert (label != VOID).mean() > 0.9


def test_without_the_rare_class_a_rare_crop_is_any_crop(data):
    example = noise(60, 70)
    plain = make_train_transform(data, ())(example, np.random.default_rng(1))
    data.rare_crop = 1.0
    aimed = make_train_transform(data, (77,))(example, np.random.default_rng(1))
    assert np.array_equal(plain["label"], aimed["label"])


def test_corners_reach_every_place_and_never_further():
    rng = np.random.default_rng(0)
    corners = [draw_corner((10, 4), (8, 7), None, rng) for _ in range(300)]
    assert {row for row, _ in corners} == {0, 1, 2}
    assert {column for _, column in corners} == {-3, -2, -1, 0}


def jittered(image, factors):
    found = np.full(image.shape, np.nan, np.float32)
    jitter_color(image, factors, found)
    return found


def test_colour_jitter_moves_the_colours_and_stays_in_range():
    image = noise(40, 48)["image"]
    rng = np.random.default_rng(0)
    assert draw_color(0.0, rng) is None
    found = jittered(image, draw_color(0.4, rng))
    assert found.min() >= 0
    assert found.max() <= 255
    assert np.abs(found - image).mean() > 5
    grey = np.repeat(image[..., :1], 3, axis=2)
    found = jittered(grey, draw_color(0.4, rng))
    assert np.allclose(found[..., 0], found[..., 2], atol=1e-3)


def test_colour_jitter_is_brightness_then_contrast_then_saturation():
    image = np.array([[[100, 50, 20], [10, 200, 90]]], np.uint8)
    luma = np.array([0.299, 0.587, 0.114])
    expected = 1.1 * image
    expected = 0.8 * expected + 0.2 * (expected @ luma).mean()
    expected = 0.5 * expected + 0.5 * (expected @ luma)[..., None]
    found = jittered(image, np.array([1.1, 0.8, 0.5]))
    assert np.allclose(found, expected, atol=1e-3)


def test_normalize_and_back():
    image = noise(8, 9)["image"]
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    found = normalize(image, mean, std)
    assert found.dtype == np.float32
    assert np.allclose(found, (image / 255 - np.array(mean)) / np.array(std), atol=1e-5)
    assert np.array_equal(denormalize(found, mean, std), image)


def test_normalized_in_place_to_the_bit():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normalizer = Normalizer(mean, std)
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(8, 32, 3)
    image = image + np.arange(3, dtype=np.uint8)  # each channel has all 256 values
    wide = np.full((8, 40, 3), np.nan, np.float32)
    normalizer.put(image[:, ::-1], wide[:, :32])  # into a part of wider rows
    assert np.array_equal(wide[:, :32], normalize(image[:, ::-1], mean, std))
    assert np.isnan(wide[:, 32:]).all()
    colors = np.random.default_rng(0).uniform(0, 255, (8, 32, 3)).astype(np.float32)
    expected = normalize(colors, mean, std)
    normalizer.scale(colors)
    assert np.array_equal(colors, expected)


@pytest.mark.parametrize("corner", [(7, 11), (0, 0), (20, 22), (-3, 30), (-6, -40)])
def test_a_window_that_is_cut_is_the_window_that_is_warped(corner):
    example, crop, mean = noise(60, 70), (40, 48), (0.485, 0.456, 0.406)
    warped = warp(*stored(example), crop_matrix(corner, crop, 1.0, 0.0), crop, mean)
    for found, expected in zip(
        cut(*stored(example), corner, crop, mean), warped, strict=True
    ):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


def test_a_window_larger_than_its_image():
    example, mean = noise(20, 90), (0.5, 0.25, 0.75)
    image, mask = cut(*stored(example), (-7, 30), (40, 48), mean)
    assert np.array_equal(image[7:27], example["image"][:, 30:78])
    assert np.array_equal(mask[7:27], example["mask"][:, 30:78])
    outside = np.r_[0:7, 27:40]
    assert (mask[outside] == VOID).all() and (mask[7:27] != VOID).all()
    assert (image[outside] == (128, 64, 191)).all()


def test_a_window_inside_is_no_copy_and_leaves_its_image_alone():
    example = noise(60, 70)
    kept = example["image"].copy()
    for array in stored(example):
        array.flags.writeable = False
    image, mask = cut(*stored(example), (7, 11), (40, 48), (0.5, 0.5, 0.5))
    assert np.shares_memory(image, example["image"])
    assert np.shares_memory(mask, example["mask"])
    assert np.array_equal(example["image"], kept)


def stored(example):
    return example["image"], example["mask"]


def test_a_crop_is_made_before_the_next_image_is_asked_for(data):
    """So memory of a decoded image is free for the next."""
    transform, rng = make_train_transform(data, ()), np.random.default_rng(0)
    images, alive = [], []

    def drawn():
        for _ in range(5):
            example = noise(60, 70)
            images.append(weakref.ref(example["image"]))
            alive.append(sum(image() is not None for image in images))
            yield transform.draw(example, rng)

    assert transform.batch(drawn(), 5)["image"].shape == (5, 40, 48, 3)
    assert max(alive) <= 3
