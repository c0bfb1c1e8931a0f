"""Images whose rows lie on several devices: a train step is that of one device."""

import signal
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from tiny import tiny_shapes, two_stages

from resseg import load_config, open_run, sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.trace import trace
from resseg.config.heads import HEADS
from resseg.data.pipeline import TrainLoader
from resseg.data.sources import dataset_spec
from resseg.inference.evaluator import Evaluator
from resseg.training import losses
from resseg.training.program import Programs
from resseg.training.run import train_and_evaluate
from resseg.training.steps import init_state, make_train_step
from resseg.training.stops import Stop, Stopped

QUICKSTART = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"

CLASSES = 3
AUX = {"aux.weight": 0.4}
NETWORKS = {
    "unet": AUX | {"backbone.stem": "deep", "backbone.output_stride": 16},
    "resunet": {},
    "fcn": {"shortcut.transition": "A"},
    "fcn16s": {"norm": "group"},
    "deeplabv3": {"backbone.block": "bottleneck", "shortcut.transition": "D"},
    "deeplabv3plus": AUX | {"head.separable": True, "backbone.output_stride": 2},
    "fpn": {"head.norm": "group"},
    "pspnet": AUX | {"head.align_corners": True},
    # Behind batch norms the gradients of their biases would be rounding alone.
    "linknet": {"norm": "group"},
    "unetplusplus": {},
    "pan": {"norm": "group"},
    "manet": {},
    "upernet": {},
    "lraspp": {},
}


def batch(shape):
    draw = np.random.default_rng(0)
    label = draw.integers(0, CLASSES, shape[:3]).astype(np.int32)
    label[0, : shape[1] // 2] = 255
    return {"image": draw.normal(size=shape).astype(np.float32), "label": label}


def begin(model, traced, optimizer):
    draw = np.random.default_rng(1)

    def value(path, leaf):
        fan_in = max(np.prod(leaf.shape[:-1]), 1)
        around = float(path[-1].key in ("scale", "var"))
        return (around + draw.normal(size=leaf.shape) / fan_in**0.5).astype(leaf.dtype)

    shapes = jax.eval_shape(
        lambda variables: init_state(variables, optimizer, ema=False),
        {"batch_stats": {}} | dict(traced.variables),
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return zeros.replace(
        params=jax.tree_util.tree_map_with_path(value, shapes.params),
        batch_stats=jax.tree.map(np.ones_like, zeros.batch_stats),
        paths=traced.paths(),
        numbers={"aux_weight": np.float32(0.4)},
    )


def stepped(model, shape, data, space):
    """What a step of gradient descent leaves, and its log."""
    mesh, traced = sharding.make_mesh(data, space), trace(model, shape)
    whole, split = sharding.replicated(mesh), sharding.by_batch(mesh)
    optimizer = optax.sgd(1.0)
    step = make_train_step(
        model.clone(split=split),
        lambda _: (optimizer, lambda _: 1.0),
        losses.make_loss({"cross_entropy": 1.0, "dice": 0.5}, num_classes=CLASSES),
        traced.zero_taps(),
        num_classes=CLASSES,
    )
    step = jax.jit(step, in_shardings=(whole, split, whole), out_shardings=whole)
    state = begin(model, traced, optimizer)
    put = sharding.put_batch(batch(shape), split)
    after, log = jax.device_get(step(state, put, jax.random.key(7)))
    gradients = jax.tree.map(np.subtract, state.params, after.params)
    return {"gradients": gradients, "statistics": after.batch_stats, "log": log}


def assert_close(several, one):
    """Each array to a part in a thousand of its own size."""
    assert jax.tree.structure(several) == jax.tree.structure(one)
    for (path, value), other in zip(
        jax.tree_util.tree_leaves_with_path(several), jax.tree.leaves(one), strict=True
    ):
        error = np.linalg.norm(np.subtract(value, other))
        where = jax.tree_util.keystr(path)
        assert error <= 1e-3 * np.linalg.norm(other) + 1e-6, where


def cases():
    everyday = (("unet", 2, 2),)
    for head in NETWORKS:
        for case in ((head, 1, 4), (head, 2, 2), (head, 4, 1)):
            yield pytest.param(
                *case, marks=[] if case in everyday else pytest.mark.slow
            )


@pytest.mark.parametrize(("head", "data", "space"), list(cases()))
def test_a_step_of_several_devices_is_that_of_one(head, data, space):
    model = two_stages((1, 1), CLASSES, head, **NETWORKS[head])
    # One row of the deepest stage on each device.
    stride = model.backbone.output_stride
    shape = (4, stride * space * HEADS[head].rows, 16, 3)
    assert_close(stepped(model, shape, data, space), stepped(model, shape, 1, 1))


@pytest.mark.slow
def test_a_run_on_such_a_mesh_goes_on_to_the_same_bits(tmp_path):
    """And its evaluation, of whole images on each device, is that of one device."""
    programs, stop = Programs(), Stop()
    settings = tiny_shapes(tmp_path / "data") | {
        "model.backbone.width": 8,
        "model.backbone.stage_sizes": (1, 1),
        "model.backbone.stage_strides": (2, 2),
        "model.backbone.output_stride": 4,
        "model.head.name": "fcn",
        "train.steps": 3,
        "checkpoint.every": 1,
        "log.every": 1,
    }

    def trained(name, data, space, stop=None):
        config = load_config(
            QUICKSTART, settings | {"mesh.data": data, "mesh.space": space}
        )
        scores = train_and_evaluate(config, tmp_path / name, programs, stop)
        return scores, open_run(tmp_path / name)

    draw = TrainLoader.__next__

    def draw_and_stop(loader):
        stop.ask(signal.SIGTERM)
        return draw(loader)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainLoader, "__next__", draw_and_stop)
        with pytest.raises(Stopped, match="stopped at step 1 of 3"):
            trained("cut", 2, 2, stop)
    (whole, run), (again, cut) = trained("whole", 2, 2), trained("cut", 2, 2)
    assert again == whole
    assert run.environment["devices"]["mesh"] == {"data": 2, "space": 2}
    jax.tree.map(np.testing.assert_array_equal, run.variables(3), cut.variables(3))
    _, one = trained("one", 1, 1)
    losses_of = [each.metrics["loss"][0] for each in (run, one)]
    np.testing.assert_allclose(*losses_of, rtol=1e-5)
    config, step = run.config, run.variables(3)
    spec = dataset_spec(config.data)
    model = Blueprint.of(config, spec.num_classes).model
    scores = [
        Evaluator(config, model, spec, sharding.make_mesh(*mesh))(step, "val")
        for mesh in ((1, 1), (1, 4))
    ]
    np.testing.assert_equal(scores[0], scores[1])
