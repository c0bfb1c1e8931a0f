"""What augmentation draws: from which range, to both sides, with which probability."""

import dataclasses

import numpy as np
import pytest

from resseg.config import base
from resseg.data.crops import crop_matrix
from resseg.data.transforms import draw_color, jitter_color, make_train_transform


class Scripted:
    """A generator that writes down what it is asked, and answers as it is told.

    Attributes:
        ranges: (low, high) of each uniform draw, in order.
    """

    def __init__(self, shares=(), at=0.5):
        self.ranges, self._shares, self._at = [], list(shares), at

    def uniform(self, low, high, size=None):
        self.ranges.append((low, high))
        value = low + self._at * (high - low)
        return value if size is None else np.full(size, value)

    def random(self):
        return self._shares.pop(0)

    def integers(self, low, high=None):
        return low if high is not None else 0


def data_of(**changes):
    data = base.get_config().data
    data.crop, data.scale, data.color = (4, 6), (1.0, 1.0), 0.0
    data.flip = data.vertical_flip = data.rotate = data.rare_crop = 0.0
    data.update(changes)
    return data


def test_each_key_reaches_the_field_of_its_name():
    keys = {
        "crop": (4, 6),
        "scale": (0.7, 1.9),
        "rotate": 11.0,
        "flip": 0.1,
        "vertical_flip": 0.2,
        "color": 0.3,
        "rare_crop": 0.4,
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
    }
    effects = {
        "elastic": 1.5,
        "elastic_scale": 7.0,
        "grid_distortion": 0.25,
        "gamma": 0.35,
        "hue": 0.05,
        "blur": 1.25,
        "noise": 0.15,
        "jpeg": 40,
        "cutout": 0.45,
    }
    mixing = {"mosaic": 0.55, "cutmix": 0.12, "classmix": 0.13}
    transform = make_train_transform(data_of(**keys, **effects, **mixing), (3, 5))
    assert dataclasses.asdict(transform) == {
        **keys,
        "rare_classes": (3, 5),
        "effects": effects,
        "mixing": mixing,
    }


def example():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return {"image": image, "mask": rng.integers(0, 5, (4, 6), dtype=np.uint8)}


def test_scale_angle_and_colour_are_drawn_to_both_sides():
    draws = Scripted((1.0, 1.0, 1.0))
    keys = data_of(scale=(0.5, 3.0), rotate=20.0, color=0.25)
    make_train_transform(keys, ())(example(), draws)
    assert draws.ranges == [(0.5, 3.0), (-20.0, 20.0), (0.75, 1.25)]


@pytest.mark.parametrize(("at", "sign"), [(0.0, 1), (1.0, -1)])
def test_a_brighter_and_a_darker_picture(at, sign):
    image = np.full((2, 2, 3), 100, np.uint8)
    found = np.empty((2, 2, 3), np.float32)
    jitter_color(image, draw_color(0.2, Scripted(at=at)), found)
    np.testing.assert_allclose(found, 100 - sign * 20, atol=1e-3)


@pytest.mark.parametrize("degrees", [-30.0, 30.0])
def test_an_angle_turns_to_its_side(degrees):
    matrix = crop_matrix((0, 0), (8, 8), 1.0, degrees)
    assert np.sign(matrix[1, 0]) == np.sign(degrees) == -np.sign(matrix[0, 1])
    np.testing.assert_allclose(matrix @ [3.5, 3.5, 1], [3.5, 3.5])  # the centre stays


# Drawn in the order rare crop, horizontal, vertical; each happens below its own number.
@pytest.mark.parametrize(
    ("shares", "across", "down"),
    [
        ((0.5, 0.29, 0.71), True, False),
        ((0.5, 0.31, 0.69), False, True),
        ((0.5, 0.31, 0.71), False, False),
        ((0.5, 0.29, 0.69), True, True),
    ],
)
def test_flips_happen_with_their_own_probability(shares, across, down):
    data, given = data_of(flip=0.3, vertical_flip=0.7), example()
    label = make_train_transform(data, ())(given, Scripted(shares))["label"]
    expected = given["mask"][:: -1 if down else 1, :: -1 if across else 1]
    np.testing.assert_array_equal(label, expected)


@pytest.mark.parametrize(("share", "aims"), [(0.39, True), (0.41, False)])
def test_a_crop_aims_with_its_probability(share, aims):
    given = {
        "image": np.zeros((40, 60, 3), np.uint8),
        "mask": np.zeros((40, 60), np.uint8),
    }
    given["mask"][30, 50] = 2
    draws = Scripted((share, 1.0, 1.0))
    transform = make_train_transform(data_of(rare_crop=0.4), (2,))
    assert (2 in transform(given, draws)["label"]) == aims
