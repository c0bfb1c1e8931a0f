"""EfficientNet-B0 by torchvision's names."""

from typing import Any

from resseg.architecture import LAYOUTS
from resseg.interop.layers import Layer, conv, norm
from resseg.interop.mobilenet import EXPANSION, pair


def efficientnet_b0() -> list[Layer]:
    """`features.0` to `features.8`: a stage is blocks of one width, also of one stride.

    The first block, which does not expand, is the end of the stem here.
    """
    layout = LAYOUTS["efficientnet_b0"]
    first, inputs = layout.stem
    rows = [
        *_pair("features.0", "backbone/stem", 1, 3, first, 3),
        *_pair("features.1.0.block.0", "backbone/stem", 2, first, first, 3, first),
        *_squeezed("features.1.0.block.1", "backbone/stem/se", first, first // 4),
        *_pair("features.1.0.block.2", "backbone/stem", 3, first, inputs),
    ]
    place, number, before = 1, 0, 0
    for stage, widths in enumerate(layout.widths, 1):
        for block, outputs in enumerate(widths, 1):
            place, number = (place, number + 1) if outputs == before else (place + 1, 0)
            torch = f"features.{place}.{number}.block"
            path = f"backbone/stage{stage}/block{block}/branch"
            inner, side = EXPANSION * inputs, layout.kernels[stage - 1][block - 1]
            rows += [
                *_pair(f"{torch}.0", path, 1, inputs, inner),
                *_pair(f"{torch}.1", path, 2, inner, inner, side, inner),
                *_squeezed(f"{torch}.2", f"{path}/se", inner, inputs // 4),
                *_pair(f"{torch}.3", path, 3, inner, outputs),
            ]
            inputs = before = outputs
    last = f"features.{place + 1}"
    return [
        *rows,
        conv(f"{last}.0", "backbone/tail/conv", inputs, layout.tail),
        norm(f"{last}.1", "backbone/tail/norm", layout.tail),
    ]


def _pair(torch: str, *settings: Any) -> list[Layer]:
    """Both are one in torch."""
    return pair(f"{torch}.0", f"{torch}.1", *settings)


def _squeezed(torch: str, path: str, channels: int, inner: int) -> list[Layer]:
    return [
        conv(f"{torch}.fc1", f"{path}/reduce", channels, inner, bias=True),
        conv(f"{torch}.fc2", f"{path}/expand", inner, channels, bias=True),
    ]
