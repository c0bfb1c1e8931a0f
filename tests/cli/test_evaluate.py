"""`resseg evaluate` and `resseg calibrate` on a network that compiles at once."""

import json
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from resseg.cli.main import main
from resseg.config.load import load_config
from resseg.data import VOID, sources
from resseg.inference import members, trained
from resseg.inference.trained import Trained
from resseg.runs import prepare, write_config, write_dataset
from resseg.runs.calibration import (
    Calibration,
    read_calibration,
    read_calibrations,
    write_calibrations,
)

CLASSES = ("background", "disc", "wire")
IMAGES = 24


class Colours(nn.Module):
    """Sees the class in the colour, through noise of its own; too sure of itself."""

    sharpness: float

    @nn.compact
    def __call__(self, images, train):
        scale = self.param("scale", nn.initializers.ones, ())
        return {"logits": scale * self.sharpness * images}


def _record(index, height=20, width=24):
    rng = np.random.default_rng(index)
    mask = np.kron(rng.integers(0, 3, (5, 6)), np.ones((4, 4))).astype(np.uint8)
    noise = rng.normal(0, 20 + 4 * index, (height, width, 3))
    image = 100 + 60 * (mask[..., None] == np.arange(3)) + noise
    mask[0, :3] = VOID
    return {
        "image": image.clip(0, 255).astype(np.uint8),
        "mask": mask,
        "name": f"n{index:02}",
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data"))
    clean = {"image": np.eye(3)[[0, 1, 2, 1] * 4] * 255, "mask": [0, 1, 2, 1] * 4}
    clean = {name: np.uint8([value] * 8) for name, value in clean.items()}
    records = {
        "train": [_record(index) for index in range(2)],
        "val": [_record(index) for index in range(IMAGES)],
        "few": [_record(index) for index in range(IMAGES // 3)],
        "void": [_record(0) | {"mask": np.full((20, 24), VOID, np.uint8)}],
        "clean": [clean | {"name": "clean"}],
    }
    splits = {name: lambda of=of: iter(of) for name, of in records.items()}
    sources.write_dataset(folder, "colours", CLASSES, splits)
    few = {"train": splits["train"]}
    sources.write_dataset(folder, "others", (*CLASSES[:2], "thread"), few)
    return folder


@pytest.fixture
def make_run(data, tmp_path, monkeypatch):
    """Makes run folders; weights are those of `Colours`, by the folder's name."""
    sharpness = {}

    def load(run, step=None):
        model = Colours(sharpness[run.path.name])
        variables: Any = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), False)
        calibration = read_calibration(run.path, 7)
        return Trained(
            load_config(run.path),
            run.classes,
            SimpleNamespace(model=model),  # pyright: ignore
            variables,
            step=7,
            weights="weights of step 7",
            temperature=calibration.temperature if calibration else 1.0,
        )

    for module in (members, trained):
        monkeypatch.setattr(module, "load_trained", load)

    def make(name, value, classes=CLASSES, **keys):
        keys = {"data.name": "colours", "data.dir": data, "eval.boundary": 0.05} | keys
        folder = prepare(tmp_path / name)
        write_config(folder, load_config("quickstart", keys))
        write_dataset(folder, {"name": "colours", "classes": list(classes)})
        sharpness[name] = value
        return folder

    return make


def probabilities(run, sharpness):
    """Of all pixels of the split that count, and their classes; of numpy alone."""
    data: Any = load_config(run).data
    softmaxes, labels = [], []
    for index in range(IMAGES):
        example = _record(index)
        valid = example["mask"] != VOID
        values = (example["image"][valid] / 255 - data.mean) / np.array(data.std)
        scaled = np.exp(sharpness * values)
        softmaxes.append(scaled / scaled.sum(-1, keepdims=True))
        labels.append(example["mask"][valid])
    return np.concatenate(softmaxes), np.concatenate(labels)


def read(file):
    return json.loads(file.read_text())


def test_scores_and_their_intervals_are_kept_with_the_run(make_run, capsys):
    run = make_run("sharp", 3.0)
    assert main(["evaluate", str(run)]) == 0
    out = capsys.readouterr().out
    record = read(run / "evaluations" / "colours-val-7.json")
    assert record["images"] == IMAGES and record["classes"] == list(CLASSES)
    low, high = record["intervals"]["mean_iou"]
    assert low < record["scores"]["mean_iou"] < high
    assert f"mIoU {record['scores']['mean_iou']:.4f} [{low:.4f}, {high:.4f}]" in out
    assert f"[95% intervals over the {IMAGES} images, BCa bootstrap]" in out
    assert "ece" not in record["scores"] and "ECE" not in out
    assert main(["evaluate", str(run), "--split", "few"]) == 0
    assert "8 images only: intervals over images from 20 on" in capsys.readouterr().out
    assert read(run / "evaluations" / "colours-few-7.json")["intervals"] == {}


@pytest.mark.parametrize("flip", [False, True])
def test_calibration_is_that_of_the_probabilities(make_run, capsys, flip):
    run = make_run("sharp", 3.0)
    asked = ["evaluate", str(run), "--calibration", *(["--flip"] if flip else [])]
    assert main(asked) == 0
    (file,) = (run / "evaluations").glob("*.json")
    assert (file.name == "colours-val-7.json") == (not flip)
    assert file.with_suffix(".png").stat().st_size > 10_000
    record = read(file)
    p, label = probabilities(run, 3.0)
    nll = -np.log(p[np.arange(len(p)), label])
    right, sure = p.argmax(-1) == label, p.max(-1)
    bins = np.minimum((sure * 15).astype(int), 14)
    gaps = [abs(np.sum((right - sure)[bins == each])) for each in range(15)]
    assert record["scores"]["nll"] == pytest.approx(nll.mean(), rel=1e-5)
    assert record["scores"]["ece"] == pytest.approx(np.sum(gaps) / len(nll), abs=1e-4)
    top = np.array(record["reliability"]["top"])
    assert top[0, :, 0].sum() == len(nll) and top[0, :, 2].sum() == right.sum()
    low, high = record["intervals"]["ece"]
    assert low < record["scores"]["ece"] < high
    out = capsys.readouterr().out
    assert "boundary band" in out and "class by itself" in out


def test_two_runs_are_compared_on_the_same_images(make_run, tmp_path, capsys):
    one = make_run("one", 3.0)
    other = make_run("other", 1.0, **{"data.eval_batch_size": 3})
    file = tmp_path / "both.json"
    both = [str(one), "--against", str(other)]
    assert main(["evaluate", *both, "--calibration", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    record = read(file)
    scores = [each["scores"] for each in record["evaluations"]]
    assert scores[0]["iou"] == scores[1]["iou"]  # the same masks
    (difference,) = record["differences"]
    assert difference["intervals"]["mean_iou"] == [None, None]
    low, high = difference["intervals"]["nll"]
    assert low < scores[0]["nll"] - scores[1]["nll"] < high
    assert f"{one} less {other}, on the same images" in out
    nll = next(line for line in out.splitlines() if line.startswith("NLL "))
    assert nll.endswith(f"[{low:+.4f}, {high:+.4f}]  *")


@pytest.mark.parametrize(
    ("keys", "classes", "message"),
    [
        ({"data.name": "nuclei"}, CLASSES, "trained on nuclei, "),
        (
            {},
            ("background", "wire", "disc"),
            "classes background, wire, disc; expected",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    make_run, capsys, keys, classes, message
):
    one, other = make_run("one", 3.0), make_run("other", 1.0, classes, **keys)
    assert main(["evaluate", str(one), "--against", str(other)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--against {other}: {message}" in line
    assert not (one / "evaluations").exists()


def test_a_run_that_cannot_be_written_to_is_scored(make_run, capsys):
    run = make_run("sharp", 3.0)
    (run / "evaluations").write_text("in the way")
    assert main(["evaluate", str(run)]) == 0
    assert "note: not stored in the run: " in capsys.readouterr().out


def nll_at(run, sharpness):
    p, label = probabilities(run, sharpness)
    return -np.log(p[np.arange(len(p)), label]).mean()


def test_a_temperature_is_fitted_kept_used_and_forgotten(make_run, capsys):
    run = make_run("sharp", 3.0)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    earlier = Calibration(5, 2.0, "colours", "few", 8)
    write_calibrations(run, [earlier])
    assert main(["calibrate", str(run)]) == 0
    out = capsys.readouterr().out
    other, fitted = read_calibrations(run)
    assert other == earlier
    best = optimize.minimize_scalar(
        lambda log: nll_at(run, 3 / np.exp(log)),
        bounds=(-2, 4),
        options={"xatol": 1e-9},
    )
    assert fitted == (7, pytest.approx(np.exp(best.x), rel=1e-5), "colours", "val", 24)
    assert fitted.temperature > 2
    assert f"temperature {fitted.temperature:.4f} for the weights of step 7" in out
    (line,) = (line for line in out.splitlines() if line.startswith("NLL, all pixels"))
    assert f"{nll_at(run, 3.0):.4f} [" in line and f"{best.fun:.4f} [" in line
    assert line.endswith("*") and "others come out worse" in out
    assert all(path.read_bytes() == content for path, content in before.items())
    assert main(["evaluate", str(run), "--calibration"]) == 0
    out = capsys.readouterr().out
    assert f"temperature {fitted.temperature:.4f}, fitted to this very split" in out
    record = read(run / "evaluations" / "colours-val-7.json")
    assert record["temperatures"] == [fitted.temperature]
    assert record["scores"]["nll"] == pytest.approx(best.fun, rel=1e-5)
    assert main(["calibrate", str(run)]) == 0  # from logits, not from what was fitted
    assert read_calibrations(run) == [earlier, fitted]
    capsys.readouterr()
    assert main(["calibrate", str(run), "--reset", "--step", "7"]) == 0
    assert f"forgotten: {fitted.temperature:.4f} (step 7)" in capsys.readouterr().out
    assert read_calibrations(run) == [earlier]
    assert main(["calibrate", str(run), "--reset"]) == 0
    assert "forgotten: 2.0000 (step 5)" in capsys.readouterr().out
    assert read_calibrations(run) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "vla"], "--split='vla': choose from "),
        (["--split", "void"], "colours/void: every pixel is void or there is none"),
        (
            ["--split", "clean"],
            "no temperature from 0.0156 to 64 is best: the sharper ",
        ),
        (["--reset", "--split", "val"], "--split: means nothing with --reset"),
        (["--reset", "--step", "3"], "--step=3: choose from"),
        (["--data", "others"], "--data others: has no 'wire' and has 'thread', which "),
    ],
)
def test_what_cannot_be_fitted_to_is_refused(make_run, capsys, options, message):
    run = make_run("sharp", 3.0)
    write_calibrations(run, [Calibration(5, 2.0, "colours", "val", 24)])
    assert main(["calibrate", str(run), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [each.step for each in read_calibrations(run)] == [5]


def test_temperatures_of_other_weights_are_not_used(make_run, capsys):
    run = make_run("sharp", 3.0)
    write_calibrations(run, [Calibration(5, 2.0, "colours", "val", 24)])
    assert main(["evaluate", str(run), "--split", "few"]) == 0
    assert f"note: {run} has a temperature for step 5, not" in capsys.readouterr().out
