"""Trainings side by side with torch: loss, gradient norm, both sides of every fork.

Where torch is installed: pip install -e '.[interop]'. A few run with the everyday
tests, all of them with `make test-slow`.
"""

import contextlib
import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from resseg.architecture import spell_out
from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.config.heads import skip_names
from resseg.config.load import load_config
from resseg.training import losses, optim
from resseg.training.steps import init_state, make_train_step

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed", allow_module_level=True)

import torch_by_hand

pytestmark = pytest.mark.filterwarnings("ignore")

# A batch norm sees one value an image in the pyramid: fewer than 8 amplify rounding.
CLASSES, SHAPE, STEPS = 4, (8, 32, 32, 3), 20
SETTINGS = {"rate": 0.02, "momentum": 0.9, "weight_decay": 1e-3, "aux_weight": 0.4}
SMALL = {
    "model.backbone.stage_sizes": (2, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.width": 4,
    "model.backbone.stem": "3x3",
    "data.crop": SHAPE[1:3],
}
THREE = {
    "model.backbone.stage_sizes": (1, 1, 1),
    "model.backbone.stage_strides": (1, 2, 2),
}
BACKWARD = {
    "model.gradient.shortcut": (0.5, 0.8, 1.2),
    "model.gradient.branch_in": (0.7, 1.1, 0.6),
    "model.gradient.branch_out": (1.3, 0.9, 0.8),
    "model.gradient.bypass": (0.25, 0.0, 0.5),
}
DILATED = {"model.head.rates": (1, 2, 3), "model.backbone.output_stride": 2}
ARCHITECTURES = {
    "U-Net": {},
    "scaled backward": {**BACKWARD, "model.gradient.long_skip": (0.5, 2.0)},
    "full pre-activation": {"model.backbone.order": "pre"},
    "bottlenecks, 7x7, FCN and its auxiliary head": {
        "model.backbone.block": "bottleneck",
        "model.backbone.stem": "7x7",
        "model.head.name": "fcn",
        "model.aux.weight": SETTINGS["aux_weight"],
    },
    "batch norm after the sum": {"model.backbone.order": "bn_after_add"},
    "ReLU only before, skips added": {
        "model.backbone.order": "relu_only_pre",
        "model.long_skip.kind": "add",
        "model.long_skip.scale": (0.5, 0.25),
    },
    "Highway": {
        "model.shortcut.kind": "gate_exclusive",
        "model.shortcut.gate_bias": -1.0,
        "model.long_skip.kind": "gate",
    },
    "gated shortcut, transition A": {
        "model.shortcut.kind": "gate_shortcut",
        "model.shortcut.gate_bias": -1.0,
        "model.shortcut.transition": "A",
        "model.branch.scale": (0.5, 0.7, 0.9),
    },
    "ResNet-D": {
        "model.backbone.variant": "v1d",
        "model.backbone.stem": "deep",
        "model.shortcut.scale": (0.9, 0.8, 1.1),
    },
    "residual decoder, group norm": {
        "model.head.name": "resunet",
        "model.norm": "group",
    },
    "DeepLabV3+": {
        **DILATED,
        "model.head.name": "deeplabv3plus",
        "model.gradient.pyramid": (0.5, 0.6, 0.7, 0.8, 0.9),
    },
    "DeepLabV3, separable, with auxiliary head": {
        **DILATED,
        "model.head.name": "deeplabv3",
        "model.head.separable": True,
        "model.aux.weight": SETTINGS["aux_weight"],
        "model.gradient.aux": 0.5,
    },
    "FCN-8s, ReLU before the sum": {
        **THREE,
        "model.head.name": "fcn8s",
        "model.backbone.order": "relu_before_add",
    },
}
EVERYDAY = ("scaled backward", "Highway", "DeepLabV3+")


@contextlib.contextmanager
def wide():
    """Networks say float32 where they mean it; here it is float64."""
    with pytest.MonkeyPatch.context() as patched, jax.enable_x64(True):
        patched.setattr(jnp, "float32", jnp.float64)
        yield


def drawn(shapes, dtype):
    """Weights by path, of He's deviation; norms and biases around their starts."""
    draw, values = np.random.default_rng(0), {}
    for path, leaf in flatten_dict(dict(shapes), sep="/").items():
        fan_in = max(np.prod(leaf.shape[:-1]), 1)
        start = float(path.endswith("scale"))
        size = (2 / fan_in) ** 0.5 if leaf.ndim == 4 else 0.1
        values[path] = (start + size * draw.normal(size=leaf.shape)).astype(dtype)
    return values


def batch(dtype):
    draw = np.random.default_rng(1)
    label = draw.integers(0, CLASSES, SHAPE[:3]).astype(np.int32)
    label[0, :8] = 255
    return {"image": draw.normal(size=SHAPE).astype(dtype), "label": label}


def nested(flat):
    return unflatten_dict({tuple(path.split("/")): x for path, x in flat.items()})


def ours(config, traced, params, dtype, steps):
    """Per step: loss, norm of the gradient, sums of squares by fork and path."""
    schedule = optim.make_schedule("constant", SETTINGS["rate"], steps, 0, 0.9, 0.0)
    optimizer = optim.make_optimizer(
        "sgd",
        schedule,
        momentum=SETTINGS["momentum"],
        b1=0.9,
        b2=0.999,
        weight_decay=SETTINGS["weight_decay"],
        backbone_factor=1.0,
        clip_norm=None,
    )
    model = build_segmenter(with_dtype(config.model, dtype), CLASSES)
    if model.aux is not None:  # it drops a tenth, whatever a config says
        model = model.clone(aux=model.aux.clone(dropout=0.0))
    cast = functools.partial(jax.tree.map, lambda x: np.asarray(x, dtype))
    step = make_train_step(
        model,
        lambda _: (optimizer, schedule),
        losses.make_loss({"cross_entropy": 1.0}, num_classes=CLASSES),
        cast(traced.zero_taps()),
        num_classes=CLASSES,
    )
    shapes = dict(traced.variables.get("batch_stats", {}))
    variables = {
        "params": nested(params),
        "batch_stats": jax.tree.map(lambda leaf: np.ones(leaf.shape, dtype), shapes),
        "paths": cast(traced.paths()),
    }
    state = init_state(variables, optimizer, ema=False)
    weight = np.asarray(SETTINGS["aux_weight"], dtype)
    state, run = state.replace(numbers={"aux_weight": weight}), jax.jit(step)
    for _ in range(steps):
        state, log = run(state, batch(dtype), jax.random.key(0))
        log = jax.device_get(log)
        squares = {
            f"{fork.name} {path}": square
            for fork in traced.forks
            for path, square in zip(
                fork.paths, log["forks"][fork.name].squares, strict=True
            )
        }
        scalars = log["scalars"]
        yield scalars["loss"], scalars["grad_norm"], squares


def with_dtype(model, dtype):
    model = model.copy_and_resolve_references()
    with model.unlocked():
        model.dtype = np.dtype(dtype).name
    return model


def apart(one, two):
    """Largest relative difference of two steps."""
    assert one[2].keys() == two[2].keys()
    names = sorted(one[2])
    pairs = [
        [*step[:2], *(step[2][name] ** 0.5 for name in names)] for step in (one, two)
    ]
    first, second = np.asarray(pairs, np.float64)
    assert (second > 0).all()
    return np.max(np.abs(first - second) / second)


CASES = [
    pytest.param(name, marks=[] if name in EVERYDAY else pytest.mark.slow)
    for name in ARCHITECTURES
]


@pytest.mark.parametrize("name", CASES)
def test_twenty_steps_are_those_of_torch(name):
    """The first in float64 to 1e-10 and in float32 to 1e-4; the last to 1e-8.

    Training amplifies rounding, by a factor of 1e6 in 20 steps where it was measured.
    """
    settings = {"model.head.dropout": 0.0}
    config = load_config("base", SMALL | settings | ARCHITECTURES[name])
    plan = spell_out(config.model)
    traced = trace(build_segmenter(config.model, CLASSES), SHAPE)
    paths = {k: float(x) for k, x in flatten_dict(traced.paths(), sep="/").items()}
    aux = plan.stages[-2] if config.model.aux.weight else ""

    def theirs(dtype, steps):
        training = torch_by_hand.Training(
            plan,
            config.model,
            drawn(traced.variables["params"], dtype),
            paths,
            skip_names(config.model),
            aux,
            SETTINGS,
        )
        given = batch(dtype)
        for _ in range(steps):
            yield training.step(given["image"], given["label"])

    def both(dtype, steps):
        params = drawn(traced.variables["params"], dtype)
        mine = ours(config, traced, params, dtype, steps)
        return [apart(*pair) for pair in zip(mine, theirs(dtype, steps), strict=True)]

    with wide():
        found = both(np.float64, STEPS)
    assert found[0] < 1e-10
    assert max(found) < 1e-8
    assert both(np.float32, 1)[0] < 1e-4
