"""What network a config describes: `resseg describe`. Traced, never computed."""

import dataclasses
from collections import Counter
from typing import Any

from resseg.architecture import DEPTHS, spell_out
from resseg.blueprint.network import build_segmenter
from resseg.gradients.fork import Fork
from resseg.models.blocks import Block
from resseg.models.heads.deeplab import Pyramid
from resseg.models.heads.fcn import Upsample
from resseg.models.heads.unet import DecoderBlock
from resseg.models.inventory import Call, Inventory, take_inventory
from resseg.models.layers import Classifier, Conv, ConvNormAct, Norm
from resseg.models.receptive_field import Field
from resseg.models.resnet import Stage, Stem
from resseg.models.shortcuts import Shortcut

_KINDS = {
    Stem: "stem",
    Stage: "stage",
    Norm: "norm",
    Conv: "conv",
    ConvNormAct: "conv",
    DecoderBlock: "decoder",
    Classifier: "classifier",
    Upsample: "upsampling",
    Pyramid: "pyramid",
}
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


def describe_model(config: Any, size: tuple[int, int], num_classes: int) -> Description:
    """Describes the network of a config.

    Args:
        config: as `load_config` returns it.
        size: height, width of the image.
        num_classes: void not counted.
    """
    inventory = take_inventory(build_segmenter(config.model, num_classes), size)
    wholes = _children(inventory, inventory.calls[0])
    parts = tuple(_part(inventory, call) for call in wholes)
    deepest = [call for call in inventory.calls if isinstance(call.module, Stage)][-1]
    field = _known(deepest.after)
    return Description(
        title=_title(config.model),
        size=size,
        num_classes=num_classes,
        output_stride=int(field.jump),
        receptive_field=int(field.size),
        forks=sum(isinstance(call.module, Fork) for call in inventory.calls),
        parts=parts,
    )


def _unfold(part: Part) -> list[Part]:
    return [part, *(row for inner in part.parts for row in _unfold(inner))]


def _title(model: Any) -> str:
    plan, backbone = spell_out(model), model.backbone
    name = f"ResNet-{backbone.depth}"
    if (plan.stage_sizes, plan.block) != DEPTHS[backbone.depth]:
        name = f"ResNet of {plan.stage_sizes} {plan.block} blocks"
    return f"{model.head.name} on {name} ({backbone.variant}, width {plan.width})"


def _below(inventory: Inventory, path: tuple[str, ...]) -> list[Call]:
    """The call at `path` and all calls inside it."""
    return [call for call in inventory.calls if call.path[: len(path)] == path]


def _children(inventory: Inventory, parent: Call) -> list[Call]:
    """Calls directly inside `parent` that learn, or where the signal parts."""
    depth = len(parent.path) + 1
    learning = {path[:depth] for path in inventory.parameters}
    return [
        call
        for call in _below(inventory, parent.path)
        if len(call.path) == depth
        and (call.path in learning or isinstance(call.module, Fork))
        and call.path[-1] != "fork"
    ]


def _part(inventory: Inventory, call: Call) -> Part:
    inner = _below(inventory, call.path)
    whole = len(call.path) == 1
    parts: list[Part] = []
    if whole or isinstance(call.module, Stage | Pyramid):
        parts = _parts(inventory, call)
    output, field = call.output, call.after
    if isinstance(call.module, Fork):
        output, field = call.inputs, call.before
    elif output is None:  # the backbone: its deepest feature
        stages = [c for c in inner if isinstance(c.module, Stage)]
        output, field = stages[-1].output, stages[-1].after
    forks = [c.module for c in inner if c.path in (call.path, (*call.path, "fork"))]
    paths = [fork.paths for fork in forks if isinstance(fork, Fork)]
    dilations = [
        c.module.dilation
        for c in inner
        if isinstance(c.module, Conv) and "shortcut" not in c.path
    ]
    length = len(call.path)
    sizes = inventory.parameters.items()
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


def _parts(inventory: Inventory, call: Call) -> list[Part]:
    """Parts of `call`; pooling has no module and shows between two that have."""
    parts: list[Part] = []
    before: Call | None = None
    for child in _children(inventory, call):
        if isinstance(child.module, Stage) and before and before.after != child.before:
            stride, output = _stride(before.after, child.before), child.inputs or ()
            name, rows = f"{call.path[0]}/pool", _rows(child.before)
            parts.append(
                Part(name, "pooling", "", stride, None, output[1:], 0, 0, rows)
            )
        parts.append(_part(inventory, child))
        if isinstance(child.module, Stem | Stage):
            before = child
    return parts


def _kind(call: Call) -> str:
    module = call.module
    if isinstance(module, Fork):
        return module.kind.replace("_", " ")
    if isinstance(module, Block):
        return module.style.block
    return _KINDS.get(type(module), type(module).__name__.lower())


def _shortcut(inner: list[Call]) -> str:
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
