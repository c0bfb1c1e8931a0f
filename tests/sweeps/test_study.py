"""Study files, and what is wrong with some."""

import dataclasses
from pathlib import Path

import pytest

import resseg
from resseg.config.key import FIXED, SAME, SHAPES, Key
from resseg.config.rows import KEYS
from resseg.config.values import SHARE, real
from resseg.data import sources
from resseg.errors import UserError
from resseg.sweeps import study as module
from resseg.sweeps.study import check_data, load_study, run_id

ROOT = Path(__file__).resolve().parents[2]


def test_a_study_is_its_question_and_its_runs(study):
    loaded = load_study(study())
    assert loaded.question == "Is more width better?"
    assert [run.name for run in loaded.runs] == [
        f"model.backbone.width={width} seed={seed}"
        for width in (4, 8)
        for seed in (0, 1)
    ]
    assert loaded.runs[2].config.model.backbone.width == 8
    assert len({run.id for run in loaded.runs}) == 4


def test_an_id_depends_on_the_config_and_on_nothing_else(study):
    ids = [run.id for run in load_study(study()).runs]
    backwards = study.text.replace("seeds(2))", "seeds(2))[::-1]")
    assert [run.id for run in load_study(study(backwards)).runs] == ids[::-1]
    wider = study.text.replace("[4, 8]", "[4, 16]")
    assert [run.id for run in load_study(study(wider)).runs][:2] == ids[:2]


# What `quickstart` was when release 0.2.0 was made.
QUICKSTART = {
    "data.batch_size": 16,
    "data.crop": (96, 128),
    "data.scale": (0.75, 1.5),
    "data.color": 0.2,
    "data.rare_crop": 0.0,
    "optim.learning_rate": 2e-3,
    "train.steps": 300,
}


def ids(**overrides):
    return [
        run_id(resseg.load_config("quickstart", {**QUICKSTART, **overrides})),
        run_id(resseg.load_config("nuclei/unet", {"seed": 1, **overrides})),
    ]


# Of release 0.2.0. Folders of sweeps have such names: a run of another is trained anew.
# A key that was added since says `later=True` in its row.
WRITTEN_BEFORE = ["ef32d8a642", "e6b4dbf2b7"]


def test_ids_of_sweeps_written_before_are_still_the_same(monkeypatch):
    assert ids() == WRITTEN_BEFORE
    for place in (resseg, module):
        monkeypatch.setattr(place, "__version__", "9.9.9", raising=False)
    assert ids() == WRITTEN_BEFORE
    monkeypatch.setattr(module, "NUMERICS", "9.9.9")
    assert not set(ids()) & set(WRITTEN_BEFORE)


def test_a_later_key_is_part_of_an_id_where_it_is_set(monkeypatch):
    toy = Key("train.toy", real(0.5, SHARE), "a toy", (SHAPES, FIXED, SAME), later=True)
    monkeypatch.setitem(KEYS, "train.toy", toy)
    assert ids() == WRITTEN_BEFORE
    changed = {"train.toy": 0.25}
    assert not set(ids(**changed)) & set(WRITTEN_BEFORE)
    monkeypatch.setitem(KEYS, "train.toy", dataclasses.replace(toy, later=False))
    assert not set(ids()) & set(WRITTEN_BEFORE)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("backbone.width", "backbone.widht", "run 1: .*widht.*did you mean"),
        ("[4, 8]", "[4, -8]", r"run 3: config.model.backbone.width=-8"),
        ("[4, 8]", "[4, 4]", "runs 1 and 3 are the same"),
        ("def runs", "def ruins", r"needs a function runs\(\)"),
        ("seeds(2)", "seeds(2), seeds(3)", "seed is set by two axes"),
        ('"config.py"', "3", "CONFIG=3: expected the path of a config file"),
        ("seeds(2))", "seeds(0))", "lists no run"),
        ("return", "retrun", "study.py, line 5: invalid syntax"),
    ],
)
def test_what_is_wrong_is_said_before_any_run(study, old, new, message):
    assert old in study.text
    with pytest.raises(UserError, match=message) as caught:
        load_study(study(study.text.replace(old, new)))
    assert "\n" not in str(caught.value)


def test_the_studies_of_this_project_are_valid():
    for file in (ROOT / "experiments").glob("*/study.py"):
        assert len(load_study(file).runs) > 1


def test_a_baseline_is_one_of_the_runs_and_claims_are_checked(study):
    text = study.text + 'BASELINE = {"model.backbone.width": 4}\n'
    loaded = load_study(study(text))
    assert loaded.baseline == {"model.backbone.width": 4}
    assert loaded.swept == ("model.backbone.width", "seed")
    for line, message in (
        ('BASELINE = {"model.backbone.width": 5}', "BASELINE: no run of the study has"),
        ('BASELINE = {"model.widht": 5}', "BASELINE: config.model.widht: no such key"),
        ("BASELINE = 3", "BASELINE=3: expected overrides"),
    ):
        with pytest.raises(UserError, match=message):
            load_study(study(f"{study.text}{line}\n"))


def test_values_that_no_key_can_hold(study):
    for value, message in (
        ("{4}", r"run 1: config.model.backbone.width=\{4\}: expected int"),
        ("object()", "run 1: config.model.backbone.width=<object .*: expected int"),
    ):
        text = study.text.replace("[4, 8]", f"[{value}]")
        with pytest.raises(UserError, match=message):
            load_study(study(text))
    keys = study.text.replace('"model.backbone.width": [4, 8]', "[1]: [2]")
    with pytest.raises(UserError, match=r"runs\(\): TypeError: .*unhashable"):
        load_study(study(keys))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('"data.name": ["shapes", "cells"]', "data.name='cells': not prepared"),
        ('"data.eval_split": ["val", "vla"]', "eval_split='vla': choose from"),
        ('"data.batch_size": [2, 64]', "batch_size=64: split 'train' of shapes has 4"),
        ('"loss.class_weights": [(), (1.0, 2.0)]', "has 7 classes, got 2 weights"),
    ],
)
def test_data_that_is_not_there_is_named_with_the_run(study, override, message):
    text = study.text.replace('"model.backbone.width": [4, 8]', override)
    loaded = load_study(study(text))
    with pytest.raises(UserError, match=rf"study.py: run 3 \(.*{message}") as caught:
        check_data(loaded, loaded.runs)
    assert "\n" not in str(caught.value)
    check_data(loaded, loaded.runs[:2])
    assert sources.prepared(loaded.runs[0].config.data.dir) == []
