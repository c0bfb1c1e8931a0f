"""Every head, and blocks of every kind, in every format: `docs/export.md`."""

import dataclasses

import jax
import numpy as np
import pytest
from runs_without_training import CLASSES

from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.export.comparison import TOLERANCE, Difference, alone
from resseg.export.formats import FORMATS
from resseg.export.network import ExportedNetwork
from resseg.inference.trained import Trained
from resseg.runs.calibration import Calibration

pytestmark = pytest.mark.slow

SMALL = {
    "model.backbone.depth": 10,
    "model.backbone.width": 8,
    "model.head.name": "unet",
    "data.crop": (64, 64),
    "data.name": "none",
}
HEADS = (
    *("fcn", "fcn32s", "fcn16s", "fcn8s", "unet", "resunet", "deeplabv3"),
    *("deeplabv3plus", "fpn", "pspnet", "linknet", "unetplusplus", "pan", "manet"),
    *("upernet", "lraspp"),
)
DEEPER = {"model.backbone.depth": 18}
NETWORKS = {
    **{head: {"model.head.name": head} for head in HEADS},
    "group norm": {"model.norm": "group"},
    "no norm": {"model.norm": "none"},
    "streams": {**DEEPER, "model.shortcut.streams": 2},
    "doubly stochastic streams": {
        **DEEPER,
        "model.shortcut.streams": 2,
        "model.shortcut.mixing": "doubly_stochastic",
    },
    "mbconv": {"model.backbone.block": "mbconv"},
    "ghost": {"model.backbone.block": "ghost"},
    "inverted": {"model.backbone.block": "inverted"},
    "depthwise": {"model.backbone.block": "depthwise"},
    "mobilenetv2": {
        **DEEPER,
        "model.backbone.width": 0,
        "model.backbone.layout": "mobilenetv2",
    },
    "bottleneck, ResNeXt": {"model.backbone.depth": 50, "model.backbone.groups": 4},
    "squeeze and excitation": {"model.backbone.se_reduction": 4},
    "v1d": {"model.backbone.variant": "v1d"},
    "v2": {"model.backbone.variant": "v2"},
    "CIFAR, zero-padded": {
        "model.backbone.depth": 20,
        "model.backbone.width": 8,
        "model.shortcut.transition": "A",
    },
    "gates": {"model.shortcut.kind": "gate_exclusive"},
    "gated long skips": {"model.long_skip.kind": "gate"},
    "weight standardisation": {
        "model.norm": "group",
        "model.weight_standardization": True,
    },
    "orthogonal": {**DEEPER, "model.branch.orthogonal": "image"},
    "first features": {**DEEPER, "model.shortcut.first": 0.5},
    "shake-shake": {"model.branch.shake": "shake_shake"},
    "aligned corners": {
        "model.head.name": "pspnet",
        "model.head.align_corners": True,
    },
    "dilated, separable": {
        "model.head.name": "deeplabv3plus",
        "model.head.separable": True,
        "model.backbone.output_stride": 16,
    },
    "bfloat16": {"model.dtype": "bfloat16"},
}
PACKAGES = {
    "onnx": "onnxruntime",
    "tflite": "litert_converter",
}
SIZE = (70, 90)
IMAGE = np.random.default_rng(7).integers(0, 256, (1, *SIZE, 3), np.uint8)


def moved(leaf, rng):
    """Statistics, scales and biases, none of which is 0 or 1 any more."""
    return np.asarray(leaf + 0.1 * np.abs(rng.normal(size=leaf.shape)), np.float32)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A network with all its weights moved, at a temperature that leaves it unsure."""
    config = load_config("base", {**SMALL, **NETWORKS[request.param]})
    blueprint, rng = Blueprint.of(config, len(CLASSES)), np.random.default_rng(1)
    variables = jax.tree.map(
        lambda leaf: leaf if leaf.ndim > 1 else moved(leaf, rng),
        blueprint.draw(jax.random.key(1)),
    ) | {"paths": blueprint.paths(config)}
    found = Trained(config, CLASSES, blueprint, variables, 1)
    _, logits = jax.jit(ExportedNetwork(found, scores="logits").__call__)(IMAGE)
    return dataclasses.replace(found, temperature=float(np.std(logits)))


@pytest.mark.parametrize("name", FORMATS)
def test_a_network_in_a_format(network, name, tmp_path):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    each = FORMATS[name]
    fitted = Calibration(1, network.temperature, "none", "val", 1)
    size = SIZE if each.needs_size else None
    exported = ExportedNetwork(network, calibration=fitted, size=size)
    each.write(exported, tmp_path / each.file)
    classes, values = each.load(tmp_path / each.file)(IMAGE)
    wanted = alone(exported.in_single if each.single else network)(IMAGE[0])
    difference = Difference(TOLERANCE)
    difference.add(wanted, classes[0], values[0])
    assert difference.fault == ""
    assert (wanted.probabilities.max(-1) < 0.95).mean() > 0.1
    print(f"largest difference {difference.largest:.2g}, {difference.flips} flips")
