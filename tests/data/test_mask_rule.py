"""What mask values and colours become, value by value."""

import numpy as np
import pytest
from PIL import Image

from resseg.data.mask_rule import MaskRule, in_order

VALUES = [0, 1, 2, 9, 255]
RED, GREEN, BLUE = (128, 0, 0), (0, 128, 0), (0, 0, 128)


@pytest.mark.parametrize(
    ("rule", "expected", "strays"),
    [
        (MaskRule(), [0, 1, 2, 255, 255], {"9": 2}),
        (MaskRule(void=9), [0, 1, 2, 255, 255], {}),
        (MaskRule(void=0), [255, 1, 2, 255, 255], {"9": 2}),
        (MaskRule(binary=True), [0, 255, 255, 255, 1], {"1": 2, "2": 2, "9": 2}),
        (MaskRule(first=1), [255, 0, 1, 255, 255], {"9": 2}),
        (MaskRule(first=1, void=9), [255, 0, 1, 255, 255], {}),
        (MaskRule(values=in_order((0, 9, 255))), [0, 255, 255, 1, 2], {"1": 2, "2": 2}),
        (MaskRule(values=in_order((9, 1, 2))), [255, 1, 2, 0, 255], {"0": 2}),
        (MaskRule(values=((0, 2), (1, 2), (2, 255), (9, 0))), [2, 2, 255, 0, 255], {}),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_values(rule, expected, strays, dtype):
    mask = np.array([VALUES, VALUES], dtype)
    mapped = rule.apply(mask, 3)
    assert mapped.labels.tolist() == [expected, expected]
    assert mapped.labels.dtype == np.uint8
    assert mapped.strays == strays
    assert mask.tolist() == [VALUES, VALUES]


def test_values_of_sixteen_bits():
    rule = MaskRule(values=in_order((0, 1000, 65535)))
    mapped = rule.apply(np.array([[0, 1000, 65535, 1001, 232]], np.int32), 3)
    assert mapped.labels.tolist() == [[0, 1, 2, 255, 255]]
    assert mapped.strays == {"232": 1, "1001": 1}


def test_colours_match_exactly_and_strays_are_counted():
    rule = MaskRule(
        colors=((RED, 0), (BLUE, 1), ((0, 0, 0), 255)),
        shared=((GREEN, "'grass' and 'tree'"),),
    )
    row = [RED, BLUE, (0, 0, 0), (128, 0, 1), GREEN, GREEN]
    mapped = rule.apply(np.array([row], np.uint8), 2)
    assert mapped.labels.tolist() == [[0, 1, 255, 255, 255, 255]]
    assert mapped.strays == {
        "colour 0,128,0 of 'grass' and 'tree'": 2,
        "colour 128,0,1": 1,
    }


def test_every_value_beyond_the_table_is_a_stray():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    mapped = MaskRule(first=3, void=200).apply(pixels, 100)
    expected = [255] * 3 + list(range(100)) + [255] * 153
    assert mapped.labels.ravel().tolist() == expected
    assert list(mapped.strays) == [str(v) for v in range(103, 255) if v != 200]


def test_colours_are_read_from_palette_rgb_and_grey_alike(tmp_path):
    rule = MaskRule(colors=((RED, 0), ((7, 7, 7), 1)))
    palette = Image.fromarray(np.array([[3, 5]], np.uint8), "P")
    palette.putpalette([0] * 9 + [*RED] + [0] * 3 + [7] * 3)
    palette.save(tmp_path / "palette.png")
    Image.fromarray(np.array([[RED, (7, 7, 7)]], np.uint8)).save(tmp_path / "rgb.png")
    Image.fromarray(np.array([[7, 7]], np.uint8)).save(tmp_path / "grey.png")
    read = {
        kind: rule.apply(rule.read(tmp_path / f"{kind}.png"), 2).labels.tolist()
        for kind in ("palette", "rgb", "grey")
    }
    assert read == {"palette": [[0, 1]], "rgb": [[0, 1]], "grey": [[1, 1]]}
