"""Distortions, colours and noise of a crop, and crops made of several."""

import cv2
import numpy as np
import pytest

from resseg.config import base
from resseg.data.effects import Effects, displace
from resseg.data.mixing import CLASSMIX, CUTMIX, MOSAIC, Mix, Mixing, mixed
from resseg.data.spec import VOID
from resseg.data.transforms import make_train_transform

MEAN = (0.2, 0.4, 0.6)
MEAN_COLOR = np.array([51, 102, 153])
SHAPE = (64, 80)


def scene(seed=0, classes=5):
    """Blobs of classes, each of a colour of its own; neither may be written."""
    draw = np.random.default_rng(seed)
    small = draw.integers(0, classes, (8, 10), dtype=np.uint8)
    mask = small.repeat(8, 0).repeat(8, 1)
    image = np.stack([40 * mask, 200 - 30 * mask, 10 + 20 * mask], -1).astype(np.uint8)
    for array in (image, mask):
        array.flags.writeable = False
    return image, mask


def applied(effects, image, mask, seed=0):
    drawn = effects.draw(np.random.default_rng(seed))
    return effects.apply(drawn, image, mask, MEAN)


def assert_moved_together(image, mask):
    """Away from borders between classes each pixel has the colour of its class."""
    kernel = np.ones((7, 7), np.uint8)
    same = cv2.erode(mask, kernel) == cv2.dilate(mask, kernel)
    for label in map(int, np.unique(mask[same])):
        colors = image[same & (mask == label)]
        known = [40 * label, 200 - 30 * label, 10 + 20 * label]
        expected = MEAN_COLOR if label == VOID else np.array(known)
        off = np.abs(colors.astype(int) - expected).max(-1) > 1
        assert off.mean() < 0.02, label  # where a sliver between two was squeezed away


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "effects",
    [
        Effects(elastic=1.5, elastic_scale=8.0),
        Effects(grid_distortion=0.4),
        Effects(cutout=0.5),
        Effects(elastic=1.0, grid_distortion=0.3, cutout=0.3),
    ],
    ids=lambda effects: str(effects.draw(np.random.default_rng(0))._fields[0]),
)
def test_image_and_mask_move_together(effects, seed):
    image, mask = scene(seed)
    moved, labels = applied(effects, image, mask, seed)
    assert (labels != mask).any() and moved.dtype == labels.dtype == np.uint8
    assert_moved_together(moved, labels)


def test_nothing_is_drawn_and_nothing_happens_where_all_is_off():
    assert Effects().draw(None) is None and Mixing().draw(None) is None


def test_displacements_point_to_where_pixels_come_from():
    image, mask = scene()
    by = np.zeros((*SHAPE, 2), np.float32)
    by[..., 0], by[..., 1] = 3, -2
    moved, labels = displace(image, mask, by, MEAN)
    np.testing.assert_array_equal(moved[2:, :-3], image[:-2, 3:])
    np.testing.assert_array_equal(labels[2:, :-3], mask[:-2, 3:])
    assert (labels[:2] == VOID).all() and (labels[:, -3:] == VOID).all()
    np.testing.assert_array_equal(moved[:2], np.broadcast_to(MEAN_COLOR, (2, 80, 3)))


def test_elastic_displacements_have_their_deviation_and_are_smooth():
    effects = Effects(elastic=4.0, elastic_scale=8.0)
    drawn = effects.draw(np.random.default_rng(1))
    by = effects._displacements(drawn, np.empty((200, 300)))
    assert by.std() == pytest.approx(4, rel=1e-3)
    steps = np.diff(by, axis=0).std() / by.std()
    assert steps == pytest.approx(1 / (np.sqrt(2) * 8), rel=0.2)


def test_the_frame_of_a_grid_stays_and_its_lines_move():
    gradient = np.arange(101, dtype=np.uint8)
    mask = np.tile(gradient, (51, 1))
    image = np.repeat(mask[..., None], 3, 2)
    effects = Effects(grid_distortion=0.49)
    drawn = effects.draw(np.random.default_rng(2))
    _, labels = effects.apply(drawn, image, mask, MEAN)
    np.testing.assert_array_equal(labels[0], labels[-1])
    assert labels[0, 0] == 0 and labels[0, -1] == 100
    found = labels[0, 20:100:20].astype(float)
    np.testing.assert_allclose(found, [20, 40, 60, 80] + 20 * drawn.grid[0], atol=0.6)
    assert (np.diff(labels[0].astype(int)) >= 0).all()


def test_colours_follow_their_formulas_and_masks_stay():
    image, mask = scene()
    for effects in (
        Effects(gamma=0.5),
        Effects(hue=0.5),
        Effects(blur=2.0),
        Effects(noise=0.2),
        Effects(jpeg=20),
    ):
        moved, labels = applied(effects, image, mask, 4)
        assert labels is mask and (moved != image).any() and moved.dtype == np.uint8
    effects = Effects(gamma=0.5)
    drawn = effects.draw(np.random.default_rng(3))
    assert 0.5 < drawn.gamma < 1.5
    expected = 255 * (image / 255) ** drawn.gamma
    np.testing.assert_allclose(applied(effects, image, mask, 3)[0], expected, atol=0.51)


