"""Trackers get what event files get, once; what they do is of no matter to a run."""

import json
import threading

import pytest

from resseg.config.load import load_config
from resseg.config.values import TRACKERS
from resseg.errors import UserError
from resseg.runs import RunWriter, layout
from resseg.runs.trackers import behind
from resseg.runs.trackers.behind import Trackers, about_run, require


class Recorded:
    """A tracker that keeps what it gets."""

    def __init__(self, about):
        self.about, self.rows, self.finished = about, [], False
        self.identity, self.place = about.identity or "first", "in memory"

    def write(self, step, values):
        self.rows.append((step, values))

    def finish(self):
        self.finished = True


@pytest.fixture
def made(monkeypatch):
    """Recorded trackers as they are made, in place of W&B."""
    made = []

    def opened(about):
        made.append(Recorded(about))
        return made[-1]

    monkeypatch.setattr(behind, "OPEN", {"wandb": opened})
    return made


def written(folder, said, steps, log_step, resumed=None, names=("wandb",)):
    folder.mkdir(exist_ok=True)
    about = about_run(folder, {"train.steps": 3})
    trackers = Trackers(names, about, resumed=resumed is not None, warn=said.append)
    writer = RunWriter(
        folder, tensorboard=False, resume_step=resumed, trackers=trackers
    )
    with writer:
        for step in steps:
            log_step(writer, step)
            writer.write_metrics(step, "val", {"iou": [0.5, 0.25], "hash": "ab"})


def test_a_tracker_gets_every_number_under_the_names_of_event_files(
    tmp_path, made, log_step
):
    said = []
    written(tmp_path / "run", said, range(1, 4), log_step)
    (tracker,) = made
    assert tracker.finished and said == ["wandb: in memory"]
    assert tracker.about[:3] == ("run", "", {"train.steps": 3})
    assert [step for step, _ in tracker.rows] == [1] * 3 + [2] * 3 + [3] * 3
    _, val = tracker.rows[-1]
    assert val == {"val_iou/0": 0.5, "val_iou/1": 0.25}
    assert set(tracker.rows[0][1]) == {"train/loss", "train/lr"}
    assert tracker.rows[1][1] == {"timing/images_per_second": 101.0}


def test_norms_of_paths_go_with_the_line_of_their_step(tmp_path, made, log_step):
    folder = tmp_path / "run"
    folder.mkdir()
    trackers = Trackers(
        ("wandb",), about_run(folder, {}), resumed=False, warn=lambda line: None
    )
    with RunWriter(
        folder, tensorboard=False, resume_step=None, trackers=trackers
    ) as writer:
        log_step(writer, 1)
        writer.write_metrics(1, "train", {"loss": 1.0})
        log_step(writer, 2)
        writer.write_metrics(3, "train", {"loss": 1.0})
    norms = [row for _, row in made[0].rows if "gradient" in next(iter(row))]
    (row,) = norms
    rows = writer._tables[layout.GRADIENTS]
    assert rows._last_step == 2
    paths = ("shortcut", "branch")
    names = [f"stage{n}/block1/{path}" for n in (1, 2) for path in paths]
    names += [f"head/pyramid/{path}" for path in ("1x1", "rate6", "image")]
    assert set(row) == {f"gradient_{w}/{n}" for w in ("norm", "share") for n in names}
    assert row["gradient_share/stage2/block1/shortcut"] + row[
        "gradient_share/stage2/block1/branch"
    ] == pytest.approx(1)


def test_a_run_that_goes_on_is_the_same_run_and_sends_nothing_twice(
    tmp_path, made, log_step
):
    folder, said = tmp_path / "run", []
    written(folder, said, range(1, 6), log_step)
    assert json.loads((folder / "trackers" / "wandb.json").read_text()) == {
        "identity": "first",
        "step": 5,
    }
    written(folder, said, range(3, 8), log_step, resumed=2)
    first, second = made
    assert first.about.identity == "" and second.about.identity == "first"
    assert {step for step, _ in second.rows} == {5, 6, 7}
    again = [row for row in second.rows if row[0] == 5]
    assert again == [row for row in first.rows if row[0] == 5]


def test_a_new_run_in_the_folder_of_one_that_is_gone_is_new_to_it(
    tmp_path, made, log_step
):
    written(tmp_path / "run", [], [1], log_step)
    for name in layout.LOGS:
        path = tmp_path / "run" / name
        if path.is_dir():
            for part in path.iterdir():
                part.unlink()
            path.rmdir()
        path.unlink(missing_ok=True)
    written(tmp_path / "run", [], [1], log_step)
    assert [each.about.identity for each in made] == ["", ""]


def test_runs_of_a_sweep_are_a_group(tmp_path):
    (tmp_path / "he" / "runs" / "a").mkdir(parents=True)
    (tmp_path / "he" / "sweep.json").write_text("{}")
    assert about_run(tmp_path / "he" / "runs" / "a", {}).group == "he"
    assert about_run(tmp_path / "he", {}).group == ""


class Broken(Recorded):
    def write(self, step, values):
        if step > 1:
            raise ConnectionError("no route\nto host")
        super().write(step, values)


class Closed(Recorded):
    def __init__(self, about):
        raise PermissionError("no key")


@pytest.mark.parametrize(
    ("kind", "reason"), [(Broken, "no route to host"), (Closed, "no key")]
)
def test_a_tracker_that_fails_is_one_line_and_the_logs_are_the_same(
    tmp_path, monkeypatch, log_step, kind, reason
):
    said = []
    written(tmp_path / "plain", said, range(1, 5), log_step, names=())
    monkeypatch.setattr(behind, "OPEN", {"wandb": kind})
    written(tmp_path / "run", said, range(1, 5), log_step)
    *_, line = said
    assert line == f"note: wandb failed, the run goes on without it ({reason})"
    assert len(said) == (2 if kind is Broken else 1)
    logs = [
        (tmp_path / name / layout.METRICS).read_bytes() for name in ("plain", "run")
    ]
    assert logs[0] == logs[1]


def test_a_tracker_that_hangs_holds_nothing_up(tmp_path, monkeypatch):
    let_go, said = threading.Event(), []

    class Hangs(Recorded):
        def write(self, step, values):
            let_go.wait(20)

    monkeypatch.setattr(behind, "OPEN", {"wandb": Hangs})
    monkeypatch.setattr(behind, "_WAITING", 5)
    about = about_run(tmp_path, {})
    all_of_them = Trackers(("wandb",), about, resumed=False, warn=said.append)
    for step in range(20):
        all_of_them.write(step, {"loss": 1.0})
    all_of_them.close(patience=0.1)
    all_of_them.write(21, {"loss": 1.0})
    let_go.set()
    assert sorted(said[-3:]) == [
        "note: wandb does not come to an end, and is not waited for",
        "note: wandb is slower than the training, which leaves numbers out",
        "wandb: in memory",
    ]


def test_a_tracker_that_is_not_installed_is_refused_before_the_run(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        require(("trackio",))
    assert str(caught.value) == (
        "config.log.trackers=trackio: trackio is missing, pip install 'resseg[trackio]'"
    )


@pytest.mark.parametrize("names", [("wan",), ("wandb", "tensorboard")])
def test_a_tracker_of_another_name_is_refused(names):
    with pytest.raises(UserError, match="expected names out of wandb, mlflow, trackio"):
        load_config("quickstart", {"log.trackers": names})


def test_every_tracker_of_the_config_can_be_opened():
    assert tuple(behind.OPEN) == TRACKERS
