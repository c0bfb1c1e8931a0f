"""`resseg import`: a run folder that the other commands accept, or nothing at all."""

import json

import cv2
import numpy as np
import pytest
import safetensors.numpy

import resseg
from resseg.blueprint.blueprint import Blueprint
from resseg.cli.import_torch import VOC
from resseg.cli.main import main
from resseg.config.load import load_config
from resseg.data import shapes
from resseg.interop import LAYOUTS, tensor_shapes
from resseg.interop.architecture import Architecture
from resseg.training import initial

BASE = "base"
SHAPES = "background,disc,square,triangle,ring,wire,star"
TINY = {"stage_sizes": (1, 1, 1, 1), "block": "basic", "width": 8}
UNET = Architecture(**TINY, head="unet", num_classes=7, decoder=(8, 8, 8, 8, 8))
FCN = Architecture(**TINY, head="fcn", num_classes=21, aux=True)
BACKBONE = Architecture(**TINY, num_classes=5)
TINY_NETWORKS = {
    "smp": {"Unet_tiny": UNET},
    "torchvision": {"fcn_tiny": FCN},
    "timm": {"tiny": BACKBONE},
}


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    """Networks of seconds among those that the command knows."""
    for layout, networks in TINY_NETWORKS.items():
        for name, architecture in networks.items():
            known = LAYOUTS[layout].architectures
            monkeypatch.setitem(known, name, architecture)


def save(file, layout, architecture):
    """Positive numbers, as variances are."""
    generator = np.random.default_rng(0)
    tensors = {
        name: np.asarray(generator.uniform(0.01, 0.2, shape), np.float32)
        for name, shape in tensor_shapes(layout, architecture).items()
    }
    safetensors.numpy.save_file(tensors, file)


@pytest.fixture
def files(tmp_path):
    """The weights of each, and an image."""
    generator = np.random.default_rng(0)
    for layout, networks in TINY_NETWORKS.items():
        for name, architecture in networks.items():
            save(tmp_path / f"{name}.safetensors", layout, architecture)
    pixels = generator.integers(0, 255, (45, 70, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), pixels)
    return tmp_path


def command(files, layout="smp", name="Unet_tiny", **options):
    """A command line; an option of None is left out."""
    settings = {
        "layout": layout,
        "arch": name,
        "weights": files / f"{name}.safetensors",
        "workdir": files / "run",
    } | options
    words = [
        (f"--{key}", str(value)) for key, value in settings.items() if value is not None
    ]
    return ["import", *(word for pair in words for word in pair)]


def refused(capsys, argv):
    """Runs it; returns the one line it ended in."""
    assert main([str(word) for word in argv]) == 2
    error = capsys.readouterr().err
    *_, error = error.splitlines()  # drawing the data is told above it
    assert error.startswith("resseg: error: ")
    return error


