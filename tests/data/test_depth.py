"""One scale for the deep images of a data set: said, kept, and applied again."""

import dataclasses
import json

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from resseg.cli.main import main
from resseg.cli.predict import choose_bits
from resseg.cli.scored_data import compare_scales
from resseg.data import depth, sources
from resseg.data.mask_rule import AS_INDICES
from resseg.data.pair_facts import facts_of
from resseg.data.writing import dataset_folder
from resseg.errors import UserError


def test_bits_of_a_camera_fill_the_range():
    values = np.array([0, 2048, 4095], np.uint16)
    assert depth.used_bits(4095) == 12 and depth.used_bits(4096) == 16
    assert depth.used_bits(1023) == 10 and depth.used_bits(0) == 10
    assert depth.to_8_bit(values, 12).tolist() == [0, 128, 255]
    assert depth.to_8_bit(values, 16).tolist() == [0, 8, 16]
    for bits in range(8, 17):
        ends = np.array([0, depth.white(bits)], np.uint16)
        assert depth.to_8_bit(ends, bits).tolist() == [0, 255]


def _facts(bits, peak):
    labels = AS_INDICES.apply(np.zeros((2, 2), np.uint8), 2)
    image = np.zeros((2, 2, 3), np.uint16)
    facts = facts_of("train", "a.tif", "a.png", image, labels)
    return dataclasses.replace(facts, depth=bits, peak=peak)


@pytest.mark.parametrize(
    ("pairs", "stated", "expected"),
    [
        ([(8, 0)], None, 8),
        ([(8, 0)], 12, 8),
        ([(16, 900), (8, 0), (16, 1100)], None, 12),
        ([(16, 0)], None, 10),
        ([(14, 100)], None, 14),  # the file says so
        ([(10, 100), (16, 3000)], None, 12),
        ([(16, 900)], 16, 16),
    ],
)
def test_bits_of_a_data_set(pairs, stated, expected):
    facts = [_facts(*pair) for pair in pairs]
    assert depth.bits_of(facts, stated) == expected
    found = depth.beyond([*facts, _facts(16, 1 << expected)], expected)
    assert [item.kind for item in found] == ["beyond"]


