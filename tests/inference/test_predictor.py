"""What `resseg evaluate` scores is what `resseg predict` writes, to the last pixel."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from resseg import sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.config.heads import HEADS
from resseg.config.load import load_config
from resseg.data import VOID, sources
from resseg.data.pipeline import padded_batch
from resseg.inference.averaging import Averaging
from resseg.inference.ensemble import Ensemble
from resseg.inference.evaluator import Evaluator
from resseg.inference.predictor import Predictor, write_pictures
from resseg.inference.trained import Trained

CLASSES = ("background", "disc", "wire")
# Two to a batch: three of one padded size, and one of another.
SIZES = [(14, 21), (16, 24), (9, 20), (24, 11)]
# 14 sizes, in steps of the stride of `quickstart`: each has its own padded size.
MANY = [(1 + 16 * (i % 2), 5 + 16 * i) for i in range(14)]


@pytest.fixture(autouse=True, scope="module")
def every_program_is_cached():
    """The evaluator's programs and the predictor's are the same."""
    key = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, key)
    jax.config.update(key, 0)
    yield
    jax.config.update(key, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data"))
    splits = {
        name: lambda sizes=sizes: (_record(i, *size) for i, size in enumerate(sizes))
        for name, sizes in (("train", SIZES), ("val", SIZES), ("many", MANY))
    }
    sources.write_dataset(folder, "sizes", CLASSES, splits)
    return folder


def _record(index, height, width):
    rng = np.random.default_rng(index)
    mask = rng.integers(0, len(CLASSES), (height, width), dtype=np.uint8)
    mask[0, :3] = VOID
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return {"image": image, "mask": mask, "name": f"n{index:02}"}


def trained_with(head, folder):
    """A network of three stages whose every weight and statistic was drawn."""
    deeplab = head.startswith("deeplab")
    config = load_config(
        "quickstart",
        {
            "data.name": "sizes",
            "data.dir": folder,
            "data.eval_batch_size": 2,
            "data.crop": (32, 32),
            "model.head.name": head,
            "model.backbone.stem": "3x3",
            "model.backbone.stage_sizes": (1, 1, 1),
            "model.backbone.stage_strides": (2, 2, 2),
            "model.backbone.width": 4,
            "model.backbone.output_stride": 4 if deeplab else 8,
            "model.head.rates": (1, 2, 3) if deeplab else (),
        },
    )
    blueprint = Blueprint.of(config, len(CLASSES))
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(blueprint.drawing(), jax.random.key(0))
    variables = jax.tree.map(
        lambda leaf: rng.uniform(-0.5, 0.5, leaf.shape).astype(leaf.dtype),
        {"params": shapes["params"], "batch_stats": shapes["batch_stats"]},
    )
    variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    variables["paths"] = blueprint.paths(config)
    return Trained(config, CLASSES, blueprint, variables, step=1)


class SeesPadding(nn.Module):
    """Compiles fast; its scores depend on how far an image is padded."""

    @nn.compact
    def __call__(self, images, train):
        mean = images.mean((1, 2), keepdims=True)
        edges = nn.Conv(len(CLASSES), (3, 3))(images)
        return {"logits": edges + 40 * mean}


def trained_to_see_padding(folder):
    keys = {"data.name": "sizes", "data.dir": folder, "data.eval_batch_size": 2}
    config = load_config("quickstart", keys)
    model = SeesPadding()
    variables: Any = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), False)
    blueprint: Any = SimpleNamespace(model=model)
    return Trained(config, CLASSES, blueprint, variables, step=1)


def miou_of_files(folder, records):
    """From the PNG files alone, in plain numpy."""
    hits, union = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    for record in records:
        prediction = np.array(Image.open(folder / f"{record['name']}.png"))
        valid = record["mask"] != VOID
        for label in range(len(CLASSES)):
            truth = valid & (record["mask"] == label)
            guess = valid & (prediction == label)
            hits[label] += (truth & guess).sum()
            union[label] += (truth | guess).sum()
    return np.mean(hits[union > 0] / union[union > 0])


def predictor_of(trained, **averaging):
    averaging = Averaging(**averaging)
    return Predictor(Ensemble([trained], averaging, sharding.make_mesh(1)))


def check(trained, split, sizes, out, flip=False, **averaging):
    mesh = sharding.make_mesh(1)
    spec = sources.dataset_spec(trained.config.data)
    settings = {"flip": flip}
    if averaging:
        ensemble = Ensemble([trained], Averaging(flip=flip, **averaging), mesh)
        settings = {"predict": ensemble.run, "multiple": ensemble.multiple}
    evaluator = Evaluator(trained.config, trained.model, spec, mesh, **settings)
    scored = {}
    scores = evaluator(
        trained.variables,
        split,
        lambda image, label, prediction, name, sure: scored.update({name: prediction}),
    )
    records = [_record(index, *size) for index, size in enumerate(sizes)]
    predictor = predictor_of(trained, flip=flip, **averaging)
    given = (
        (planned, [records[index]["image"] for index in planned.indices])
        for planned in predictor.plan(sizes)
    )
    for batch in predictor.predict(given):
        chosen = [records[index] for index in batch.planned.indices]
        for record, mask in zip(chosen, batch.masks, strict=True):
            image, name = record["image"], record["name"]
            write_pictures(out, name, image, mask, len(CLASSES))
            np.testing.assert_array_equal(mask, scored[name])
    assert len(np.unique(np.concatenate([m.ravel() for m in scored.values()]))) > 1
    assert scores["mean_iou"] == miou_of_files(out, records)


FAST = ("fcn", "unet", "deeplabv3plus")


@pytest.mark.parametrize(
    "head",
    [
        head if head in FAST else pytest.param(head, marks=pytest.mark.slow)
        for head in HEADS
    ],
)
def test_every_head_is_scored_by_the_masks_it_writes(head, folder, tmp_path):
    check(trained_with(head, folder), "val", SIZES, tmp_path)


def test_mirrored_means_are_scored_by_the_masks_that_are_written(folder, tmp_path):
    check(trained_with("unet", folder), "val", SIZES, tmp_path, flip=True)


def test_many_sizes_are_scored_by_the_masks_that_are_written(folder, tmp_path):
    check(trained_to_see_padding(folder), "many", MANY, tmp_path)


@pytest.mark.parametrize(
    "averaging",
    [{"tile": 32}, pytest.param({"scales": (1.0, 2.0)}, marks=pytest.mark.slow)],
)
def test_means_are_scored_by_the_masks_that_are_written(folder, tmp_path, averaging):
    trained = trained_to_see_padding(folder)
    check(trained, "val", SIZES, tmp_path, flip=True, **averaging)


def test_what_else_is_predicted_changes_no_padding(folder):
    predictor = predictor_of(trained_to_see_padding(folder))
    together = {
        index: (planned.height, planned.width)
        for planned in predictor.plan(MANY)
        for index in planned.indices
    }
    assert len(set(together.values())) == len(MANY)
    for index, (height, width) in enumerate(MANY):
        (alone,) = predictor.plan([(height, width)])
        assert together[index] == (alone.height, alone.width)
        assert together[index] == (-(-height // 16) * 16, -(-width // 16) * 16)


@pytest.mark.parametrize("flip", [False, True])
def test_probabilities_are_those_of_the_masks(folder, flip):
    trained = trained_with("deeplabv3", folder)
    predictor = predictor_of(trained, flip=flip)
    images = [_record(index, 14, 21)["image"] for index in range(2)]
    (planned,) = predictor.plan([image.shape[:2] for image in images])
    (batch,) = predictor.predict([(planned, images)], probabilities=True)
    for mask, values in zip(batch.masks, batch.probabilities, strict=True):
        np.testing.assert_allclose(values.sum(-1), 1, atol=1e-5)
        np.testing.assert_array_equal(values.argmax(-1), mask)


@pytest.mark.parametrize("flip", [False, True])
def test_a_temperature_divides_the_logits(folder, flip):
    trained = trained_to_see_padding(folder)
    image = _record(0, 14, 21)["image"]
    mask, values = predicted(dataclasses.replace(trained, temperature=2.5), image, flip)
    ways = [logits_of(trained, image, mirrored) for mirrored in (False, True)]
    softmaxes = [np.asarray(jax.nn.softmax(way / 2.5)) for way in ways]
    expected = np.mean(softmaxes if flip else softmaxes[:1], axis=0)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    np.testing.assert_array_equal(mask, values.argmax(-1))
    before, unchanged = predicted(trained, image, flip)
    assert np.abs(values - unchanged).max() > 0.02
    if not flip:
        np.testing.assert_array_equal(mask, before)


def predicted(trained, image, flip):
    predictor = predictor_of(trained, flip=flip)
    (planned,) = predictor.plan([image.shape[:2]])
    (batch,) = predictor.predict([(planned, [image])], probabilities=True)
    return batch.masks[0], batch.probabilities[0]


def logits_of(trained, image, mirrored):
    """Of an image, normalised and padded as it is predicted."""
    (planned,) = predictor_of(trained).plan([image.shape[:2]])
    example = {"image": image, "mask": np.full(image.shape[:2], VOID), "name": ""}
    padded = padded_batch(planned, [example], trained.config.data)["image"]
    way = slice(None, None, -1 if mirrored else 1)
    outputs = trained.model.apply(trained.variables, padded[:, :, way], False)
    return np.asarray(outputs["logits"])[0, :, way][: image.shape[0], : image.shape[1]]
