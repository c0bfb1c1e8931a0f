"""Residual backbones by torch's names: torchvision's, which timm and smp share; v2."""

from collections.abc import Mapping
from typing import Any

from resseg.errors import UserError
from resseg.interop.architecture import Architecture, blocks
from resseg.interop.layers import Layer, conv, norm

Shapes = Mapping[str, tuple[int, ...]]
STAGES = 4


def resnet(architecture: Architecture, prefix: str = "") -> list[Layer]:
    """Post-activation: `conv1`, `bn1`, `layer1.0.conv1`, …, `layer1.0.downsample.0`.

    The deep stem is the sequence `conv1.0` … `conv1.6`. Behind an average pooling the
    projection has the numbers 1 and 2.
    """
    width, rows = architecture.width, []
    if architecture.variant in ("v1c", "v1d"):
        channels = (3, width // 2, width // 2, width)
        for i in range(3):
            last = f"{prefix}bn1"
            widths = channels[i : i + 2]
            rows += [
                conv(f"{prefix}conv1.{3 * i}", _stem("conv", i + 1), *widths, kernel=3),
                norm(
                    last if i == 2 else f"{prefix}conv1.{3 * i + 1}",
                    _stem("norm", i + 1),
                    channels[i + 1],
                ),
            ]
    else:
        rows += [
            conv(f"{prefix}conv1", _stem("conv"), 3, width, kernel=7),
            norm(f"{prefix}bn1", _stem("norm"), width),
        ]
    for at in blocks(architecture):
        torch = f"{prefix}layer{at.stage + 1}.{at.block}"
        path = f"backbone/stage{at.stage + 1}/block{at.block + 1}"
        for i, widths in enumerate(_convolutions(architecture, at), 1):
            rows += [
                conv(f"{torch}.conv{i}", f"{path}/branch/conv{i}", **widths),
                norm(f"{torch}.bn{i}", f"{path}/branch/norm{i}", widths["outputs"]),
            ]
        if architecture.se_reduction:
            inner = architecture.squeezed(at.outputs)
            squeeze, expand = (at.outputs, inner), (inner, at.outputs)
            se = f"{path}/branch/se"
            rows += [
                conv(f"{torch}.se.fc1", f"{se}/reduce", *squeeze, bias=True),
                conv(f"{torch}.se.fc2", f"{se}/expand", *expand, bias=True),
            ]
        if at.projects:
            first = 1 if architecture.variant == "v1d" else 0
            down, shortcut = f"{torch}.downsample", f"{path}/shortcut"
            rows += [
                conv(f"{down}.{first}", f"{shortcut}/conv", at.inputs, at.outputs),
                norm(f"{down}.{first + 1}", f"{shortcut}/norm", at.outputs),
            ]
    return rows


def resnetv2(architecture: Architecture) -> list[Layer]:
    """Pre-activation, as in timm: `stem.conv`, `stages.0.blocks.0.norm1`, …, `norm`."""
    rows = [conv("stem.conv", _stem("conv"), 3, architecture.width, kernel=7)]
    for at in blocks(architecture):
        torch = f"stages.{at.stage}.blocks.{at.block}"
        path = f"backbone/stage{at.stage + 1}/block{at.block + 1}"
        if at.projects:
            widths = (at.inputs, at.outputs)
            rows.append(
                conv(f"{torch}.downsample.conv", f"{path}/shortcut/conv", *widths)
            )
        for i, widths in enumerate(_convolutions(architecture, at), 1):
            # What the branch shares with the shortcut belongs to the block.
            shared = at.projects and i == 1
            place = f"{path}/norm" if shared else f"{path}/branch/norm{i}"
            rows += [
                norm(f"{torch}.norm{i}", place, widths["inputs"]),
                conv(f"{torch}.conv{i}", f"{path}/branch/conv{i}", **widths),
            ]
    return [*rows, norm("norm", "backbone/final", architecture.deepest)]


def read_resnet(shapes: Shapes, prefix: str = "") -> Architecture:
    """What the tensors of `resnet` say; the rest of them is not looked at."""
    stem = f"{prefix}conv1.weight"
    variant, down = "v1.5", f"{prefix}layer2.0.downsample"
    if f"{prefix}conv1.0.weight" in shapes:
        stem = f"{prefix}conv1.6.weight"
        pooled = f"{down}.2.weight" in shapes
        variant = "v1d" if pooled else "v1c"
    return _read(shapes, stem, f"{prefix}layer{{}}.{{}}.", 1, variant)


def read_resnetv2(shapes: Shapes) -> Architecture:
    """What the tensors of `resnetv2` say; the rest of them is not looked at."""
    return _read(shapes, "stem.conv.weight", "stages.{}.blocks.{}.", 0, "v2")


def telling(shapes: Shapes, name: str, rank: int = 4) -> tuple[int, ...]:
    """Shape of a tensor without which nothing can be said.

    Raises:
        UserError: it is missing, or no layer has such a shape.
    """
    if name not in shapes:
        some = ", ".join(list(shapes)[:3]) or "none"
        raise UserError(f"tensor {name} is missing; the first that are there: {some}")
    shape = shapes[name]
    if len(shape) != rank or not all(shape):
        raise UserError(f"tensor {name}: expected {rank} axes, found shape {shape}")
    return shape


def _read(
    shapes: Shapes, stem: str, pattern: str, first: int, variant: str
) -> Architecture:
    width = telling(shapes, stem)[0]
    # A stage that is missing as a whole shall be reported, not left out.
    sizes = tuple(
        max(_count(shapes, pattern, stage + first), 1) for stage in range(STAGES)
    )
    start = pattern.format(first, 0)
    settings: dict[str, Any] = {"block": "basic"}
    if f"{start}conv3.weight" in shapes:
        inner, share = telling(shapes, f"{start}conv2.weight")[:2]
        groups = max(inner // share, 1)
        group_width = inner // groups * 64 // width
        settings = {"block": "bottleneck", "groups": groups, "group_width": group_width}
    squeeze = f"{pattern.format(first + STAGES - 1, 0)}se.fc1.weight"
    if squeeze in shapes:
        inner, outer = telling(shapes, squeeze)[:2]
        settings["se_reduction"] = outer // inner
    return Architecture(sizes, variant=variant, width=width, **settings)


def _count(shapes: Shapes, pattern: str, stage: int) -> int:
    block = 0
    while f"{pattern.format(stage, block)}conv1.weight" in shapes:
        block += 1
    return block


def _convolutions(architecture: Architecture, at: Any) -> list[dict[str, Any]]:
    if architecture.block == "basic":
        first = {"inputs": at.inputs, "outputs": at.outputs, "kernel": 3}
        return [first, first | {"inputs": at.outputs}]
    inner, groups = at.inner, architecture.groups
    return [
        {"inputs": at.inputs, "outputs": inner},
        {"inputs": inner, "outputs": inner, "kernel": 3, "groups": groups},
        {"inputs": inner, "outputs": at.outputs},
    ]


def _stem(part: str, number: int | str = "") -> str:
    return f"backbone/stem/{part}{number}"
