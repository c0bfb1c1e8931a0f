"""Which files of a folder are read, and what is said of the others."""

import os
import unicodedata

import pytest

from resseg.data.files import files_by_name, images_and_others, require_place
from resseg.errors import UserError

SUFFIXES = (".png", ".jpg")


def _touch(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")


def _names(place):
    findings = []
    files = files_by_name(place, SUFFIXES, "an image", findings)
    return {name: path.name for name, path in files.items()}, findings


def test_what_is_not_read_is_counted_and_named(tmp_path):
    _touch(tmp_path, "b.PNG", "a.jpg", "._a.jpg", ".DS_Store", "notes.txt", "c.gif")
    (tmp_path / "more.png").mkdir()
    (tmp_path / ".cache").mkdir()
    images, others = images_and_others(tmp_path, SUFFIXES)
    assert [path.name for path in images] == ["a.jpg", "b.PNG"]
    assert others == [
        "1 subfolder not read: more.png",
        "2 hidden files not read: .DS_Store, ._a.jpg",
        "2 other files not read: c.gif, notes.txt",
    ]


def test_a_pattern_names_pairs_by_its_star(tmp_path):
    _touch(tmp_path, "a.jpg", "a_mask.png", "b_mask.png", "_mask.png", "b_mask.txt")
    assert _names(tmp_path / "*_mask.png")[0] == {"a": "a_mask.png", "b": "b_mask.png"}
    assert _names(tmp_path / "*_mask")[0] == {}
    assert _names(tmp_path / "b*")[0] == {"_mask": "b_mask.png"}
    for wrong in ("*/x.png", "*_*.png", "none"):
        with pytest.raises(UserError, match=r"--masks .*: (expected one|no such)"):
            require_place("--masks", tmp_path / wrong)


def test_two_spellings_of_an_accent_are_one_name(tmp_path):
    image, mask = tmp_path / "images", tmp_path / "masks"
    for folder, form in ((image, "NFC"), (mask, "NFD")):
        folder.mkdir()
        _touch(folder, unicodedata.normalize(form, "é.png"))
    assert list(_names(image)[0]) == list(_names(mask)[0]) == ["é"]


def test_a_name_that_is_no_text_is_escaped(tmp_path):
    try:
        _touch(tmp_path, os.fsdecode(b"\xe9.png"))
    except OSError:
        pytest.skip("this disk has names of text alone")
    ((name, _),) = _names(tmp_path)[0].items()
    assert name == "\\xe9"
