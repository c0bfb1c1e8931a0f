"""A traced network part by part: `resseg describe`."""

import dataclasses
from collections import Counter
from typing import Any, cast

import flax.linen as nn

from resseg.blueprint.receptive_field import Field
from resseg.blueprint.trace import MeasuredCall, Trace
from resseg.gradients.fork import Fork
from resseg.models.blocks import Block
from resseg.models.heads.deeplab import Pyramid
from resseg.models.heads.fcn import Upsample
from resseg.models.heads.linknet import Enlarging
from resseg.models.heads.manet import PositionAttention
from resseg.models.heads.pan import AttentionPyramid
from resseg.models.heads.pspnet import PoolingPyramid
from resseg.models.heads.unet import DecoderBlock
from resseg.models.layers import Classifier, Conv, ConvNormAct, Norm
from resseg.models.resnet import Stage, Stem, Tail
from resseg.models.shortcuts import Shortcut

_KINDS = {
    Stem: "stem",
    Stage: "stage",
    Norm: "norm",
    Conv: "conv",
    Tail: "conv",
    ConvNormAct: "conv",
    DecoderBlock: "decoder",
    Classifier: "classifier",
    Upsample: "upsampling",
    Pyramid: "pyramid",
    PoolingPyramid: "pyramid",
    AttentionPyramid: "pyramid",
    PositionAttention: "attention",
    Enlarging: "decoder",
    nn.LayerNorm: "norm",
}
_BROKEN_DOWN = (Stage, Pyramid, PoolingPyramid, AttentionPyramid)
_WHOLES = {"backbone": "backbone", "head": "head", "aux": "auxiliary"}


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a network; numbers are those of all that it contains, for one image.

    Attributes:
        name: module path.
        kind: backbone, head, auxiliary; stem, pooling, stage, basic, bottleneck, norm;
            long skip, pyramid, auxiliary (forks); conv, decoder, classifier, …
        shortcut: of a block: identity, projection, zero-padded, none; "" elsewhere.
        stride: None where resizing is involved.
        dilation: the largest of its convolutions; None if it has none.
        output: height, width, channels.
        params: learned numbers.
        macs: multiply-accumulates of convolutions.
        receptive_field: rows of the image that one row of the output sees; None behind
            resizing and means over the image.
        paths: names of the paths, if a fork opens it.
        parts: what it contains, in depth order; () = not broken down.
    """

    name: str
    kind: str
    shortcut: str
    stride: int | None
    dilation: int | None
    output: tuple[int, ...]
    params: int
    macs: int
    receptive_field: int | None
    paths: tuple[str, ...] = ()
    parts: tuple["Part", ...] = ()


@dataclasses.dataclass(frozen=True)
class Description:
    """A network at one image size.

    Attributes:
        title: head and backbone by their names.
        size: height, width of the image.
        num_classes: void not counted.
        output_stride: pixels of the image per deepest feature of the backbone.
        receptive_field: of the deepest feature of the backbone, pixels in height;
            means over the whole image left out.
        forks: where the signal parts; one per block and more.
        parts: backbone, head and perhaps auxiliary head.
    """

    title: str
    size: tuple[int, int]
    num_classes: int
    output_stride: int
    receptive_field: int
    forks: int
    parts: tuple[Part, ...]

    @property
    def params(self) -> int:
        """Learned numbers; statistics and constant factors are none."""
        return sum(part.params for part in self.parts)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions for one image."""
        return sum(part.macs for part in self.parts)

    @property
    def rows(self) -> list[Part]:
        """All parts in depth order, each before what it contains."""
        return [row for part in self.parts for row in _unfold(part)]

    @property
    def shortcuts(self) -> dict[str, int]:
        """How many blocks have which shortcut."""
        return dict(Counter(row.shortcut for row in self.rows if row.shortcut))

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the keys stay. A row with `parts` > 0 sums up rows below it."""
        rows = []
        for part in self.rows:
            row = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
            share = part.params / max(self.params, 1)
            rows.append(row | {"share": share, "parts": len(part.parts)})
        totals = {
            part.name: {"params": part.params, "macs": part.macs} for part in self.parts
        }
        return {
            "title": self.title,
            "size": self.size,
            "num_classes": self.num_classes,
            "params": self.params,
            "macs": self.macs,
            "totals": totals,
            "output_stride": self.output_stride,
            "receptive_field": self.receptive_field,
            "forks": self.forks,
            "shortcuts": self.shortcuts,
            "rows": rows,
        }


def describe(traced: Trace, title: str, num_classes: int) -> Description:
    """Describes a traced network part by part."""
    network, *inner = traced.measured
    parts = tuple(_part(traced, call) for call in _children(traced, network))
    deepest = [call for call in inner if isinstance(call.module, Stage)][-1]
    field = _known(deepest.after)
    _, height, width, _ = cast(tuple[int, ...], network.inputs)
    return Description(
        title=title,
        size=(height, width),
        num_classes=num_classes,
        output_stride=int(field.jump),
        receptive_field=int(field.size),
        forks=len(traced.forks),
        parts=parts,
    )


def _unfold(part: Part) -> list[Part]:
    return [part, *(row for inner in part.parts for row in _unfold(inner))]


def _below(traced: Trace, path: tuple[str, ...]) -> list[MeasuredCall]:
    """The call at `path` and all calls inside it."""
    return [call for call in traced.measured if call.path[: len(path)] == path]


def _children(traced: Trace, parent: MeasuredCall) -> list[MeasuredCall]:
    """Calls directly inside `parent` that learn, or where the signal parts."""
    depth = len(parent.path) + 1
    learning = {path[:depth] for path in traced.parameters}
    return [
        call
        for call in _below(traced, parent.path)
        if len(call.path) == depth
        and (call.path in learning or isinstance(call.module, Fork))
        and call.path[-1] != "fork"
    ]


def _part(traced: Trace, call: MeasuredCall) -> Part:
    inner = _below(traced, call.path)
    whole = len(call.path) == 1
    parts: list[Part] = []
    if whole or isinstance(call.module, _BROKEN_DOWN):
        parts = _parts(traced, call)
    output, field = call.output, call.after
    if isinstance(call.module, Fork):
        output, field = call.inputs, call.before
    elif output is None:  # the backbone: its deepest feature
        stages = [c for c in inner if isinstance(c.module, Stage | Tail)]
        output, field = stages[-1].output, stages[-1].after
    forks = [c.module for c in inner if c.path in (call.path, (*call.path, "fork"))]
    paths = [fork.paths for fork in forks if isinstance(fork, Fork)]
    dilations = [
        c.module.dilation
        for c in inner
        if isinstance(c.module, Conv) and "shortcut" not in c.path
    ]
    length = len(call.path)
    sizes = traced.parameters.items()
    return Part(
        name="/".join(call.path),
        kind=_WHOLES[call.path[0]] if whole else _kind(call),
        shortcut=_shortcut(inner) if isinstance(call.module, Block) else "",
        stride=_stride(call.before, field),
        dilation=max(dilations, default=None),
        output=tuple(output or ())[1:],
        params=sum(size for path, size in sizes if path[:length] == call.path),
        macs=sum(c.macs for c in inner),
        receptive_field=_rows(field),
        paths=paths[0] if paths else (),
        parts=tuple(parts),
    )


def _parts(traced: Trace, call: MeasuredCall) -> list[Part]:
    """Parts of `call`; pooling has no module and shows between two that have."""
    parts: list[Part] = []
    before: MeasuredCall | None = None
    for child in _children(traced, call):
        if isinstance(child.module, Stage) and before and before.after != child.before:
            stride, output = _stride(before.after, child.before), child.inputs or ()
            name, rows = f"{call.path[0]}/pool", _rows(child.before)
            parts.append(
                Part(name, "pooling", "", stride, None, output[1:], 0, 0, rows)
            )
        parts.append(_part(traced, child))
        if isinstance(child.module, Stem | Stage):
            before = child
    return parts


def _kind(call: MeasuredCall) -> str:
    module = call.module
    if isinstance(module, Fork):
        return module.kind.replace("_", " ")
    if isinstance(module, Block):
        return module.style.block
    return _KINDS.get(type(module), type(module).__name__.lower())


def _shortcut(inner: list[MeasuredCall]) -> str:
    """What the shortcut of a block does, by the calls inside the block."""
    shortcuts = [call for call in inner if isinstance(call.module, Shortcut)]
    if not shortcuts:
        return "none"
    (call,) = shortcuts
    if any(c.path == (*call.path, "conv") for c in inner):
        return "projection"
    return "identity" if call.inputs == call.output else "zero-padded"


def _known(field: Field | None) -> Field:
    if field is None or not field.jump >= 1:
        raise ValueError("the backbone resizes its features: it has no output stride")
    return field


def _stride(before: Field | None, after: Field | None) -> int | None:
    if before is None or after is None or not (before.jump > 0 and after.jump > 0):
        return None
    return round(after.jump / before.jump)


def _rows(field: Field | None) -> int | None:
    return None if field is None or not field.jump > 0 else int(field.size)
