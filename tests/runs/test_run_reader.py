import json
import os
import subprocess
import sys
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import resseg
from resseg.config import base
from resseg.config.keys import free_on_resume
from resseg.errors import UserError
from resseg.runs import (
    Run,
    RunWriter,
    check_same_config,
    environment,
    layout,
    open_run,
    prepare,
    read_config,
    write_config,
    write_environment,
)


@pytest.fixture
def run(tmp_path, log_step):
    folder = prepare(tmp_path / "runs" / "first")
    write_config(folder, base.get_config())
    write_environment(folder, {"kind": "cpu", "count": 1})
    with RunWriter(folder, tensorboard=False, resume_step=None) as writer:
        for step in (1, 2):
            log_step(writer, step)
        writer.write_metrics(2, "val", {"miou": 0.5, "iou": [0.25, 0.75]})
    return folder


def test_a_run_reads_back_what_was_written(run, forks):
    opened = open_run(run)
    metrics = opened.metrics
    assert list(metrics.columns) == ["step", "split", "loss", "lr", "miou", "iou"]
    assert list(metrics["split"]) == ["train", "train", "val"]
    assert metrics["lr"][1] == 0.05 and metrics["iou"][2] == [0.25, 0.75]
    assert list(opened.timing["images_per_second"]) == [101.0, 102.0]
    assert len(opened.gradients) == 2 * sum(len(fork.paths) for fork in forks)
    assert list(opened.read_gradients(["site", "path"]).columns) == ["site", "path"]
    assert len(opened.blocks) == 4
    assert opened.environment["devices"] == {"kind": "cpu", "count": 1}
    assert opened.path == run


def test_a_run_that_has_only_begun_can_be_read(tmp_path):
    write_config(tmp_path, base.get_config())
    opened = open_run(tmp_path)
    assert opened.metrics.empty and list(opened.metrics.columns) == ["step", "split"]
    assert opened.gradients.empty and "site" in opened.gradients.columns
    assert opened.steps == []


def test_the_stored_config_loads_to_the_same_config(run):
    stored = read_config(run)
    wanted = base.get_config()
    assert stored.data.crop == (128, 128) and isinstance(stored.data.crop, tuple)
    assert stored.optim.clip_norm is None
    wanted.update(stored.to_dict())
    assert wanted.data.dir == os.path.abspath("data")  # so it is found from anywhere
    wanted.data.dir = "data"
    assert wanted.to_dict() == base.get_config().to_dict()
    with pytest.raises(AttributeError):
        stored.train.steps = 5


def test_a_run_of_another_config_is_refused_with_every_difference(run):
    config = base.get_config()
    assert check_same_config(run, config, base.get_config(), free_on_resume()) is True
    assert (
        check_same_config(run.parent, config, base.get_config(), free_on_resume())
        is False
    )
    config.train.steps = 500
    config.optim.clip_norm = 1.0
    config.data.crop = (96, 96)
    with pytest.raises(UserError) as caught:
        check_same_config(run, config, base.get_config(), free_on_resume())
    message = str(caught.value)
    assert "train.steps is 300 there and 500 here" in message
    assert "optim.clip_norm is null there and 1.0 here" in message
    assert "data.crop is [128, 128] there and [96, 96] here" in message
    assert "another --workdir" in message and "\n" not in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("log.every", 3),
        ("log.tensorboard", False),
        ("checkpoint.every", 7),
        ("checkpoint.keep_every", 7),
        ("eval.predictions", 0),
        ("data.threads", 1),
        ("data.workers", 1),
        ("data.dir", "elsewhere"),
    ],
)
def test_what_nothing_computed_depends_on_may_differ(run, key, value):
    config = base.get_config()
    config.update_from_flattened_dict({key: value})
    assert check_same_config(run, config, base.get_config(), free_on_resume()) is True


@pytest.mark.parametrize(
    ("key", "value"),
    [("log.gradients.every", 0), ("eval.every", 5), ("data.flip", 0.0)],
)
def test_what_decides_the_rows_may_not_differ(run, key, value):
    config = base.get_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=f"{key} is .* here") as caught:
        check_same_config(run, config, base.get_config(), free_on_resume())
    assert "--init-from" not in str(caught.value)


def test_more_steps_are_another_run_that_starts_from_its_weights(run):
    config = base.get_config()
    config.train.steps = 500
    with pytest.raises(UserError, match=f"another --workdir .with --init-from {run} "):
        check_same_config(run, config, base.get_config(), free_on_resume())


@pytest.mark.parametrize("size", [0, 100])
def test_a_damaged_part_is_named_with_its_steps(run, size):
    (part,) = (run / layout.GRADIENTS).iterdir()
    os.truncate(part, size)
    message = r"part-000000001\.parquet: damaged; .* move it away .* from 1 on"
    with pytest.raises(UserError, match=message):
        _ = open_run(run).gradients
    with pytest.raises(UserError, match=message):
        RunWriter(run, tensorboard=False, resume_step=1)
    assert len(open_run(run).blocks) == 4
    part.unlink()
    with RunWriter(run, tensorboard=False, resume_step=1):
        assert open_run(run).gradients.empty


