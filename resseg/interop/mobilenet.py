"""MobileNetV2 by torchvision's names."""

from resseg.architecture import LAYOUTS, multiple_of_8
from resseg.interop.layers import Layer, conv, norm

EXPANSION = 6


def mobilenetv2() -> list[Layer]:
    """`features.0` … `features.18`: convolution, norm and ReLU6 are one in torch.

    The first block, which does not expand, is the end of the stem here.
    """
    layout = LAYOUTS["mobilenetv2"]
    first, inputs = map(multiple_of_8, layout.stem)
    rows = [
        *pair("features.0.0", "features.0.1", "backbone/stem", 1, 3, first, 3),
        *pair(
            "features.1.conv.0.0",
            "features.1.conv.0.1",
            "backbone/stem",
            2,
            first,
            first,
            3,
            first,
        ),
        *pair(
            "features.1.conv.1", "features.1.conv.2", "backbone/stem", 3, first, inputs
        ),
    ]
    place = 2
    for stage, widths in enumerate(layout.widths, 1):
        for block, outputs in enumerate(widths, 1):
            torch = f"features.{place}.conv"
            path = f"backbone/stage{stage}/block{block}/branch"
            inner = EXPANSION * inputs
            rows += [
                *pair(f"{torch}.0.0", f"{torch}.0.1", path, 1, inputs, inner),
                *pair(f"{torch}.1.0", f"{torch}.1.1", path, 2, inner, inner, 3, inner),
                *pair(f"{torch}.2", f"{torch}.3", path, 3, inner, outputs),
            ]
            inputs, place = outputs, place + 1
    last = f"features.{place}"
    return [
        *rows,
        conv(f"{last}.0", "backbone/tail/conv", inputs, layout.tail),
        norm(f"{last}.1", "backbone/tail/norm", layout.tail),
    ]


def pair(
    torch: str,
    torch_norm: str,
    path: str,
    number: int,
    inputs: int,
    outputs: int,
    kernel: int = 1,
    groups: int = 1,
) -> list[Layer]:
    """Convolution and norm of a number, in a stem or in the branch of a block."""
    return [
        conv(torch, f"{path}/conv{number}", inputs, outputs, kernel, groups),
        norm(torch_norm, f"{path}/norm{number}", outputs),
    ]