def test_hue_turns_on_its_circle_and_leaves_grey():
    pure = np.array([[[255, 0, 0], [0, 255, 0], [90, 90, 90]]], np.uint8)
    effects = Effects(hue=0.4)
    drawn = effects.draw(np.random.default_rng(0))._replace(hue=1 / 3)
    turned, _ = effects.apply(drawn, pure, None, MEAN)
    expected = [[[0, 255, 0], [0, 0, 255], [90, 90, 90]]]
    np.testing.assert_allclose(turned, expected, atol=4)


def test_noise_has_its_deviation_and_is_that_of_its_seed():
    grey = np.full((100, 100, 3), 128, np.uint8)
    effects = Effects(noise=0.1)
    drawn = effects.draw(np.random.default_rng(0))
    found, _ = effects.apply(drawn, grey, None, MEAN)
    assert found.astype(float).std() == pytest.approx(drawn.noise[0], rel=0.05)
    assert drawn.noise[0] < 25.5
    again, _ = effects.apply(drawn, grey, None, MEAN)
    np.testing.assert_array_equal(found, again)


def test_a_lower_quality_is_further_away_and_colours_keep_their_order():
    image, mask = scene()
    errors = []
    for quality in (95, 50, 5):
        drawn = Effects(jpeg=1).draw(np.random.default_rng(0))._replace(jpeg=quality)
        stored, _ = Effects(jpeg=1).apply(drawn, image, mask, MEAN)
        errors.append(np.abs(stored.astype(float) - image).mean())
    assert errors[0] < errors[1] < errors[2] and errors[0] < 10
    best = Effects(jpeg=100)
    np.testing.assert_allclose(
        applied(best, image, mask)[0].mean((0, 1)), image.mean((0, 1)), atol=2
    )


def test_a_square_is_cut_out():
    image, mask = scene()
    effects = Effects(cutout=0.25)
    drawn = effects.draw(np.random.default_rng(0))._replace(cutout=(0.5, 0.0))
    found, labels = effects.apply(drawn, image, mask, MEAN)
    place = np.zeros(SHAPE, bool)
    place[24:40, :8] = True  # half of it lies outside
    np.testing.assert_array_equal(labels, np.where(place, VOID, mask))
    np.testing.assert_array_equal(found[~place], image[~place])
    assert (found[place] == MEAN_COLOR).all()


def crops(count):
    return [scene(seed) for seed in range(count)]


def test_a_rectangle_is_that_of_another_image_and_mask():
    (image, mask), (other, labels) = crops(2)
    found, seen = mixed(Mix(CUTMIX, (0.5, 0.25, 0.25), 0), crops(2))
    place = np.zeros(SHAPE, bool)
    place[16:48, 0:40] = True
    np.testing.assert_array_equal(seen, np.where(place, labels, mask))
    np.testing.assert_array_equal(found, np.where(place[..., None], other, image))


def test_a_mosaic_has_a_quarter_of_each():
    found, seen = mixed(Mix(MOSAIC, (0.5, 0.0, 0.9), 0), crops(4))
    windows = [np.s_[:32, :20], np.s_[:32, 20:], np.s_[32:, :20], np.s_[32:, 20:]]
    for window, (image, mask) in zip(windows, crops(4), strict=True):
        np.testing.assert_array_equal(found[window], image[window])
        np.testing.assert_array_equal(seen[window], mask[window])


def test_half_of_the_classes_of_another_lie_over_a_crop():
    (image, mask), (other, labels) = crops(2)
    labels = labels.copy()
    labels[:8] = VOID
    other = other + np.uint8(1)  # odd, where colours of scenes are even
    sets = set()
    for seed in range(20):
        pair = [(image, mask), (other, labels)]
        found, seen = mixed(Mix(CLASSMIX, (0, 0, 0), seed), pair)
        place = found[..., 0] % 2 == 1
        taken = tuple(np.unique(labels[place]))
        assert len(taken) == 2 and VOID not in taken  # of five
        np.testing.assert_array_equal(place, np.isin(labels, taken))
        np.testing.assert_array_equal(seen, np.where(place, labels, mask))
        np.testing.assert_array_equal(found, np.where(place[..., None], other, image))
        sets.add(taken)
    assert len(sets) > 3


def test_kinds_come_with_their_probabilities():
    rng = np.random.default_rng(0)
    mixing = Mixing(mosaic=0.2, cutmix=0.3, classmix=0.1)
    drawn = [mixing.draw(rng) for _ in range(4000)]
    kinds = [mix.kind if mix else None for mix in drawn]
    shares = [kinds.count(kind) / 4000 for kind in (MOSAIC, CUTMIX, CLASSMIX, None)]
    np.testing.assert_allclose(shares, [0.2, 0.3, 0.1, 0.4], atol=0.03)


def test_a_crop_with_everything_is_a_function_of_its_numbers():
    data = base.get_config().data
    keys = {"elastic": 2.0, "noise": 0.1, "jpeg": 50, "cutout": 0.2, "mosaic": 1.0}
    data.update({"crop": (32, 48), "rotate": 10.0, **keys})
    transform = make_train_transform(data, ())
    split = [{"image": image, "mask": mask} for image, mask in crops(6)]

    def drawn(seed):
        crop = transform.draw(split[0], np.random.default_rng(seed), split)
        return transform.batch([crop], 1)

    one, again, other = drawn(1), drawn(1), drawn(2)
    for name in ("image", "label"):
        np.testing.assert_array_equal(one[name], again[name])
        assert (one[name] != other[name]).any()
    assert np.isfinite(one["image"]).all() and one["label"].max() <= VOID
