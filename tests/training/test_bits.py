"""What a run promises to the bit, at the level of optimisation that users run."""

import itertools

import jax
import numpy as np
import pytest

from resseg import sharding
from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.config import base
from resseg.gradients.fork import HAS_LOGS
from resseg.gradients.measure import by_logs, by_taps, changes_no_bit
from resseg.training import losses, optim
from resseg.training.steps import init_state, make_train_step

CLASSES, SHAPE, STEPS = 3, (8, 16, 16, 3), 3
RATES = {"deeplabv3plus": (1, 2, 3)}

pytestmark = [
    pytest.mark.bits,
    pytest.mark.skipif(
        not changes_no_bit("cpu"), reason="not what this JAX promises: see `measure`"
    ),
]


def small_model(head, dtype):
    model = base.get_config().model
    model.backbone.stage_sizes, model.backbone.stage_strides = (1, 1), (2, 2)
    model.backbone.width, model.backbone.stem = 4, "3x3"
    model.backbone.output_stride, model.head.name = 4, head
    model.head.rates, model.dtype = RATES.get(head, ()), dtype
    model.aux.weight = 0.4
    return build_segmenter(model, CLASSES)


def batch():
    draw = np.random.default_rng(0)
    label = draw.integers(0, CLASSES, SHAPE[:3]).astype(np.int32)
    label[0, :8] = 255
    return {"image": draw.normal(size=SHAPE).astype(np.float32), "label": label}


def begin(model, optimizer):
    """A state drawn on the host: to compile `init_state` takes as long as a step."""
    draw = np.random.default_rng(1)

    def value(path, leaf):
        fan_in = max(np.prod(leaf.shape[:-1]), 1)
        around = float(path[-1].key in ("scale", "var"))
        return (around + draw.normal(size=leaf.shape) / fan_in**0.5).astype(leaf.dtype)

    traced = trace(model, SHAPE)
    shapes = jax.eval_shape(
        lambda variables: init_state(variables, optimizer, ema=False),
        dict(traced.variables),
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return zeros.replace(
        params=jax.tree_util.tree_map_with_path(value, shapes.params),
        batch_stats=jax.tree.map(np.ones_like, zeros.batch_stats),
        paths=traced.paths(),
        numbers={"aux_weight": np.float32(0.4)},
    )


def train(model, *, devices=1, taps=True, measured=by_taps):
    """State after some steps, and the log of each."""
    schedule = optim.make_schedule("constant", 0.05, 10, 0, 0.9, 0.0)
    settings = {"momentum": 0.9, "b1": 0.9, "b2": 0.999, "weight_decay": 1e-4}
    optimizer = optim.make_optimizer(
        "sgd", schedule, **settings, backbone_factor=1.0, clip_norm=None
    )
    step = make_train_step(
        model,
        lambda _: (optimizer, schedule),
        losses.make_loss({"cross_entropy": 1.0}, num_classes=CLASSES),
        trace(model, SHAPE).zero_taps() if taps else {},
        num_classes=CLASSES,
        measured=measured,
    )
    mesh = sharding.make_mesh(devices)
    whole, split = sharding.replicated(mesh), sharding.by_batch(mesh)
    step = jax.jit(
        step,
        in_shardings=(whole, split, whole),
        out_shardings=whole,
        donate_argnums=0,
    )
    state, logs = jax.device_put(begin(model, optimizer), whole), []
    for _ in range(STEPS):
        state, log = step(state, sharding.put_batch(batch(), split), jax.random.key(7))
        logs.append(jax.device_get(log))
    return jax.device_get(state), logs


def assert_same_bits(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    jax.tree.map(np.testing.assert_array_equal, one, two)


EVERYDAY = (
    ("unet", 1, "float32"),
    ("fcn", 1, "bfloat16"),
    ("deeplabv3plus", 4, "bfloat16"),
)


def cases():
    """Every head, number of devices and type; most of them are slow to compile."""
    heads = ("unet", "fcn", "deeplabv3plus")
    for case in itertools.product(heads, (1, 4), ("float32", "bfloat16")):
        yield pytest.param(*case, marks=[] if case in EVERYDAY else pytest.mark.slow)


@pytest.mark.parametrize(("head", "devices", "dtype"), list(cases()))
def test_measuring_changes_no_bit_of_a_training(head, devices, dtype):
    model = small_model(head, dtype)
    on, on_logs = train(model, devices=devices)
    off, off_logs = train(model, devices=devices, taps=False)
    assert_same_bits(on, off)
    names = {fork.name for fork in trace(model, SHAPE).forks}
    for with_taps, without in zip(on_logs, off_logs, strict=True):
        assert set(with_taps.pop("forks")) == names and without.pop("forks") == {}
        assert with_taps.pop("joins") and without.pop("joins") == {}
        assert with_taps["scalars"]["loss"] == without["scalars"]["loss"]


@pytest.mark.skipif(not HAS_LOGS, reason="this JAX logs no backward pass")
def test_taps_and_logs_are_the_same_training_and_the_same_measurement():
    model = small_model("unet", "float32")
    assert_same_bits(train(model), train(model, measured=by_logs))
