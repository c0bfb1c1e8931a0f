"""What both sides of `benchmarks.step` share; no jax, no torch."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

CLASSES = 21
RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4  # of SGD, on both sides


class Network(NamedTuple):
    """One row.

    Attributes:
        title: for the table.
        layout: of which library it is: torchvision or smp, whose weights both sides
            share; ours, for a config of resseg that torch has as `torch_networks`.
        name: within that library, or of the config.
        side: of the images, in pixels.
        batch: images of a train step; inference sees one.
        dtype: that convolutions compute in; weights are float32 (in torch: autocast).
    """

    title: str
    layout: str
    name: str
    side: int
    batch: int
    dtype: str = "float32"


_V3 = "DeepLabV3 ResNet-50, stride 8 (torchvision)"
_V3_PLUS = "DeepLabV3+ ResNet-50, stride 16, separable (smp)"
NETWORKS = {
    "unet": Network("U-Net ResNet-18 (smp)", "smp", "Unet_resnet18", 128, 8),
    "v3": Network(_V3, "torchvision", "deeplabv3_resnet50", 256, 2),
    "v3plus": Network(_V3_PLUS, "smp", "DeepLabV3Plus_resnet50", 256, 4),
    "fcn": Network(
        "FCN ResNet-50, stride 8 (torchvision)", "torchvision", "fcn_resnet50", 256, 2
    ),
    "nuclei": Network("U-Net of nuclei/unet", "ours", "nuclei/unet", 128, 8),
}
# What an accelerator is measured by: large enough to fill one.
NETWORKS |= {
    "unet_large": NETWORKS["unet"]._replace(side=256, batch=64, dtype="bfloat16"),
    "v3plus_large": NETWORKS["v3plus"]._replace(side=512, batch=32, dtype="bfloat16"),
}
LARGE = tuple(name for name in NETWORKS if name.endswith("_large"))
SMALL = tuple(name for name in NETWORKS if name not in LARGE)


def answer(step: Callable[[], Any], said: dict[str, Any]) -> None:
    """Says that a side is ready, then steps as often as each line asks.

    Args:
        step: begins one step and gives a number to be, which `float` waits for; called
            once before. An accelerator is given step after step, as in training, and
            the last is waited for.
        said: about the side, for the first line, with what the first step gave.
    """
    print(json.dumps({"first": float(step())} | said), flush=True)
    for line in sys.stdin:
        steps, began = int(line), time.perf_counter()
        for _ in range(steps):
            last = step()
        float(last)
        print((time.perf_counter() - began) / steps, flush=True)
