"""Study files, and what is wrong with some."""

import pytest

from resseg.errors import UserError
from resseg.sweeps import local
from resseg.sweeps.study import load_study

STUDY = '''"""Is more width better?"""
from resseg.sweeps import product, seeds
CONFIG = "config.py"
def runs():
    return product({"model.backbone.width": [4, 8]}, seeds(2))
'''
CONFIG = """
from configs import base
def get_config():
    config = base.get_config()
    config.data.crop = (32, 32)
    config.data.batch_size = 2
    config.data.shapes.train_images = 4
    config.data.shapes.val_images = 2
    config.data.shapes.size = (32, 32)
    config.model.backbone.depth = 10
    config.model.head.name = "fcn"
    config.train.steps = 1
    config.eval.predictions = 0
    config.log.tensorboard = False
    return config
"""


@pytest.fixture
def study(tmp_path):
    def write(text=STUDY):
        (tmp_path / "config.py").write_text(CONFIG)
        (tmp_path / "study.py").write_text(text)
        return tmp_path

    return write


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
    backwards = STUDY.replace("seeds(2))", "seeds(2))[::-1]")
    assert [run.id for run in load_study(study(backwards)).runs] == ids[::-1]
    wider = STUDY.replace("[4, 8]", "[4, 16]")
    assert [run.id for run in load_study(study(wider)).runs][:2] == ids[:2]


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
    assert old in STUDY
    with pytest.raises(UserError, match=message) as caught:
        load_study(study(STUDY.replace(old, new)))
    assert "\n" not in str(caught.value)


def test_the_studies_of_this_project_are_valid():
    from pathlib import Path

    root = Path(__file__).resolve().parents[2] / "experiments"
    for file in root.glob("*/study.py"):
        assert len(load_study(file).runs) > 1


def test_runs_are_trained_once_and_a_failure_stops_no_other(study, tmp_path, capfd):
    folder = study()
    loaded = load_study(folder)
    first, second, *_ = loaded.runs
    work = tmp_path / "work"
    # Another run's folder in the place of the second: it is refused there.
    other = local.folder_of(second, work)
    other.mkdir(parents=True)
    (other / "config.json").write_text("{")
    assert local.run_all(loaded, [second, first], work) == [second]
    text = capfd.readouterr().out
    assert f"{second.id} {second.name}: failed with status 2" in text
    assert "resseg: error:" in text
    assert local.finished(first, work) and not local.finished(second, work)
    before = (local.folder_of(first, work) / "metrics.jsonl").stat().st_mtime_ns
    assert local.run_all(loaded, [first], work) == []
    assert "finished before" in capfd.readouterr().out
    after = (local.folder_of(first, work) / "metrics.jsonl").stat().st_mtime_ns
    assert after == before