def test_the_folder_holds_the_weights_and_says_where_from(files, capsys):
    assert main(command(files, classes=SHAPES, data="shapes")) == 0
    out = capsys.readouterr().out
    assert "Unet_tiny of smp" in out and "7 classes: background, disc" in out
    run = resseg.open_run(files / "run")
    assert run.classes == tuple(SHAPES.split(","))
    assert run.config.model.head.channels == (8, 8, 8, 8, 8)
    source = json.loads((files / "run" / "imported.json").read_text())
    assert source["architecture"] == "Unet_tiny"
    assert source["weights"] == "Unet_tiny.safetensors"
    assert len(source["sha256"]) == 64
    assert run.environment["command"]
    variables = run.variables()
    tensors = safetensors.numpy.load_file(files / "Unet_tiny.safetensors")
    kernel = variables["params"]["head"]["decoder1"]["conv1"]["conv"]["kernel"]
    wanted = tensors["decoder.blocks.0.conv1.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, wanted)
    block = variables["paths"]["backbone"]["stage1"]["block1"]
    assert block["fork"]["shortcut"] == 1.0
    assert [path.name for path in files.iterdir() if path.name.startswith(".")] == []


def test_it_predicts_and_its_weights_start_a_training(files):
    assert main(command(files, classes=SHAPES)) == 0
    run = files / "run"
    assert main(["predict", str(run), str(files), "--out", str(files / "out")]) == 0
    mask = cv2.imread(str(files / "out" / "photo.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (45, 70)
    config = load_config(run, {"init.variables_from": str(run)})
    start = initial.load(config, Blueprint.of(config, 7).variables, shapes.CLASSES)
    assert start is not None
    assert start.random == [] and start.unused == []


@pytest.mark.slow
def test_it_is_evaluated_and_trained(files, capsys, tiny_overrides):
    assert main(command(files, classes=SHAPES)) == 0
    run, tuned = files / "run", files / "tuned"
    changes = tiny_overrides | {"train.steps": 1, "optim.learning_rate": 1e-9}
    # The network is the one that was imported.
    changes = {key: x for key, x in changes.items() if not key.startswith("model.")}
    overrides = [f"--config.{key}={_text(value)}" for key, value in changes.items()]
    start = ["--config", str(run), "--workdir", str(tuned), "--init-from", str(run)]
    assert main(["train", *start, *overrides]) == 0
    kernels = [
        resseg.open_run(folder).variables()["params"]["backbone"]["stem"]["conv"]
        for folder in (run, tuned)
    ]
    np.testing.assert_allclose(kernels[1]["kernel"], kernels[0]["kernel"], atol=1e-6)
    capsys.readouterr()
    assert main(["evaluate", str(run), "--data", "shapes"]) == 0
    assert "weights of step 0" in capsys.readouterr().out


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def test_torchvisions_21_classes_have_the_names_of_voc(files):
    assert main(command(files, "torchvision", "fcn_tiny")) == 0
    run = resseg.open_run(files / "run")
    assert run.classes == tuple(VOC) and len(VOC) == 21
    assert VOC[15] == "person" and [VOC[0], *sorted(VOC[1:])] == VOC
    assert run.config.model.aux.weight == 0.5
    assert "aux" in run.variables()["params"]


def test_classes_have_numbers_where_nobody_names_them(files):
    assert main(command(files)) == 0
    classes = resseg.open_run(files / "run").classes
    assert classes == tuple(f"class{i}" for i in range(7))


def test_a_backbone_goes_under_a_head_and_nowhere_else(files, capsys):
    assert main(command(files, "timm", "tiny")) == 0
    assert "config.init.backbone_from=" in capsys.readouterr().out
    run = files / "run"
    overrides = {
        **LAYOUTS["timm"].overrides(BACKBONE),
        "model.head.name": "unet",
        "init.backbone_from": str(run),
    }
    config = load_config(BASE, overrides)
    start = initial.load(config, Blueprint.of(config, 7).variables, shapes.CLASSES)
    assert start is not None
    assert start.random == [] and start.unused == []
    assert len(start.arrays) == len(tensors_of_backbone())
    for argv in (
        ["evaluate", run],
        ["predict", run, files / "photo.png", "--out", files / "out"],
    ):
        assert "backbone without a segmentation head" in refused(capsys, argv)
    assert not (files / "out").exists()


def tensors_of_backbone():
    names = tensor_shapes("timm", BACKBONE)
    counted = [name for name, shape in names.items() if shape]
    return [name for name in counted if not name.startswith("fc.")]


def test_nobody_trains_in_the_folder_itself(files, capsys):
    assert main(command(files)) == 0
    run = files / "run"
    message = refused(capsys, ["train", "--config", run, "--workdir", run])
    assert "holds imported weights" in message and "--init-from" in message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layout": "tim"}, "--layout='tim': choose from torchvision, timm, smp (did"),
        ({"arch": "Unet_tinny"}, "did you mean 'Unet_tiny'?"),
        ({"arch": "Unet_resnet18"}, "encoder.conv1.weight: expected shape (64, 3, 7"),
        ({"weights": "none.npz"}, "none.npz: no such file"),
        ({"classes": "background,cell"}, "2 names, the weights have 7 class scores"),
        ({"classes": "none.txt"}, "no such file"),
        ({"layout": None}, "--layout"),
    ],
)
def test_wrong_options_write_nothing(files, capsys, options, says):
    assert says in refused(capsys, command(files, **options))
    assert not (files / "run").exists()


def test_a_truncated_file_writes_nothing(files, capsys):
    file = files / "Unet_tiny.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "Unet_tiny.safetensors: damaged" in refused(capsys, command(files))
    assert not (files / "run").exists()


def test_a_failure_half_way_leaves_nothing(files, monkeypatch):
    def fail(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr("resseg.interop.run.checkpoints.save_variables", fail)
    before = sorted(files.iterdir())
    with pytest.raises(RuntimeError):
        main(command(files))
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("content", ["config.json", "notes.txt"])
def test_a_folder_in_use_is_left_alone(files, capsys, content):
    run = files / "run"
    run.mkdir()
    (run / content).write_text("{}")
    assert "choose another folder" in refused(capsys, command(files))
    assert [path.name for path in run.iterdir()] == [content]


def test_an_empty_folder_will_do(files):
    (files / "run").mkdir()
    assert main(command(files)) == 0
    assert resseg.open_run(files / "run").steps == [0]


def test_one_score_is_no_segmentation(files, capsys):
    """A sigmoid has no background class; a softmax over one score says nothing."""
    one = Architecture(**TINY, head="unet", num_classes=1, decoder=(8, 8, 8, 8, 8))
    save(files / "Unet_tiny.safetensors", "smp", one)
    assert "1 class scores, expected 2 to 255" in refused(capsys, command(files))
