"""`resseg export`: files that compute what the network computes, or none."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runs_without_training
from jax import export as jax_export

from resseg import Segmenter, open_run
from resseg.cli.main import main
from resseg.export import comparison, onnx_file, stablehlo, tflite
from resseg.export.comparison import Difference, fitted, spread_evenly
from resseg.export.formats import FORMATS
from resseg.export.network import ExportedNetwork, probabilities
from resseg.export.traced import rewritten
from resseg.inference.segmenter import Segmentation
from resseg.interop.own import read_own
from resseg.runs import calibration as calibrations
from resseg.runs import layout, write_json

SIZE = (30, 41)  # no multiple of what the network halves
MADE = ("stablehlo", "safetensors")
WEIGHTS = ["--format", "safetensors"]
# Weights that are drawn make logits of millions.
FITTED = calibrations.Calibration(1, 8e6, "none", "val", 7)
EVALUATED = {
    "scores": {"mean_iou": 0.25, "iou": [0.5, 0.125, None]},
    "intervals": {"mean_iou": [0.2, 0.3], "iou": [[0.4, 0.6], [0.1, 0.2], [None] * 2]},
    **{"images": 30, "level": 0.95, "split": "val"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose logits have a temperature."""
    folder = runs_without_training.write(
        tmp_path_factory.mktemp("runs") / "drawn", seeds=(3, 4)
    )
    calibrations.write_calibrations(folder, [FITTED, FITTED._replace(step=2)])
    (folder / layout.EVALUATIONS).mkdir()
    write_json(folder / layout.EVALUATIONS / "none-val-2.json", EVALUATED)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two images."""
    folder, rng = tmp_path_factory.mktemp("all") / "photos", np.random.default_rng(5)
    folder.mkdir()
    for number in range(2):
        image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


@pytest.fixture(scope="module")
def segment(run):
    """The network of the run."""
    return Segmenter.from_run(run, step=2)


@pytest.fixture(scope="module")
def exported(run, photos, segment, tmp_path_factory):
    """An export of it in the formats that need no further package."""
    out = tmp_path_factory.mktemp("exports") / "one"
    options = ["--images", str(photos), "--out", str(out), "--step", "2"]
    with pytest.MonkeyPatch.context() as patch:
        # Compiled already.
        patch.setattr(comparison, "alone", lambda trained: segment)
        assert main(["export", str(run), *options, "--format", ",".join(MADE)]) == 0
    return out


@pytest.fixture(scope="module")
def wanted(segment):
    """Images of two sizes, and what the network says of them."""
    rng = np.random.default_rng(0)
    shapes = ((1, *SIZE, 3), (2, 17, 62, 3))
    batches = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    found = iter(list(segment.batch([image for batch in batches for image in batch])))
    return [(batch, [next(found) for _ in batch]) for batch in batches]


def assert_as_predicted(load, wanted):
    """What an export says of images is what the run does."""
    for images, expected in wanted:
        classes, values = load(images)
        assert classes.dtype == np.uint8
        for mask, value, each in zip(classes, values, expected, strict=True):
            np.testing.assert_allclose(value, each.probabilities, atol=1e-4)
            np.testing.assert_array_equal(mask, each.mask)
        # Without the temperature they are 0 and 1.
        assert (values.max(-1) < 0.9).mean() > 0.2


def test_stablehlo_takes_any_batch_and_size_and_runs_on_three_platforms(
    exported, wanted
):
    path = exported / stablehlo.FILE
    assert_as_predicted(stablehlo.load(path), wanted)
    program = jax_export.deserialize(bytearray(path.read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert "custom_call" not in program.mlir_module().replace(
        "custom_call @shape_assertion", ""
    )


def test_the_card_runs_it_where_resseg_is_not(exported):
    card = (exported / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    program = f"""
import sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("resseg", "flax", "ml_collections"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
{snippet}
print(classes.shape, classes.dtype, probabilities.shape)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=exported, capture_output=True, text=True)
    assert done.stdout == "(1, 96, 128) uint8 (1, 96, 128, 3)\n", done.stderr


def test_an_imported_run_has_the_same_bits(run, exported, wanted, tmp_path, capsys):
    file, again = exported / "model.safetensors", tmp_path / "again"
    assert main(["import", str(file), "--workdir", str(again)]) == 0
    before, after = open_run(run), open_run(again)
    weights, found = before.variables(2), after.variables()
    assert jax.tree.structure(weights) == jax.tree.structure(found)
    for one, other in zip(*map(jax.tree.leaves, (weights, found)), strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    assert after.classes == before.classes
    assert after.dataset == before.dataset
    model = before.config.model
    assert after.config.model == model
    assert calibrations.read_calibration(again, 0) == FITTED._replace(step=0)
    ((images, expected), *_) = wanted
    found = Segmenter.from_run(again)(images[0])
    for one, other in zip(expected[0], found, strict=True):
        assert one.tobytes() == other.tobytes()
    # Where the data of this machine lie is nobody's business.
    assert str(run.parent) not in file.read_bytes().decode("latin-1")
    assert main(["import", str(file), "--workdir", str(again)]) == 2
    assert "holds a run" in capsys.readouterr().err


def test_a_file_of_other_tensors_is_refused_by_name(exported, tmp_path, capsys):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    file = exported / "model.safetensors"
    with safe_open(file, "numpy") as opened:
        notes = opened.metadata()
    tensors, other = load_file(file), tmp_path / "other.safetensors"
    name = next(name for name in tensors if name.endswith("kernel"))
    for changed, said in (
        ({**tensors, "more": tensors[name]}, "with more"),
        (
            {key: each for key, each in tensors.items() if key != name},
            f"without {name}",
        ),
        ({**tensors, name: tensors[name][:1]}, f"{name} has the shape"),
    ):
        save_file(changed, other, notes)
        assert main(["import", str(other), "--workdir", str(tmp_path / "run")]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    for key, value, said in (
        ("classes", "[]", "holds other notes"),
        ("classes", "[" * 100_000, "holds other notes"),
        ("calibration", json.dumps(FITTED._replace(temperature=0)._asdict()), "notes"),
        ("config", '{"model.head.name": "unett"}', "did you mean 'unet'?"),
    ):
        save_file(tensors, other, {**notes, key: value})
        assert main(["import", str(other), "--workdir", str(tmp_path / "run")]) == 2
        assert said in capsys.readouterr().err
    save_file(tensors, other)
    assert main(["import", str(other), "--workdir", str(tmp_path / "run")]) == 2
    assert "need --layout" in capsys.readouterr().err


def test_the_card_and_its_numbers(run, exported):
    facts = json.loads((exported / "export.json").read_text())
    card = (exported / "README.md").read_text()
    assert facts["classes"] == list(runs_without_training.CLASSES)
    assert facts["temperature"] == FITTED.temperature
    assert facts["step"] == 2
    assert facts["data"]["fingerprint"] in card
    assert facts["compared"] == {"images": "photos", "count": 2}
    for name in MADE:
        difference = facts["formats"][name]["difference"]
        assert difference["pixels"] == 2 * SIZE[0] * SIZE[1]
        assert 0 <= difference["largest"] < 1e-4
        assert difference["flips"] == 0
        assert facts["formats"][name]["file"] in card
    assert facts["scores"] == EVALUATED
    assert "| mean IoU | 0.250 | 0.200 to 0.300 |" in card
    assert "| disc | 0.125 | 0.100 to 0.200 |" in card
    assert "| wire | – | – |" in card
    assert "30 images, one seed; 95% intervals are over images" in card
    assert "no gradient log" in card
    assert "softmax of the logits over 8e+06" in card
    for text in (card, json.dumps(facts)):
        assert str(run.parent) not in text


def test_an_export_that_computes_something_else_is_not_there(
    run, photos, exported, segment, tmp_path, monkeypatch, capsys
):
    normalised = ExportedNetwork.normalised

    def write(network, path):
        """The export, of images that are a little brighter."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                ExportedNetwork,
                "normalised",
                lambda self, images: normalised(self, images) + 0.1,
            )
            stablehlo.write(network, path)

    broken = dataclasses.replace(FORMATS["stablehlo"], write=write)
    monkeypatch.setitem(FORMATS, "stablehlo", broken)
    monkeypatch.setattr(comparison, "alone", lambda trained: segment)
    out = tmp_path / "out"
    shutil.copytree(exported, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    options = ["--images", str(photos), "--out", str(out), "--step", "2"]
    formats = ["--overwrite", "--format", "stablehlo"]
    assert main(["export", str(run), *options, *formats]) == 2
    said = capsys.readouterr().err
    assert "--format stablehlo: not what the network computes on 2 images" in said
    # That of before is whole, and nothing lies beside it.
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


def test_an_export_replaces_another_only_when_told_to(
    run, photos, tmp_path, monkeypatch, capsys
):
    def write_nothing(folder, *_):
        (folder / "model.onnx").write_text("new")
        return {}

    monkeypatch.setattr("resseg.export.folder.write_files", write_nothing)
    out = tmp_path / "out"
    command = ["export", str(run), "--images", str(photos), "--out", str(out), *WEIGHTS]
    assert main(command) == 0
    (out / "model.onnx").write_text("old")
    assert main(command) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert (out / "model.onnx").read_text() == "old"
    assert main([*command, "--overwrite"]) == 0
    assert (out / "model.onnx").read_text() == "new"
    own = [*command[:-3], str(run / "best"), *WEIGHTS]
    assert main(own) == 2
    assert "a file of the run in" in capsys.readouterr().err
    (out / "thesis.tex").touch()
    assert main([*command, "--overwrite"]) == 2
    assert "holds thesis.tex, which is of no export" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "onxx"], "--format='onxx': choose from stablehlo, onnx, tflite"),
        (["--format", "onxx"], "(did you mean 'onnx'?)"),
        (["--scores", "logit"], "(did you mean 'logits'?)"),
        (["--size", "12"], "--size 12: expected height and width, as in 256,320"),
        (["--size", "0,8"], "expected 1 to 65536 pixels"),
        (["--compare", "0"], "--compare 0: expected more than 0"),
        (["--tolerance", "-1"], "--tolerance -1.0: expected more than 0"),
        (["--format", "tflite"], "give it with --size H,W"),
        (["--format", "onnx"], "onnx is missing, pip install 'resseg[export]'"),
        (["--step", "9"], "no checkpoint of step 9"),
        ([*WEIGHTS, "--images", "nowhere"], "nowhere: does not exist"),
        (WEIGHTS, "--images DIR takes others"),
    ],
)
def test_wrong_input_is_one_line(run, tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    command = ["export", str(run), "--out", str(tmp_path / "out"), *options]
    assert main(command) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_import_wants_one_kind_of_file(exported, tmp_path, capsys):
    file, out = str(exported / "model.safetensors"), str(tmp_path / "run")
    for options, said in (
        ([], "expected --layout, --arch, --weights, or the FILE of an export"),
        (["--layout", "smp"], "expected --arch, --weights, or the FILE"),
        ([file, "--arch", "resnet18"], "--arch is of torch's weights"),
    ):
        assert main(["import", *options, "--workdir", out]) == 2
        assert said in capsys.readouterr().err


def test_differences_are_counted():
    values = np.array([[[0.6, 0.3, 0.1], [0.40, 0.39, 0.21]]], np.float32)
    wanted = Segmentation(values.argmax(-1).astype(np.uint8), values)

    def of(classes, found=values):
        counted = Difference(tolerance=0.02)
        counted.add(wanted, np.array([classes], np.uint8), found)
        return counted

    assert (of([0, 0]).flips, of([0, 0]).fault) == (0, "")
    assert of([0, 1]).flips == 1
    assert of([0, 1]).widest == pytest.approx(0.01, rel=1e-5)
    assert of([0, 1]).fault == ""
    assert "margin of 0.19" in of([0, 2]).fault
    assert "margin of 0.3" in of([1, 1]).fault
    assert of([1, 1]).flips == 2
    assert "margin of inf" in of([0, 3]).fault
    assert "differs by 0.05" in of([0, 0], values + np.float32(0.05)).fault
    missing = values.copy()
    missing[0, 0, 1] = np.nan
    assert "differs by nan" in of([0, 0], missing).fault


def test_images_are_cut_and_mirrored_to_a_size():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert fitted(image, None) is image
    cut = fitted(image, (5, 2))
    assert cut.shape == (5, 2, 3)
    np.testing.assert_array_equal(cut[:2], image[:, :2])
    np.testing.assert_array_equal(cut[2:4], image[::-1, :2])
    assert spread_evenly(3, 8) == [0, 1, 2]
    assert spread_evenly(101, 3) == [0, 50, 100]


def test_logits_become_probabilities():
    logits = np.array([1e4, 1e4 + 1, -5], np.float32)
    wanted = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(probabilities(logits, "logits"), wanted, atol=1e-7)
    assert probabilities(logits, "probabilities") is logits


def test_onnx_takes_any_batch_and_size(
    run, photos, segment, wanted, tmp_path, monkeypatch
):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(comparison, "alone", lambda trained: segment)
    out = tmp_path / "out"
    options = ["--format", "onnx", "--images", str(photos), "--out", str(out)]
    assert main(["export", str(run), *options, "--step", "2"]) == 0
    assert_as_predicted(onnx_file.load(out / onnx_file.FILE), wanted)


def test_onnx_of_one_size_puts_out_logits(exported, wanted, tmp_path):
    pytest.importorskip("onnxruntime")
    trained = read_own(exported / "model.safetensors").trained
    network = ExportedNetwork(trained, scores="logits", size=SIZE)
    onnx_file.write(network, tmp_path / "model.onnx")
    load = onnx_file.load(tmp_path / "model.onnx")

    def normalised(images):
        classes, logits = load(images)
        assert logits.min() < 0
        return classes, probabilities(logits, "logits")

    assert_as_predicted(normalised, wanted[:1])


def test_tflite_is_of_one_size(exported, wanted, tmp_path):
    pytest.importorskip("litert_converter")
    trained = read_own(exported / "model.safetensors").trained
    network = ExportedNetwork(trained, size=SIZE)
    tflite.write(network, tmp_path / "model.tflite")
    assert_as_predicted(tflite.load(tmp_path / "model.tflite"), wanted[:1])


def test_a_product_with_a_vector_is_a_sum():
    """LiteRT's converter fails on such products, where they are of matrices."""

    def function(x, matrix):
        return (jnp.einsum("bhwi,io->bhwo", x, matrix), x @ matrix[:, :1])

    rng = np.random.default_rng(0)
    arrays = [
        jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((1, 1, 1, 5), (5, 4))
    ]
    other = rewritten(function, {"dot_general": tflite.product}, *arrays)
    assert "dot_general" in str(jax.make_jaxpr(function)(*arrays))
    assert "dot_general" not in str(jax.make_jaxpr(other)(*arrays))
    for one, two in zip(function(*arrays), other(*arrays), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
    arrays = [jnp.concatenate([arrays[0]] * 3, 2), arrays[1]]
    whole = rewritten(
        lambda *a: (jnp.einsum("bhwi,io->bhwo", *a),),
        {"dot_general": tflite.product},
        *arrays,
    )
    assert "dot_general" in str(jax.make_jaxpr(whole)(*arrays))
    np.testing.assert_array_equal(whole(*arrays)[0], function(*arrays)[0])
