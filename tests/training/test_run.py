"""`resseg train` as a user runs it: what it leaves behind, how it survives a kill."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import jax
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import tiny_shapes

import resseg
from resseg import runs
from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.trace import trace
from resseg.cli.main import main
from resseg.data import colorize, pipeline
from resseg.errors import UserError
from resseg.inference import evaluator
from resseg.runs import layout, storage
from resseg.runs.checkpoints import Checkpoints, restore_variables, saved_steps
from resseg.training import run as train
from resseg.training.program import Programs
from resseg.training.stops import Stop, Stopped

QUICKSTART = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"

STEPS = 6
TIMEOUT = 900  # seconds that a process may take on a busy machine


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    """A network of two stages on eight images: seconds, most of them compilation."""
    return {
        **tiny_shapes(tmp_path_factory.mktemp("data")),
        "data.shapes.val_images": 6,
        "model.backbone.width": 8,
        "model.backbone.stage_sizes": (1, 1),
        "model.backbone.stage_strides": (2, 2),
        "model.backbone.output_stride": 4,
        "train.steps": STEPS,
        "checkpoint.every": 2,
        "eval.every": 4,
        "eval.predictions": 2,
        "log.every": 1,
        "mesh.data": 1,
        "optim.ema": 0.9,
    }


@pytest.fixture(scope="module")
def programs():
    """What runs of one structure share, so that it compiles once."""
    return Programs()


@pytest.fixture(scope="module")
def finished(overrides, programs, tmp_path_factory):
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    config = resseg.load_config(QUICKSTART, overrides)
    train.train_and_evaluate(config, folder, programs)
    return folder


def assert_equal_runs(one, two, same_steps=True):
    """Bit for bit: final parameters, metrics file, gradient and block rows."""
    assert (one / layout.METRICS).read_bytes() == (two / layout.METRICS).read_bytes()
    one, two = resseg.open_run(one), resseg.open_run(two)
    pd.testing.assert_frame_equal(one.gradients, two.gradients, check_exact=True)
    pd.testing.assert_frame_equal(one.blocks, two.blocks, check_exact=True)
    assert one.steps == two.steps or not same_steps
    for step in {*one.steps} & {*two.steps}:
        jax.tree.map(
            np.testing.assert_array_equal, one.variables(step), two.variables(step)
        )


def test_the_run_folder_holds_what_it_promises(finished, overrides):
    run = resseg.open_run(finished)
    assert run.config.train.steps == STEPS
    again = resseg.load_config(finished)
    assert again == resseg.load_config(QUICKSTART, overrides)

    trained = run.metrics[run.metrics["split"] == "train"]
    assert trained["step"].tolist() == list(range(1, STEPS + 1))
    evaluated = run.metrics[run.metrics["split"] == "val"]
    assert evaluated["step"].tolist() == [4, STEPS]
    assert evaluated["mean_iou"].between(0, 1).all()
    assert len(evaluated["iou"].iloc[0]) == len(run.classes) == 7

    model = resseg.build_model(run.config)
    forks = trace(model, (4, 32, 32, 3)).forks
    paths = sum(len(fork.paths) for fork in forks)
    assert len(run.gradients) == STEPS * paths
    assert run.gradients["fork"].drop_duplicates().tolist() == [f.name for f in forks]
    assert (run.gradients["nonfinite"] == 0).all()
    assert (run.gradients["site"] > 0).all()
    shares = run.gradients.groupby(["step", "fork"])["share"].sum()
    np.testing.assert_allclose(shares, 1.0)
    assert (run.blocks["update_ratio"] > 0).all()

    assert run.environment["devices"]["platform"] == "cpu"
    assert len(list((finished / layout.PREDICTIONS).glob("*.png"))) == 2
    assert list((finished / layout.EVENTS).iterdir())


def test_a_checkpoint_at_step_n_holds_n_consumed_batches(finished):
    saved = finished / layout.CHECKPOINTS / str(STEPS) / "position" / "metadata"
    assert json.loads(saved.read_text()) == {"next_batch": STEPS}


def test_row_one_is_measured_at_the_weights_that_no_update_has_changed(finished):
    """And on the first batch; so row n is at the weights of n - 1 updates."""
    run = resseg.open_run(finished)
    drawn = Blueprint.of(run.config, 7).drawing()(jax.random.key(run.config.seed))
    squares = sum(float(np.square(x).sum()) for x in jax.tree.leaves(drawn["params"]))
    by_step = run.blocks["params_l2"].pow(2).groupby(run.blocks["step"]).sum()
    assert by_step[1] == pytest.approx(squares, rel=1e-6)
    assert by_step[2] != pytest.approx(squares, rel=1e-6)
    loader = pipeline.TrainLoader(run.config.data, run.config.seed)
    pixels = [int((next(loader)["label"] != 255).sum()) for _ in range(STEPS)]
    loader.close()
    trained = run.metrics[run.metrics["split"] == "train"]
    assert trained["loss_pixels"].tolist() == pixels


def test_best_weights_are_kept_apart(finished):
    run = resseg.open_run(finished)
    evaluated = run.metrics[run.metrics["split"] == "val"].set_index("step")
    best = int(evaluated["mean_iou"].idxmax())
    assert [int(p.name) for p in (finished / layout.BEST).iterdir()] == [best]
    assert set(run.variables()) == {"params", "batch_stats", "paths"}


def test_a_finished_run_is_not_trained_again(finished, overrides, capsys):
    before = (finished / layout.METRICS).read_bytes()
    config = resseg.load_config(QUICKSTART, overrides)
    scores = train.train_and_evaluate(config, finished)
    assert (finished / layout.METRICS).read_bytes() == before
    assert f"resumed at step {STEPS} of {STEPS}" in capsys.readouterr().out
    assert scores["step"] == STEPS


def test_a_folder_that_began_with_a_config_alone_gets_its_classes(
    finished, overrides, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / layout.DATASET).unlink()
    train.train_and_evaluate(resseg.load_config(QUICKSTART, overrides), folder)
    assert resseg.open_run(folder).classes == resseg.open_run(finished).classes


def test_what_is_logged_may_differ_where_a_run_goes_on(finished, overrides, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    settings = {"log.every": 3, "data.threads": 1, "eval.predictions": 0}
    config = resseg.load_config(QUICKSTART, overrides | settings)
    train.train_and_evaluate(config, run)
    assert resseg.load_config(run) == config != resseg.load_config(finished)


def test_a_damaged_checkpoint_is_one_line_and_status_2(finished, tmp_path, capfd):
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(run / layout.CHECKPOINTS / str(STEPS - 2))
    for file in (run / layout.CHECKPOINTS).rglob("d/*"):
        os.truncate(file, file.stat().st_size // 2)
    step = ["--step", str(STEPS)]
    for call in (
        ["train", "--config", str(run), "--workdir", str(run)],
        ["evaluate", str(run), *step],
        ["predict", str(run), str(tmp_path), "--out", str(tmp_path / "out"), *step],
    ):
        cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((32, 32, 3), np.uint8))
        assert main(call) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert f"{layout.CHECKPOINTS}/{STEPS}: damaged checkpoint" in line


@pytest.mark.bits
def test_a_run_whose_newest_checkpoint_is_damaged_loses_one_interval(
    finished, overrides, tmp_path, capsys
):
    run = shutil.copytree(finished, tmp_path / "run")
    for file in (run / layout.CHECKPOINTS / str(STEPS)).rglob("d/*"):
        os.truncate(file, file.stat().st_size // 2)
    train.train_and_evaluate(resseg.load_config(QUICKSTART, overrides), run)
    named, resumed, *_ = capsys.readouterr().out.splitlines()
    assert named.startswith(f"{run / layout.CHECKPOINTS / str(STEPS)}: damaged check")
    assert resumed == f"resumed at step {STEPS - 2} of {STEPS}"
    assert_equal_runs(finished, run)


def test_a_config_that_does_not_fit_its_checkpoint_is_not_damage(
    finished, overrides, tmp_path, capsys
):
    run = shutil.copytree(finished, tmp_path / "run")
    values = json.loads((run / layout.CONFIG).read_text())
    values["model"]["backbone"]["width"] = 4
    (run / layout.CONFIG).write_text(json.dumps(values))
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((32, 32, 3), np.uint8))
    for call in (
        ["train", "--config", str(run), "--workdir", str(run)],
        ["evaluate", str(run)],
        ["predict", str(run), str(tmp_path / "photo.png"), "--out", str(run / "out")],
    ):
        assert main(call) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "another network than the config says: " in line
        assert "backbone/stage1/block1" in line and "damaged" not in line


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": ["disc", "background"]}, "it had 2 classes and has 7"),
        ({"contents": {"train": "0" * 64}}, "split train has other images, masks"),
        ({"contents": {"val": "0" * 64}}, "split val has other images, masks or names"),
    ],
)
def test_a_run_does_not_go_on_with_a_data_set_that_has_changed(
    finished, tmp_path, capsys, change, reason
):
    run = shutil.copytree(finished, tmp_path / "run")
    known = json.loads((run / layout.DATASET).read_text())
    assert sorted(known["contents"]) == ["train", "val"] and known["void"] == 255
    (run / layout.DATASET).write_text(json.dumps({**known, **change}))
    before = (run / layout.METRICS).read_bytes()
    assert main(["train", "--config", str(run), "--workdir", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "data set shapes has changed since this run began: " in line
    assert reason in line
    assert (run / layout.METRICS).read_bytes() == before


class Interrupted(Exception):
    """Stands for a crash in the middle of the loop."""


@pytest.mark.bits
@pytest.mark.parametrize(
    "after", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5))]
)
def test_a_crashed_run_goes_on_to_the_same_bits(
    finished, overrides, tmp_path, monkeypatch, after
):
    config = resseg.load_config(QUICKSTART, overrides)
    draw = pipeline.TrainLoader.__next__

    def crash(loader):
        if loader.state()["next_batch"] == after:
            raise Interrupted
        return draw(loader)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline.TrainLoader, "__next__", crash)
        with pytest.raises(Interrupted):
            train.train_and_evaluate(config, tmp_path / "run")
    train.train_and_evaluate(config, tmp_path / "run")
    assert_equal_runs(finished, tmp_path / "run")


@pytest.mark.bits
def test_a_run_that_is_asked_to_stop_saves_and_goes_on_to_the_same_bits(
    finished, overrides, tmp_path, monkeypatch, capsys
):
    """In a step, then in an evaluation that it does not end, then while it saves."""
    config = resseg.load_config(QUICKSTART, overrides)
    folder = tmp_path / "run"

    def stopped(step, *, by):
        stop = Stop()
        with monkeypatch.context() as patched:
            by(patched, stop)
            with pytest.raises(Stopped, match=f"stopped at step {step} of {STEPS}, wh"):
                train.train_and_evaluate(config, folder, stop=stop)
        assert max(resseg.open_run(folder).steps) == step
        return runs.read_metrics(folder)[-1]

    def in_step(patched, stop):
        draw = pipeline.TrainLoader.__next__

        def ask(loader):
            if loader.state()["next_batch"] == 2:
                stop.ask(signal.SIGTERM)
            return draw(loader)

        patched.setattr(pipeline.TrainLoader, "__next__", ask)

    def in_evaluation(patched, stop):
        evaluated = evaluator.run_ahead

        def ask(*arguments):
            stop.ask(signal.SIGINT)
            return evaluated(*arguments)

        patched.setattr(evaluator, "run_ahead", ask)

    def in_save(patched, stop):
        save = Checkpoints.save

        def ask(saved, step, *arguments):
            if step == STEPS:
                stop.ask(signal.SIGTERM)
            save(saved, step, *arguments)

        patched.setattr(Checkpoints, "save", ask)

    assert stopped(3, by=in_step)["step"] == 3
    row = stopped(4, by=in_evaluation)
    assert (row["step"], row["split"]) == (4, "train")
    row = stopped(STEPS, by=in_save)
    assert (row["step"], row["split"]) == (STEPS, "train")
    train.train_and_evaluate(config, folder)
    assert f"resumed at step {STEPS} of {STEPS}" in capsys.readouterr().out
    assert_equal_runs(finished, folder, same_steps=False)


def test_training_goes_on_while_a_checkpoint_is_written(
    finished, overrides, programs, tmp_path, monkeypatch
):
    """What is written are the weights of its step, whatever the steps after it do."""
    write, draw, drawn = storage.save, pipeline.TrainLoader.__next__, threading.Event()

    def slow(to, step, items):
        if step == 4:
            assert drawn.wait(TIMEOUT)
        write(to, step, items)

    def note(loader):
        if loader.state()["next_batch"] == 5:
            drawn.set()
        return draw(loader)

    monkeypatch.setattr(storage, "save", slow)
    monkeypatch.setattr(pipeline.TrainLoader, "__next__", note)
    config = resseg.load_config(QUICKSTART, overrides | {"eval.every": STEPS})
    train.train_and_evaluate(config, tmp_path / "run", programs)
    for step in (4, STEPS):
        one = restore_variables(finished, step)
        other = restore_variables(tmp_path / "run", step)
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_checkpoint_that_cannot_be_written_ends_the_run(
    overrides, programs, tmp_path, monkeypatch
):
    write = storage.save

    def full(to, step, items):
        if step == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(to.directory))
        write(to, step, items)

    monkeypatch.setattr(storage, "save", full)
    config = resseg.load_config(QUICKSTART, overrides | {"eval.every": STEPS})
    with pytest.raises(OSError, match="No space left on device"):
        train.train_and_evaluate(config, tmp_path / "run", programs)
    assert saved_steps(tmp_path / "run")[0] == [2]
    assert max(resseg.open_run(tmp_path / "run").steps) < STEPS


def test_workers_of_the_data_that_the_same_signal_ended_are_no_fault(
    overrides, tmp_path, monkeypatch
):
    config = resseg.load_config(QUICKSTART, overrides)
    draw, stop = pipeline.TrainLoader.__next__, Stop()

    def end(loader):
        if loader.state()["next_batch"] == 1:
            threading.Timer(0.1, stop.ask, [signal.SIGTERM]).start()
            raise UserError("a worker has ended")
        return draw(loader)

    monkeypatch.setattr(pipeline.TrainLoader, "__next__", end)
    with pytest.raises(Stopped, match="stopped at step 1 of"):
        train.train_and_evaluate(config, tmp_path / "run", stop=stop)
    assert resseg.open_run(tmp_path / "run").steps == [1]


@pytest.mark.bits
def test_a_killed_run_goes_on_to_the_same_bits(overrides, tmp_path):
    """SIGKILL to the command line, at a moment nobody chose; SIGTERM to its second."""
    settings = {"train.steps": 80, "checkpoint.every": 10, "eval.every": 40}
    options = [
        f"--config.{key}={json.dumps(value) if isinstance(value, tuple) else value}"
        for key, value in (overrides | settings).items()
    ]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}

    def command(folder):
        call = [sys.executable, "-m", "resseg", "train", "--config", str(QUICKSTART)]
        return [*call, "--workdir", str(folder), *options]

    killed, whole = tmp_path / "killed", tmp_path / "whole"

    def cut(number, after):
        with open(tmp_path / "log", "w") as log:
            process = subprocess.Popen(
                command(killed), stdout=log, stderr=log, env=environment
            )
            try:
                deadline = time.monotonic() + TIMEOUT
                while not (killed / layout.CHECKPOINTS / str(after)).exists():
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.01)
            finally:
                process.send_signal(number)
                process.wait()
        assert max(resseg.open_run(killed).steps) < 80
        return process.returncode

    assert cut(signal.SIGKILL, after=10) == -signal.SIGKILL
    before = max(resseg.open_run(killed).steps)
    assert cut(signal.SIGTERM, after=before + 10) == 0
    step = max(resseg.open_run(killed).steps)
    (*_, line) = (tmp_path / "log").read_text().splitlines()
    said = f"stopped at step {step} of 80, which is saved; the same command goes on"
    assert line == f"{said} from there"
    for folder in (killed, whole):
        subprocess.run(command(folder), check=True, env=environment, timeout=TIMEOUT)
        assert (folder / layout.HEATMAP).stat().st_size > 10_000
    assert_equal_runs(whole, killed, same_steps=False)


def test_four_devices_train_and_evaluate_as_one_does(
    overrides, programs, tmp_path, capsys
):
    """Six images are no multiple of four devices: the filling must count nowhere."""
    settings = {"mesh.data": 4, "train.steps": 3, "eval.every": 0}
    settings |= {"checkpoint.keep_every": 2}
    scores = {}
    for devices in (1, 4):
        settings["mesh.data"] = devices
        config = resseg.load_config(QUICKSTART, overrides | settings)
        folder = tmp_path / str(devices)
        scores[devices] = train.train_and_evaluate(config, folder, programs)
        run = resseg.open_run(folder)
        assert run.steps == [2, 3]  # kept for good, and the latest
        assert run.environment["devices"]["count"] == devices
    np.testing.assert_allclose(
        scores[1]["pixel_accuracy"], scores[4]["pixel_accuracy"], atol=0.02
    )
    metrics = [resseg.open_run(tmp_path / str(n)).metrics for n in (1, 4)]
    np.testing.assert_allclose(metrics[0]["loss"][0], metrics[1]["loss"][0], rtol=1e-5)
    assert_goes_on_elsewhere(tmp_path / "4", 1, overrides | settings, programs, capsys)


def assert_goes_on_elsewhere(whole, devices, settings, programs, capsys):
    """From its kept checkpoint, with other devices: the same images, no gap."""
    cut = shutil.copytree(whole, whole.with_name("cut"))
    last, kept = settings["train.steps"], settings["checkpoint.keep_every"]
    shutil.rmtree(cut / layout.CHECKPOINTS / str(last))
    config = resseg.load_config(QUICKSTART, settings | {"mesh.data": devices})
    capsys.readouterr()
    train.train_and_evaluate(config, cut, programs)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"resumed at step {kept} of {last}"
    assert said[1].startswith(f"devices: {devices}, before 4: the same batches")
    runs = resseg.open_run(whole), resseg.open_run(cut)
    seen = [r.metrics[["step", "batch_hash"]].fillna("").to_numpy() for r in runs]
    np.testing.assert_array_equal(*seen)
    assert len(set(seen[0][:last, 1])) == last
    keys = ["step", "fork", "path"]
    pd.testing.assert_frame_equal(runs[0].gradients[keys], runs[1].gradients[keys])
    leaves = [jax.tree.leaves(run.variables(last)["params"]) for run in runs]
    assert distance(*leaves) < 1e-5  # after one step


def distance(one, two):
    """Global relative difference of two lists of arrays."""
    differences = [a.astype(float) - b for a, b in zip(one, two, strict=True)]
    squares = [sum(np.sum(np.square(x)) for x in xs) for xs in (differences, one)]
    return np.sqrt(squares[0] / squares[1])


def test_two_processes_do_not_train_in_one_folder(finished, overrides):
    config = resseg.load_config(QUICKSTART, overrides)
    who = f"another process trains in it .process {os.getpid()} on "
    with runs.locked(finished), pytest.raises(ValueError, match=who):
        train.train_and_evaluate(config, finished)


def test_another_seed_is_another_run(finished, overrides, programs, tmp_path):
    config = resseg.load_config(QUICKSTART, overrides | {"seed": 1, "train.steps": 1})
    train.train_and_evaluate(config, tmp_path / "run", programs)
    first = [
        resseg.open_run(run).metrics["loss"][0] for run in (finished, tmp_path / "run")
    ]
    assert first[0] != first[1]


def test_the_folder_of_another_config_is_left_alone(finished, overrides):
    before = (finished / layout.CONFIG).read_bytes()
    config = resseg.load_config(QUICKSTART, overrides | {"seed": 5})
    with pytest.raises(ValueError, match=r"seed is 0 there and 5 here"):
        train.train_and_evaluate(config, finished)
    assert (finished / layout.CONFIG).read_bytes() == before


def test_a_loss_that_is_not_finite_stops_the_run_and_names_a_fork(
    overrides, programs, tmp_path
):
    settings = {"optim.learning_rate": 1e30, "train.steps": 5}
    config = resseg.load_config(QUICKSTART, overrides | settings)
    message = "first non-finite gradient at .*; autopsy: already in step 1, update "
    with pytest.raises(train.Diverged, match=message):
        train.train_and_evaluate(config, tmp_path / "run", programs)
    assert resseg.open_run(tmp_path / "run").gradients["nonfinite"].max() > 0


def test_evaluate_repeats_the_last_evaluation(finished, capsys):
    assert main(["evaluate", str(finished), "--step", str(STEPS)]) == 0
    out = capsys.readouterr().out
    last = resseg.open_run(finished).metrics.iloc[-1]
    assert f"mIoU {last['mean_iou']:.4f}" in out
    assert "shapes/val, 6 images" in out
    assert f"pixel accuracy {last['pixel_accuracy']:.4f}  mean class accuracy" in out
    assert max(map(len, out.splitlines())) <= 80


def test_predict_scales_deep_images_as_the_run_was_trained(finished, tmp_path, capsys):
    assert resseg.open_run(finished).bits == 8
    run = shutil.copytree(finished, tmp_path / "run")
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    deep = np.random.default_rng(0).integers(0, 4096, (40, 56, 3)).astype(np.uint16)
    cv2.imwrite(str(photos / "deep.png"), deep)
    call = ["predict", str(run), str(photos), "--out", str(out), "--probabilities"]
    dataset = json.loads((run / layout.DATASET).read_text())
    for recorded, bits, reason in (
        (12, 12, "was trained; --bits N says otherwise"),
        (None, 16, "does not record it"),
    ):
        (run / layout.DATASET).write_text(json.dumps(dataset | {"bits": recorded}))
        scaled = np.floor(deep * (255 / (2**bits - 1)) + 0.5).astype(np.uint8)
        cv2.imwrite(str(photos / "flat.png"), scaled)
        assert main(call) == 0
        words = " ".join(capsys.readouterr().out.split())
        assert f"{bits} in use" in words and reason in words
        np.testing.assert_array_equal(
            *(np.load(out / f"{name}_probabilities.npy") for name in ("deep", "flat"))
        )
    (run / layout.DATASET).write_text(json.dumps(dataset | {"bits": 10}))
    (photos / "flat.png").unlink()
    assert main(call) == 2
    assert "10 bits end at 1023; --bits N" in capsys.readouterr().err


def test_evaluate_says_that_a_run_was_trained_on_a_split(finished, capsys):
    assert main(["evaluate", str(finished), "--split", "train"]) == 0
    note = "note: the run was trained on train: this is no score of new images"
    assert note in capsys.readouterr().out.splitlines()
    assert resseg.open_run(finished).dataset["shared"] == 0


def test_predict_writes_masks_of_the_size_of_the_image(finished, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.jpg"), image)
    out = tmp_path / "out"
    call = ["predict", str(finished), str(tmp_path / "photo.jpg"), "--out", str(out)]
    assert main([*call, "--probabilities"]) == 0
    mask = cv2.imread(str(out / "photo.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (37, 53) and mask.max() < 7
    assert cv2.imread(str(out / "photo_overlay.png")).shape == (37, 53, 3)
    colors = Image.open(out / "photo_color.png")
    np.testing.assert_array_equal(np.array(colors), mask)
    np.testing.assert_array_equal(np.array(colors.convert("RGB")), colorize(mask, 7))
    probabilities = np.load(out / "photo_probabilities.npy").astype(np.float32)
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=2e-3)
    np.testing.assert_array_equal(probabilities.argmax(-1)[mask == 0], 0)
    assert main(["predict", str(finished), str(tmp_path), "--out", str(tmp_path)]) == 2


def test_predict_leaves_out_what_it_cannot_read(finished, tmp_path, capfd):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in "ac":
        cv2.imwrite(str(photos / f"{name}.png"), np.zeros((32, 32, 3), np.uint8))
    (photos / "b.png").write_bytes((photos / "a.png").read_bytes()[:40])
    for name in ("notes.txt", "list.csv", "._a.png"):
        (photos / name).write_text("")
    assert main(["predict", str(finished), str(photos), "--out", str(out)]) == 2
    captured = capfd.readouterr()
    assert "2 other files not read: list.csv, notes.txt\n" in captured.out
    assert "1 hidden file not read: ._a.png\n" in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith(f"resseg: error: {photos / 'b.png'}: cannot be read")
    assert {path.name for path in out.iterdir()} == {
        f"{name}{kind}.png" for name in "ac" for kind in ("", "_color", "_overlay")
    }


def test_inspect_shows_every_fork_and_draws_the_heat_map(finished, capsys):
    assert main(["inspect", str(finished)]) == 0
    out = capsys.readouterr().out
    for fork in resseg.open_run(finished).gradients["fork"].unique():
        assert fork in out or fork.split("/", 1)[1] in out
    assert (finished / layout.HEATMAP).stat().st_size > 10_000


def test_what_moves_while_training_is_logged(overrides, tmp_path):
    keys = {
        "train.steps": 4,
        "checkpoint.every": 4,
        "eval.predictions": 0,
        "model.shortcut.kind": "gate_shortcut",
        "model.branch.learn": "channel",
        "model.gradient.shortcut": '{"stage1": {"linear": [1.0, 0.0, 0, 4]}}',
        "optim.learning_rate": 0.1,
    }
    config = resseg.load_config(QUICKSTART, overrides | keys)
    train.train_and_evaluate(config, tmp_path / "run")
    rows = runs.read_metrics(tmp_path / "run")
    moving = [row for row in rows if row["split"] == "coefficients"]
    assert [row["step"] for row in moving] == [1, 2, 3, 4]
    block = "backbone/stage1/block1"
    assert [row[f"{block} gradient shortcut"] for row in moving] == [1, 0.75, 0.5, 0.25]
    assert moving[0][f"{block} gate bias"] == -6.0 != moving[-1][f"{block} gate bias"]
    assert moving[0][f"{block} W_r"] == 1.0 != moving[-1][f"{block} W_r"]
    # What stays is not there.
    assert all("stage2/block1 gradient" not in name for name in moving[0])


def test_nothing_that_stays_is_logged(finished):
    splits = {row["split"] for row in runs.read_metrics(finished)}
    assert splits == {"train", "val"}
