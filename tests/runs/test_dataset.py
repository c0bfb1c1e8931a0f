"""What a run keeps of its data set, and what is said when that has changed."""

import dataclasses

import pytest

from resseg import runs
from resseg.data import DatasetSpec
from resseg.errors import UserError
from resseg.runs.dataset import changes, check_unchanged, fingerprint

KNOWN = {
    **dataclasses.asdict(DatasetSpec("cells", ("ground", "cell"), {"train": 9})),
    "classes": ["ground", "cell"],
    "splits": {"train": 9, "val": 3},
    "void": 255,
    "contents": {"train": "aa", "val": "bb"},
}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({}, []),
        (
            {"classes": ["cell", "ground"]},
            ["class 0 was 'ground' and is 'cell', class 1 was 'cell' and is 'ground'"],
        ),
        (
            {"classes": ["ground", "cell", "dirt"]},
            ["it had 2 classes and has 3 (with 'dirt')"],
        ),
        ({"classes": ["ground"]}, ["it had 2 classes and has 1 (without 'cell')"]),
        (
            {"splits": {"train": 8, "val": 3}},
            ["split train had 9 images and has 8"],
        ),
        ({"splits": {"train": 9, "val": 3, "test": 1}}, []),
        (
            {"contents": {"train": "aa", "val": "cc"}},
            ["split val has other images, masks or names"],
        ),
        ({"contents": {"train": "aa"}}, []),
        ({"name": "cores"}, ["it was cells and is cores"]),
        ({"void": 0}, ["void was 255 and is 0"]),
        ({"depth": 12}, []),  # of which the run does not speak
    ],
)
def test_each_change_is_named(now, words):
    assert changes(KNOWN, {**KNOWN, **now}) == words


def test_what_a_spec_learns_to_say_later_is_compared_too():
    then, now = {**KNOWN, "depth": 12}, {**KNOWN, "depth": 16}
    assert changes(then, now) == ["depth was 12 and is 16"]
    assert changes({**KNOWN, "depth": None}, now) == []  # nobody recorded it


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    runs.write_dataset(tmp_path, KNOWN)
    assert check_unchanged(tmp_path, KNOWN) == []
    with pytest.raises(UserError) as caught:
        check_unchanged(tmp_path, {**KNOWN, "classes": ["cell", "ground"]})
    message = str(caught.value)
    assert message.startswith(f"--workdir {tmp_path}: data set cells has changed")
    assert "class 0 was 'ground' and is 'cell'" in message
    assert "damaged" not in message and "remove" not in message


def test_an_older_run_says_what_it_lacks(tmp_path):
    old = {key: KNOWN[key] for key in ("name", "classes", "splits")}
    runs.write_dataset(tmp_path, old)
    (note,) = check_unchanged(tmp_path, KNOWN)
    assert "does not say what its images were" in note
    with pytest.raises(UserError, match="split train had 9 images and has 8"):
        check_unchanged(tmp_path, {**KNOWN, "splits": {"train": 8, "val": 3}})


def test_a_fingerprint_depends_on_every_value():
    seen = {fingerprint(KNOWN), fingerprint({**KNOWN, "void": 0}), fingerprint({})}
    assert len(seen) == 3 and "" in seen
    assert fingerprint(dict(reversed(KNOWN.items()))) == fingerprint(KNOWN)
