"""Deep supervision and mixup: what a train step differentiates, by value."""

import jax
import numpy as np
import pytest

from resseg import sharding
from resseg.config.load import load_config
from resseg.data import DatasetSpec
from resseg.errors import UserError
from resseg.training import objective, recipe
from resseg.training.program import Programs

SPEC = DatasetSpec("random", ("a", "b", "c"), {})
KEYS = {
    "data.crop": (16, 16),
    "data.batch_size": 4,
    "model.norm": "none",  # nothing joins the images of a batch
    "model.backbone.depth": 10,
    "model.backbone.width": 4,
    "model.backbone.stem": "3x3",
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.output_stride": 4,
    "model.head.name": "unet",
    "model.head.deep_supervision": 0.25,
    "optim.schedule": "constant",
    "optim.warmup_steps": 0,
}


def batch():
    draw = np.random.default_rng(0)
    return {
        "image": draw.normal(size=(4, 16, 16, 3)).astype(np.float32),
        "label": draw.integers(0, 3, (4, 16, 16)).astype(np.int32),
    }


def configured(**keys):
    named = {name.replace("__", "."): value for name, value in keys.items()}
    return load_config("base", KEYS | named)


def cross_entropy(logits, label):
    """Mean over pixels, in float64."""
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(logs, label[..., None], -1).mean()


PROGRAMS = Programs()  # runs that differ in numbers share one
STEPS = {}


class Stepped:
    """One train step on one device, and what it began from."""

    def __init__(self, config):
        mesh = sharding.make_mesh(1)
        self.program = PROGRAMS(config, SPEC, mesh)
        self.before = self.program.begin(config)
        put = sharding.put_batch(batch(), sharding.by_batch(mesh))
        if self.program not in STEPS:
            STEPS[self.program] = jax.jit(self.program.train_step)
        self.step = STEPS[self.program]
        self.after, self.log = self.step(self.before, put, jax.random.key(7))

    def outputs(self):
        """What the network put out at first."""
        model = self.program.blueprint.model
        return jax.jit(model.apply)(self.before.variables(), batch()["image"])


@pytest.fixture(scope="module")
def supervised():
    return Stepped(configured())


def test_each_level_counts_half_of_the_next_finer_one(supervised):
    outputs, label = supervised.outputs(), batch()["label"]
    assert set(outputs) == {"logits", "level1"}
    each = {name: cross_entropy(scores, label) for name, scores in outputs.items()}
    scalars = supervised.log["scalars"]
    assert scalars["levels"] == pytest.approx(each["level1"], rel=1e-5)
    expected = each["logits"] + 0.25 * each["level1"]
    assert scalars["loss"] == pytest.approx(expected, rel=1e-5)

    def loss(logits, label):
        return logits.sum(), {"loss_pixels": 1}

    scores = {f"level{i}": np.full(1, 10.0**i) for i in (1, 2, 3)}
    value, terms = objective.total_loss(
        loss, {"logits": np.ones(1), **scores}, {"label": None}, {"level_weight": 3.0}
    )
    assert terms["levels"] == 10 + 100 / 2 + 1000 / 4
    assert value == 1 + 3 * terms["levels"]


def test_what_a_level_sends_back_is_a_path_that_can_be_cut(supervised):
    name = "head/auxiliary_decoder1"
    fork = supervised.log["forks"][name]
    assert float(fork.total_square) > 0
    without = Stepped(configured(model__gradient__aux=0.0))
    cut = without.log["forks"][name]
    shares = {
        kind: np.asarray(jax.tree.leaves(each)[0], float)
        for kind, each in (("kept", fork), ("cut", cut))
    }
    assert np.all(shares["cut"][0] == 0) and np.any(shares["kept"][0] != 0)
    plain = Stepped(configured(model__head__deep_supervision=0.0))
    assert "levels" not in plain.log["scalars"]
    for part in ("backbone/stage1/block1", "backbone/stage2/block1"):
        one, two = (run.log["blocks"]["gradients"][part] for run in (without, plain))
        assert float(one) == pytest.approx(float(two), rel=1e-5)
        assert float(supervised.log["blocks"]["gradients"][part]) != float(two)