def test_a_part_that_can_be_read_is_not_called_damaged(run):
    """Somebody has written its numbers as words."""
    (part,) = (run / layout.BLOCKS).iterdir()
    table = pq.read_table(part)
    names = [name for name in table.column_names if name not in ("step", "block")]
    words = pa.array(["much"] * table.num_rows)
    pq.write_table(
        table.set_column(table.column_names.index(names[-1]), names[-1], words), part
    )
    with pytest.raises(UserError, match="holds other values than") as caught:
        _ = open_run(run).blocks
    message = str(caught.value)
    assert message.startswith(f"{part}: ") and "'much'" in message
    assert not any(word in message for word in ("damaged", "move", "remove"))


def test_a_key_that_the_stored_config_lacks_had_its_default(run):
    stored = json.loads((run / layout.CONFIG).read_text())
    del stored["seed"]
    (run / layout.CONFIG).write_text(json.dumps(stored))
    config = base.get_config()
    assert check_same_config(run, config, base.get_config(), free_on_resume())
    config.seed = 1
    with pytest.raises(UserError, match="seed is 0 there and 1 here"):
        check_same_config(run, config, base.get_config(), free_on_resume())


def test_prepare_refuses_files_and_orphaned_logs(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file is a file, expected a folder"):
        prepare(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written to"):
        prepare(tmp_path / "file" / "below")
    (tmp_path / layout.METRICS).write_text("{}\n")
    with pytest.raises(UserError, match=r"holds metrics\.jsonl but no config\.json"):
        prepare(tmp_path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["gradients.png", "predictions/index.json", "predictions/samples/a-b.png"]
)
def test_a_folder_where_a_training_draws_at_its_end_is_found_first(tmp_path, name):
    (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"{name} is a folder, where a file is to go"):
        prepare(tmp_path / "run")
    (tmp_path / "run" / name).rmdir()
    prepare(tmp_path / "run")


@pytest.mark.parametrize("name", ["predictions", "events"])
def test_a_file_where_a_training_makes_a_folder_is_found_first(run, name):
    (run / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} is a file, where a folder is to go"):
        prepare(run)
    assert (run / name).read_text() == "mine"


def test_prepare_refuses_a_folder_without_write_permission(tmp_path, monkeypatch):
    def refuse(dir):  # the test may run as root, who may write anywhere
        raise PermissionError(13, "Permission denied", dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match="cannot be written to: Permission denied"):
        prepare(tmp_path)


def test_prepare_leaves_an_earlier_run_as_it_is(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    prepare(run)
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert before == after


def test_a_folder_that_is_no_run_is_named_with_the_nearest_run(run):
    with pytest.raises(UserError, match=r"does not exist \(did you mean '.*first'"):
        open_run(run.parent / "frist")
    with pytest.raises(UserError, match=r"holds no config\.json \(try .*first\)"):
        open_run(run.parent)


def test_steps_are_the_checkpoints_and_others_are_refused(run):
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        open_run(run).variables()
    for name in ("100", "20", "300.tmp", "best"):
        (run / layout.CHECKPOINTS / name).mkdir(parents=True)
    assert open_run(run).steps == [20, 100]
    with pytest.raises(UserError, match=r"step=30: choose from 20, 100"):
        open_run(run).variables(30)


def test_every_start_is_kept_in_the_environment(run):
    write_environment(run, {"kind": "gpu", "count": 2})
    write_environment(run, {"kind": "tpu", "count": 4})
    found = open_run(run).environment
    assert found["devices"]["kind"] == "tpu"
    kinds = [start["devices"]["kind"] for start in found["earlier_starts"]]
    assert kinds == ["cpu", "gpu"]
    assert found["packages"]["resseg"] == resseg.__version__
    assert found["packages"]["numpy"] and found["started"].endswith("+00:00")
    assert all("earlier_starts" not in start for start in found["earlier_starts"])


def test_the_commit_and_a_changed_tree_are_recorded(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", "-C", os.fspath(tmp_path), *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    monkeypatch.setattr(environment, "_SOURCE", tmp_path)
    assert environment.describe({})["git"] is None
    for name in ("resseg", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    found = environment.describe({})["git"]
    assert len(found["commit"]) == 40 and found["dirty"] is False
    (tmp_path / "resseg" / "a.py").write_text("2\n")
    assert environment.describe({})["git"]["dirty"] is True


def test_the_command_names_no_folder_of_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/someone/bin/resseg", "train", "a b"])
    assert environment.describe({})["command"] == "resseg train 'a b'"
    monkeypatch.setattr(sys, "argv", ["/home/someone/resseg/__main__.py", "train"])
    assert environment.describe({})["command"] == "python -m resseg train"


def test_reading_and_writing_runs_needs_no_jax():
    code = (
        "import sys, resseg.runs, resseg.gradient_log.show; print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_parameters_come_from_what_a_checkpoint_says(tmp_path):
    path = tmp_path / "checkpoints" / "4" / "variables" / "_METADATA"
    path.parent.mkdir(parents=True)

    def leaf(collection, shape):
        return {
            "key_metadata": [{"key": collection}, {"key": "kernel"}],
            "value_metadata": {"write_shape": shape},
        }

    tree = {
        "a": leaf("params", [3, 4]),
        "b": leaf("params", []),
        "c": leaf("paths", [9]),
    }
    path.write_text(json.dumps({"tree_metadata": tree}))
    assert Run(tmp_path).parameter_count == 13
    path.write_text("{")
    assert Run(tmp_path).parameter_count is None
