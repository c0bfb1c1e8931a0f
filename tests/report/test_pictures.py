import numpy as np
import pytest

from resseg.data.colors import palette
from resseg.data.spec import VOID
from resseg.inference.pictures import (
    errors,
    read_image,
    save_prediction,
)

WRONG = (213, 0, 90)


def share_of(picture, color):
    """Share of pixels within a panel's area that have this colour exactly."""
    return (picture == color).all(axis=2).mean()


@pytest.fixture
def scene():
    image = np.full((64, 48, 3), 120, np.uint8)
    label = np.zeros((64, 48), np.uint8)
    label[:16] = 1
    label[-8:] = VOID
    prediction = np.zeros_like(label)
    prediction[:8] = 1
    return image, label, prediction


def test_errors_leave_void_out(scene):
    _, label, prediction = scene
    wrong, valid = errors(label, prediction)
    assert wrong.sum() == 8 * 48 and valid.sum() == 56 * 48


def test_the_panels_show_each_pixel_and_its_errors(scene, tmp_path):
    image, label, prediction = scene
    path = tmp_path / "predictions" / "a.png"
    save_prediction(path, image, label, prediction, ["ground", "nucleus"])
    picture = read_image(path)
    times, gap, head = 4, 8, 24  # 48 pixels are enlarged to 192
    assert picture.shape[1] == 4 * (48 * times + gap) + gap

    def pixel(panel, row, column=24):
        left = gap + panel * (48 * times + gap)
        return tuple(picture[head + row * times + 1, left + column * times + 1])

    painted = [tuple(np.rint(0.4 * 120 + 0.6 * color)) for color in palette(2)]
    assert pixel(0, 0) == (120, 120, 120)
    assert pixel(1, 12) == painted[1] and pixel(2, 12) == painted[0]
    assert pixel(1, 60) == (48, 48, 48)  # void, darkened
    assert pixel(3, 12) == WRONG and pixel(3, 4) == (187, 187, 187)
    assert pixel(3, 60) == (0, 0, 0)


def test_without_truth_there_are_two_panels_and_no_errors(scene, tmp_path):
    image, _, prediction = scene
    save_prediction(tmp_path / "a.png", image, None, prediction, ["ground", "nucleus"])
    picture = read_image(tmp_path / "a.png")
    assert picture.shape[1] == 2 * (48 * 4 + 8) + 8
    assert share_of(picture, WRONG) == 0


def test_large_images_are_shrunk_with_their_proportions(tmp_path):
    image = np.zeros((600, 2048, 3), np.uint8)
    mask = np.zeros((600, 2048), np.uint8)
    save_prediction(tmp_path / "a.png", image, mask, mask, ["only"])
    assert read_image(tmp_path / "a.png").shape[1] == 4 * (1024 + 8) + 8
