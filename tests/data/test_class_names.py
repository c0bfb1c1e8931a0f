"""Class lists and colour maps as people write them."""

import codecs

import numpy as np
import pytest

from resseg.data.class_names import map_names, read_classes, read_colors
from resseg.data.layouts import layout
from resseg.errors import UserError

NAMES = ("background", "noyau [é]", "$<5_$")


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(NAMES).encode(),
        "\r\n".join(NAMES).encode() + b"\r\n\r\n",
        codecs.BOM_UTF8 + "\n".join(NAMES).encode(),
        "\n".join(NAMES).encode("utf-16"),
        codecs.BOM_UTF16_BE + "\r\n".join(NAMES).encode("utf-16-be"),
        " \n".join(NAMES).encode("utf-32"),
    ],
)
def test_class_list_in_every_encoding_that_says_what_it_is(tmp_path, content):
    (tmp_path / "names.txt").write_bytes(content)
    assert read_classes(str(tmp_path / "names.txt")) == NAMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nnoyau é\n".encode("latin-1"), r"byte 0xe9 in line 2\); save it as UTF-8"),
        ("a\nb\n".encode("utf-16-le"), "NUL bytes, as UTF-16 without"),
        (b"a\n\nb\n", "line 2 is blank.*line 3 would be class 2"),
        (b"\na\nb\n", "line 1 is blank"),
        (b"alone\n", "1 names; expected 2 to 255"),
        (b"", "line 1 is blank"),
        (b"a\n\x1b[2J\n", "holds what is no character"),
    ],
)
def test_class_list_that_cannot_be_meant(tmp_path, content, message):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_classes(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_class_list_on_the_command_line():
    assert read_classes("a, b,c") == ("a", "b", "c")
    for wrong, message in (
        ("a,,c", "class 1 is empty"),
        ("a,b,a", "'a' comes twice"),
        ("names.csv", "no such file"),
        ("cell", "a list has two names or more"),
    ):
        with pytest.raises(UserError, match=message):
            read_classes(wrong)


@pytest.mark.parametrize(
    "content",
    [
        "sky 128 128 128\nVoid 0 0 0\nroad 128 64 128\nsky 1 2 3",
        "128 128 128\tsky\n0 0 0\t\tvoid\n\n128 64 128\troad\n1 2 3\tsky\n",
        "name,r,g,b\nsky,128,128,128\nvoid,0,0,0\nroad,128,64,128\nsky, 1, 2, 3\n",
        "# label:color_rgb:parts:actions\nsky:128,128,128::\nvoid:0,0,0::\n"
        "road:128,64,128::\nsky:1,2,3::\n",
        "sky;128;128;128\nvoid;0;0;0\nroad;128;64;128\nsky;1;2;3\n",
        "sky #808080\nvoid, #000000\n#804080 road\n# the second sky\nsky #010203\n",
        "sky (128, 128, 128)\nvoid: [0, 0, 0]\n(128, 64, 128) road\nsky: 1, 2, 3\n",
    ],
)
def test_colours_in_every_order_and_separator(tmp_path, content):
    path = tmp_path / "colors.txt"
    path.write_text(content)
    known = read_colors(str(path))
    assert known.classes == ("sky", "road")
    assert dict(known.colors) == {
        (128, 128, 128): 0,
        (0, 0, 0): 255,
        (128, 64, 128): 1,
        (1, 2, 3): 0,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1 2 3\nb 1 2 3\n", "1,2,3 is the colour of 'a' and 'b'"),
        ("a 1 2 3\nb 1 2 300\n", "line 2: 'b 1 2 300': expected colours from 0"),
        ("a 1 2 3\nb 1 2\n", "line 2: 'b 1 2': expected a name and red"),
        ("a 1 2 3\n1 2 3 4 5 6 7\n", "line 2: .* is the name first or the colour"),
        ("a 1 2 3\n", "1 names; expected 2"),
    ],
)
def test_colours_that_cannot_be_meant(tmp_path, content, message):
    path = tmp_path / "colors.txt"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_colors(str(path))
    assert "\n" not in str(caught.value)


def test_colours_of_voc_are_those_of_its_bits():
    """Bit j of the index, from the lowest, goes to channel j % 3, highest bit first."""
    known = read_colors("voc")
    for color, index in known.colors:
        rebuilt = [0, 0, 0]
        for bit in range(8):
            rebuilt[bit % 3] |= (index >> bit & 1) << 7 - bit // 3
        assert tuple(rebuilt) == color or index == 255
    assert known.classes[0] == "background" and known.classes[20] == "tvmonitor"
    assert len(known.classes) == 21 and dict(known.colors)[224, 224, 192] == 255


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("camvid", 31, {(128, 128, 128): "Sky", (0, 0, 192): "Sidewalk"}),
        ("camvid11", 11, {(128, 128, 128): "sky", (0, 0, 192): "pavement"}),
        ("cityscapes", 19, {(128, 64, 128): "road", (119, 11, 32): "bicycle"}),
        ("ade", 150, {(120, 120, 120): "wall", (92, 0, 255): "flag"}),
    ],
)
def test_colour_maps_by_name(name, count, some):
    known = read_colors(name)
    assert len(known.classes) == count
    for color, class_name in some.items():
        assert known.classes[dict(known.colors)[color]] == class_name
    assert dict(known.colors)[0, 0, 0] == 255
    classes = [index for _, index in known.colors if index != 255]
    shared = "".join(words for _, words in known.shared)
    missing = set(range(count)) - set(classes)
    assert all(repr(known.classes[index]) in shared for index in missing)
    assert np.array([color for color, _ in known.colors]).max() <= 255


def test_the_11_classes_of_camvid_are_its_31_merged():
    """As SegNet was trained, and in the order of the masks that come with it."""
    merged, own = read_colors("camvid11"), read_colors("camvid")
    assert merged.classes == layout("camvid").classes
    names = {color: own.classes[at] for color, at in own.colors if at != 255}
    members = {name: set() for name in merged.classes}
    for color, at in merged.colors:
        if at != 255:
            members[merged.classes[at]].add(names.pop(color))
    assert not names and dict(merged.colors)[0, 0, 0] == 255
    assert members == {
        "sky": {"Sky"},
        "building": {"Building", "Archway", "Bridge", "Tunnel", "Wall"},
        "pole": {"Column_Pole", "TrafficCone"},
        "road": {"Road", "LaneMkgsDriv", "LaneMkgsNonDriv"},
        "pavement": {"Sidewalk", "ParkingBlock", "RoadShoulder"},
        "tree": {"Tree", "VegetationMisc"},
        "sign": {"SignSymbol", "Misc_Text", "TrafficLight"},
        "fence": {"Fence"},
        "car": {"Car", "OtherMoving", "SUVPickupTruck", "Train", "Truck_Bus"},
        "pedestrian": {"Pedestrian", "Animal", "CartLuggagePram", "Child"},
        "bicyclist": {"Bicyclist", "MotorcycleScooter"},
    }


def test_a_colour_of_two_classes_cannot_be_read():
    known = read_colors("ade")
    assert known.shared == (((140, 140, 140), "'road' and 'skyscraper'"),)
    with pytest.raises(UserError, match=r"known by name are ade, .*did you mean 'voc'"):
        read_colors("vox")
    assert map_names() == ["ade", "camvid", "camvid11", "cityscapes", "voc"]
