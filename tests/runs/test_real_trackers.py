"""W&B, MLflow and Trackio, as they are installed, without a network."""

import json
import os

import numpy as np
import pytest

from resseg.runs import RunWriter
from resseg.runs.trackers.behind import Trackers, about_run


def written(folder, name, steps, resumed=None):
    """What a process trains, and says."""
    folder.mkdir(exist_ok=True)
    config = {"seed": 0, "data.mean": (0.5, 0.25), "init.from": None, "data.dir": ""}
    said = []
    trackers = Trackers(
        (name,),
        about_run(folder, config),
        resumed=resumed is not None,
        warn=said.append,
    )
    writer = RunWriter(
        folder, tensorboard=False, resume_step=resumed, trackers=trackers
    )
    with writer:
        for step in steps:
            values = {"loss": 1 / step, "absent": np.nan}
            writer.write_metrics(step, "train", values)
            writer.write_metrics(step, "val", {"iou": [0.5, step / 10]})
    assert not [line for line in said if line.startswith("note")], said
    return json.loads((folder / "trackers" / f"{name}.json").read_text())["identity"]


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    identity = written(tmp_path / "run", "wandb", range(1, 4))
    assert written(tmp_path / "run", "wandb", range(3, 6), resumed=2) == identity
    files = sorted((tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{identity}.*"))
    assert len(files) == 2
    first, second = (file.read_bytes() for file in files)
    assert b"train/loss" in first and b"val_iou/1" in first and b"data.mean" in first
    assert b"val_iou/1" in second


@pytest.mark.slow
def test_mlflow_in_files_and_in_a_data_base(tmp_path, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    stores = [f"file://{tmp_path}/mlruns"]
    try:
        import sqlalchemy  # noqa: F401

        stores.append(f"sqlite:///{tmp_path}/mlflow.db")
    except ImportError:
        pass
    for number, store in enumerate(stores):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        tracking.set_tracking_uri(store)
        sweep = tmp_path / f"sweep{number}"
        sweep.mkdir()
        (sweep / "sweep.json").write_text("{}")
        identity = written(sweep / "run", "mlflow", range(1, 4))
        assert written(sweep / "run", "mlflow", range(3, 6), resumed=2) == identity
        client = tracking.MlflowClient(store)
        run = client.get_run(identity)
        assert run.info.status == "FINISHED" and run.info.run_name == "run"
        assert run.data.tags["resseg.sweep"] == f"sweep{number}"
        assert run.data.params["data.mean"] == "(0.5, 0.25)"
        history = client.get_metric_history(identity, "val_iou/1")
        values = {each.step: each.value for each in history}
        assert values == {step: step / 10 for step in range(1, 6)}
        (nan, *_) = client.get_metric_history(identity, "train/absent")
        assert np.isnan(nan.value)


@pytest.mark.slow
def test_trackio_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    identity = written(tmp_path / "run", "trackio", range(1, 4))
    assert written(tmp_path / "run", "trackio", range(3, 6), resumed=2) == identity
    rows = SQLiteStorage.get_logs("resseg", identity)
    losses = {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}
    assert losses == {step: 1 / step for step in range(1, 6)}
    assert os.listdir(tmp_path / "trackio")
