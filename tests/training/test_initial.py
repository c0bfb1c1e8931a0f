"""Starting from the weights of another run, or from its backbone alone."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import traverse_util

import resseg
from resseg.blueprint.blueprint import Blueprint
from resseg.data.shapes import CLASSES
from resseg.errors import UserError
from resseg.runs import layout
from resseg.training import initial, recipe, run
from resseg.training.steps import init_state

QUICKSTART = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"


STRUCTURE = {
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.output_stride": 4,
    "model.backbone.width": 8,
    "data.crop": (32, 32),
    "optim.learning_rate": 1e-12,  # the weights stay what they were loaded as
    "optim.weight_decay": 0.0,
    "train.steps": 1,
}


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    return STRUCTURE | {
        "data.dir": str(tmp_path_factory.mktemp("data")),
        "data.batch_size": 4,
        "data.eval_batch_size": 4,
        "data.shapes.train_images": 4,
        "data.shapes.val_images": 4,
        "data.shapes.size": (32, 48),
        "eval.predictions": 0,
        "log.gradients.every": 0,
        "mesh.data": 1,
    }


@pytest.fixture(scope="module")
def source(overrides, tmp_path_factory):
    """A run of the same network with other weights."""
    folder = tmp_path_factory.mktemp("runs") / "source"
    config = resseg.load_config(QUICKSTART, overrides | {"seed": 7})
    run.train_and_evaluate(config, folder)
    return folder


def params(folder):
    return traverse_util.flatten_dict(resseg.open_run(folder).variables(), sep="/")


def test_a_run_starts_from_all_weights_of_another(overrides, source, tmp_path, capsys):
    settings = overrides | {"init.variables_from": str(source), "optim.ema": 0.5}
    folder = tmp_path / "run"
    run.train_and_evaluate(resseg.load_config(QUICKSTART, settings), folder)
    ours, theirs = params(folder), params(source)
    assert ours.keys() == theirs.keys()
    for path, leaf in theirs.items():
        if path.startswith("params/"):
            np.testing.assert_allclose(ours[path], leaf, atol=1e-6, err_msg=path)
    assert f"weights from {source}, step 1: " in capsys.readouterr().out
    record = json.loads((folder / layout.INITIAL).read_text())
    assert record["random"] == record["unused"] == []
    assert len(record["loaded"]) == sum(not p.startswith("paths/") for p in theirs)


def shapes(settings, classes=CLASSES):
    config = resseg.load_config(QUICKSTART, STRUCTURE | settings)
    return config, Blueprint.of(config, len(classes)).variables, classes


def test_the_backbone_alone_goes_under_another_head(source):
    key = {"init.backbone_from": str(source), "model.head.name": "fcn"}
    loaded = initial.load(*shapes(key, classes=CLASSES[:3]))
    assert loaded.step == 1 and not loaded.random
    assert all(path.split("/")[1] == "backbone" for path in loaded.arrays)
    wanted = {
        path
        for path in params(source)
        if "/backbone/" in path and not path.startswith("paths/")
    }
    assert set(loaded.arrays) == wanted


def test_class_scores_start_anew_where_the_number_of_classes_differs(source):
    loaded = initial.load(
        *shapes({"init.variables_from": str(source)}, classes=CLASSES[:3])
    )
    assert loaded.random == [
        "params/head/classifier/conv/bias",
        "params/head/classifier/conv/kernel",
    ]
    text = "\n".join(loaded.lines())
    assert "at random: params/head/classifier/conv/bias" in text


@pytest.mark.parametrize(
    "classes", [tuple(reversed(CLASSES)), (*CLASSES[:6], "comet"), CLASSES]
)
def test_class_scores_start_anew_where_they_would_be_of_other_classes(source, classes):
    loaded = initial.load(*shapes({"init.variables_from": str(source)}, classes))
    scores = [path for path in loaded.random if "classifier" in path]
    if classes == CLASSES:
        assert loaded.random == [] and loaded.note == ""
    else:
        assert len(scores) == len(loaded.random) == 2
        assert "the classes there are background, disc" in loaded.lines()[-1]


def test_only_what_is_loaded_is_replaced(source):
    config, *_ = shapes({"init.variables_from": str(source)})
    blueprint = Blueprint.of(config, 3)
    optimizer, _ = recipe.build_optimizer(config)
    drawn = jax.device_put(blueprint.draw(jax.random.key(0)))
    variables = drawn | {"paths": blueprint.paths(config)}
    state = init_state(variables, optimizer, ema=True)
    loaded = initial.load(config, blueprint.variables, CLASSES[:3])
    begun = loaded.put_into(state)
    kernel = begun.params["head"]["classifier"]["conv"]["kernel"]
    np.testing.assert_array_equal(
        kernel, state.params["head"]["classifier"]["conv"]["kernel"]
    )
    np.testing.assert_array_equal(
        begun.ema["backbone"]["stem"]["conv"]["kernel"],
        params(source)["params/backbone/stem/conv/kernel"],
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model.backbone.width": 16, "init.backbone_from": ""},
            "expected .*found .*",
        ),
        (
            {"model.backbone.stage_sizes": (2, 1), "init.backbone_from": ""},
            "holds another network: .*stage1/block2.*found no such array",
        ),
        (
            {"model.shortcut.kind": "none", "init.backbone_from": ""},
            "holds another network, this one lacks: .*shortcut/conv",
        ),
        (
            {"model.head.name": "fcn", "init.variables_from": ""},
            "holds another network",
        ),
    ],
)
def test_weights_of_another_network_are_refused(source, settings, message):
    settings = {
        key: str(source) if key.startswith("init.") else value
        for key, value in settings.items()
    }
    with pytest.raises(UserError, match=message) as caught:
        initial.load(*shapes(settings))
    assert "\n" not in str(caught.value) and "config.init." in str(caught.value)


def test_a_source_that_is_no_run_is_refused_before_anything_is_written(
    overrides, tmp_path
):
    settings = overrides | {"init.variables_from": str(tmp_path / "nowhere")}
    config = resseg.load_config(QUICKSTART, settings)
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=r"config\.init\.variables_from=.*nowhere"):
        run.train_and_evaluate(config, folder)
    assert not list(folder.iterdir())
    both = {"init.variables_from": "a", "init.backbone_from": "b"}
    with pytest.raises(UserError, match=r"config\.init\.backbone_from='b'"):
        resseg.load_config(QUICKSTART, both)