def test_levels_cost_a_convolution_each(supervised):
    plain = configured(model__head__deep_supervision=0.0)
    fewer = PROGRAMS(plain, SPEC, sharding.make_mesh(1)).blueprint.params
    channels = supervised.before.params["head"]["score_decoder1"]["kernel"].shape[2]
    assert supervised.program.blueprint.params == fewer + 3 * channels + 3


def test_mixed_images_count_for_both_labels():
    config = configured(data__mixup=0.4, model__head__deep_supervision=0.0)
    stepped = Stepped(config)
    key = jax.random.fold_in(jax.random.key(7), 0)  # of the first step
    numbers = recipe.numbers(config)
    shown = objective.mixed_up(batch(), key, numbers)
    share = float(shown["share"])
    assert 0.5 <= share < 1
    image, label = batch()["image"], batch()["label"]
    other = np.roll(label, -1, axis=0)
    mixed = share * image + (1 - share) * np.roll(image, -1, axis=0)
    np.testing.assert_allclose(shown["image"], mixed, rtol=1e-5, atol=1e-6)
    model = stepped.program.blueprint.model
    outputs = jax.jit(model.apply)(stepped.before.variables(), mixed)
    logits = outputs["logits"]
    expected = share * cross_entropy(logits, label)
    expected += (1 - share) * cross_entropy(logits, other)
    assert stepped.log["scalars"]["loss"] == pytest.approx(expected, rel=1e-5)
    # The confusion matrix is of the labels that count more.
    predicted = np.asarray(logits).argmax(-1)
    hits = [np.sum((label == c) & (predicted == c)) for c in range(3)]
    np.testing.assert_array_equal(np.diag(stepped.log["confusion"]), hits)


def test_shares_are_drawn_from_the_beta_distribution():
    """E max(l, 1 - l) of Beta(1, 1), which is uniform, is 3/4."""
    small = {"image": np.zeros((2, 1, 1, 3)), "label": np.zeros((2, 1, 1), int)}
    draw = jax.jit(
        lambda key, alpha: objective.mixed_up(small, key, {"mixup": alpha})["share"]
    )
    keys = jax.random.split(jax.random.key(0), 400)
    mean = np.mean(jax.vmap(draw, (0, None))(keys, 1.0))
    assert mean == pytest.approx(0.75, abs=0.03)
    wide = np.mean(jax.vmap(draw, (0, None))(keys, 0.1))
    assert wide > 0.9
    assert objective.mixed_up(small, keys[0], {}) is small


def test_the_other_label_has_pixels_of_its_own():
    """Void of one image is not void where the other one lies over it."""

    def loss(logits, label):
        valid = label != 255
        return (logits * valid).sum() / valid.sum(), {"loss_pixels": valid.sum()}

    logits, label = np.array([1.0, 2.0, 3.0]), np.array([0, 255, 255])
    mixed = {"label": label, "other": np.array([255, 0, 0]), "share": 0.75}
    value, terms = objective.total_loss(loss, {"logits": logits}, mixed, {})
    assert value == 0.75 * 1.0 + 0.25 * 2.5
    assert terms["loss_pixels"] == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"model.head.name": "fcn"},
            "config.model.head.deep_supervision=0.25: head 'fcn' has no levels with",
        ),
        (
            {"data.mixup": 0.2, "train.accumulate": 2},
            "config.data.mixup=0.2: parts of a batch count by the pixels of one label",
        ),
        ({"data.mixup": -1.0}, "config.data.mixup=-1.0: expected 0 or above"),
    ],
)
def test_what_cannot_be_is_named(keys, message):
    with pytest.raises(UserError) as error:
        load_config("base", KEYS | keys)
    assert str(error.value).startswith(message)