@pytest.fixture
def files(tmp_path):
    """Five pairs of 16 bits with values up to 3900, and the words that prepare them."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    mask = np.zeros((8, 20), np.uint8)
    mask[2:5] = 1
    for index in range(5):
        values = np.linspace(0, 3900 - 500 * index, 160).astype(np.uint16)
        Image.fromarray(values.reshape(8, 20)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{index}.png")
    return tmp_path


def _prepare(files, *options, name="cells"):
    places = ("--images", files / "images", "--masks", files / "masks")
    words = ("data", "prepare", name, *places, "--classes", "ground,cell")
    return main([str(word) for word in (*words, "--dir", files / "data", *options)])


def _spec(files, name="cells"):
    return sources.dataset_spec(ConfigDict({"name": name, "dir": str(files / "data")}))


def _expected(files, bits):
    values = np.array(Image.open(files / "images/0.png")).astype(float)
    return np.floor(values * 255 / (2**bits - 1) + 0.5)[..., None].repeat(3, 2)


def _stored(files, name="cells"):
    data = ConfigDict({"name": name, "dir": str(files / "data")})
    for split in ("train", "val"):
        for record in sources.open_split(data, split):
            if record["name"] == "0":
                return record["image"]
    raise AssertionError("not stored")


@pytest.mark.parametrize(
    ("options", "bits", "words"),
    [
        ([], 12, "12 in use, 4095 is white (guessed: their largest value is 3900;"),
        (["--bits", "14"], 14, "14 in use, 16383 is white (--bits)"),
        (["--bits", "16"], 16, "16 in use, 65535 is white (--bits)"),
    ],
)
def test_the_scale_is_printed_and_kept(files, capsys, options, bits, words):
    assert _prepare(files, *options) == 0
    assert words in " ".join(capsys.readouterr().out.split())
    assert _spec(files).bits == bits
    np.testing.assert_array_equal(_stored(files), _expected(files, bits))
    assert main(["data", "check", "cells", "--dir", str(files / "data")]) == 0
    line = f"{bits} in use, {2**bits - 1} is white (as prepared)"
    assert line in " ".join(capsys.readouterr().out.split())


def test_a_data_set_that_is_replaced_hands_its_scale_on(files, capsys):
    assert _prepare(files, "--bits", 14) == 0
    Image.fromarray(np.zeros((8, 20), np.uint16)).save(files / "images/3.png")
    assert _prepare(files, "--overwrite") == 0
    words = "14 in use, 16383 is white (as in the data set that is replaced;"
    assert words in " ".join(capsys.readouterr().out.split())
    assert _spec(files).bits == 14
    np.testing.assert_array_equal(_stored(files), _expected(files, 14))
    assert _prepare(files, "--overwrite", "--bits", 12) == 0
    assert _spec(files).bits == 12


def test_values_beyond_the_bits_are_an_error_and_nothing_is_replaced(files, capsys):
    assert _prepare(files) == 0
    before = sorted(files.rglob("*"))
    for options in (["--bits", 10], ["--bits", 11]):
        assert _prepare(files, "--overwrite", *options) == 2
        (line,) = capsys.readouterr().err.splitlines()
        white = 2 ** options[1] - 1
        message = f"images/0.png: holds 3900, and {options[1]} bits end at {white}"
        assert message in line
    bright = np.full((8, 20), 60_000, np.uint16)
    Image.fromarray(bright).save(files / "images/4.png")
    assert _prepare(files, "--overwrite") == 2
    assert "holds 60000, and 12 bits end at 4095" in capsys.readouterr().err
    assert sorted(files.rglob("*")) == before and _spec(files).bits == 12
    assert _prepare(files, "--overwrite", "--bits", 16) == 0


@pytest.mark.parametrize("bits", ["7", "17", "-1"])
def test_bits_that_cannot_be(files, capsys, bits):
    for words in (
        ["data", "prepare", "cells", f"--bits={bits}", "--folder", "x"],
        ["data", "check", f"--bits={bits}", "--folder", "x"],
        ["predict", "run", "photo.png", "--out", "out", f"--bits={bits}"],
    ):
        assert main(words) == 2
        assert f"--bits {bits}: expected 8 to 16" in capsys.readouterr().err


def test_eight_bits_need_no_scale(files, capsys):
    for path in (files / "images").iterdir():
        Image.fromarray(np.full((8, 20), 200, np.uint8)).save(path)
    assert _prepare(files) == 0
    assert "more than 8 bits" not in capsys.readouterr().out
    assert _spec(files).bits == 8
    assert _prepare(files, "--bits", 12, name="more") == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "no image has more than 8 bits (--bits 12)" in words
    assert _spec(files, "more").bits == 8


def test_a_data_set_of_an_earlier_version_says_what_it_lacks(files, capsys):
    assert _prepare(files) == 0
    file = dataset_folder(files / "data", "cells") / "resseg.json"
    content = json.loads(file.read_text())
    assert content.pop("bits") == 12
    file.write_text(json.dumps(content))
    assert _spec(files).bits is None
    assert main(["data", "check", "cells", "--dir", str(files / "data")]) == 0
    assert "not recorded" in " ".join(capsys.readouterr().out.split())


def test_scales_of_a_run_and_of_what_it_is_evaluated_on():
    def compare(stored, trained):
        return compare_scales(stored, trained, "cells", "runs/a")

    assert compare(8, 12) == compare(None, 12) == compare(8, None) == ""
    assert "12 in use, 4095 is white (as cells was prepared)" in compare(12, 12)
    assert compare(12, 8) == compare(12, 12)
    assert compare(12, None).endswith("runs/a does not record its own")
    with pytest.raises(UserError, match=r"data set cells: 10 .* with --bits 12$"):
        compare(10, 12)


def test_what_predict_scales_by():
    assert choose_bits(10, 12, "runs/a") == (10, "--bits")
    assert choose_bits(None, 12, "runs/a")[0] == 12
    bits, reason = choose_bits(None, None, "runs/a")
    assert bits == 16 and "runs/a does not record it" in reason
