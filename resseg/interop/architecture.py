"""What the names and shapes of a checkpoint say about its network."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from resseg.architecture import (
    DEPTHS,
    EXPANSION,
    LAYOUTS,
    VARIANTS,
    Backbone,
    spell_out,
)
from resseg.config.heads import decoder_channels, head_of, head_width
from resseg.errors import UserError, choose

STAGE_STRIDES = (1, 2, 2, 2)  # of every torch network here
SQUEEZE_MULTIPLE = 8  # inner widths of squeeze-and-excitation are multiples of it


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network of any layout.

    Attributes:
        stage_sizes: blocks per stage.
        block: basic or bottleneck.
        variant: v1.5, v1c, v1d or v2, see `resseg.architecture.VARIANTS`.
        width: channels of the stem, and of the first stage before expansion.
        groups, group_width: of the 3x3 of a bottleneck.
        se_reduction: of squeeze-and-excitation; 0 = there is none.
        head: by its name in a config; "" = a classification network.
        num_classes: scores; 0 = a classification network without its last layer.
        aux: an auxiliary head is there.
        head_width: what `model.head.width` is to its head.
        decoder: channels of each decoder block of a U-Net, deep first.
        unused: blocks of the stages that a torch network holds and never computes.
        layout: one of `resseg.architecture.LAYOUTS`; "" = a ResNet.
    """

    stage_sizes: tuple[int, ...]
    block: str
    variant: str = "v1.5"
    width: int = 64
    groups: int = 1
    group_width: int = 64
    se_reduction: int = 0
    head: str = ""
    num_classes: int = 0
    aux: bool = False
    head_width: int = 256
    decoder: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()
    layout: str = ""

    def stage_width(self, stage: int) -> int:
        """Channels that the blocks of a stage put out; 0 is the first."""
        return self.width * 2**stage * EXPANSION[self.block]

    @property
    def deepest(self) -> int:
        """Channels of the deepest feature that is computed."""
        if self.layout:
            return LAYOUTS[self.layout].tail
        return self.stage_width(len(self.stage_sizes) - 1)

    def squeezed(self, channels: int) -> int:
        """Inner width of squeeze-and-excitation, as `SqueezeExcitation` has it."""
        wanted, step = channels / self.se_reduction, SQUEEZE_MULTIPLE
        inner = max(step, int(wanted + step / 2) // step * step)
        return inner + step * (inner < 0.9 * wanted)


class BlockWidths(NamedTuple):
    """Channels at the parts of one block; stage and block count from 0."""

    stage: int
    block: int
    inputs: int
    inner: int
    outputs: int
    projects: bool


def blocks(architecture: Architecture) -> Iterator[BlockWidths]:
    """The blocks in depth order."""
    inputs = architecture.width
    for stage, size in enumerate(architecture.stage_sizes):
        outputs = architecture.stage_width(stage)
        inner = outputs
        if architecture.block == "bottleneck":
            planes = outputs // EXPANSION["bottleneck"]
            inner = int(planes * architecture.group_width / 64) * architecture.groups
        for block in range(size):
            strides = block == 0 and stage > 0
            projects = strides or inputs != outputs
            yield BlockWidths(stage, block, inputs, inner, outputs, projects)
            inputs = outputs


def named_depth(architecture: Architecture) -> tuple[int, dict[str, Any]]:
    """The depth that has these stages, and what else a config must say of them.

    Where no depth has them, 18 or 50 with its stages spelled out.
    """
    computed, held = architecture.stage_sizes, architecture.unused
    sizes: dict[str, Any] = {"model.backbone.stage_sizes": computed}
    if held:
        sizes["model.backbone.stage_strides"] = STAGE_STRIDES[: len(computed)]
    for depth, plan in DEPTHS.items():
        if plan == ((*computed, *held), architecture.block):
            return depth, sizes if held else {}
    return (18 if architecture.block == "basic" else 50), sizes


def of_config(model: Any, params: Mapping[str, Any]) -> Architecture:
    """The architecture of `config.model`; its classes are read off `params`.

    Args:
        model: `config.model`.
        params: the nested params of that network, or of a classification network on
            its backbone.

    Raises:
        UserError: no variant of a ResNet has this backbone.
    """
    plan, backbone = spell_out(model), model.backbone
    if backbone.layout:
        return _of_layout(plan, model, params)
    stages = len(plan.stage_strides)
    if plan.stage_strides != STAGE_STRIDES[:stages]:
        strides = plan.stage_strides
        raise UserError(f"stage strides are {strides}, expected {STAGE_STRIDES}")
    choose("block", plan.block, ("basic", "bottleneck"))
    bottleneck = plan.block == "bottleneck"
    widened = backbone.width_factor * backbone.group_width if bottleneck else 64
    shared = Architecture(
        stage_sizes=plan.stage_sizes,
        block=plan.block,
        variant=_variant(plan),
        width=plan.width,
        groups=backbone.groups,
        group_width=int(widened),
        se_reduction=backbone.se_reduction,
        aux="aux" in params,
        unused=DEPTHS[backbone.depth][0][stages:],
    )
    if "head" not in params:
        kernel = _find(params, "classifier", "kernel")
        return dataclasses.replace(shared, num_classes=_last(kernel))
    keys = head_of(model).keys
    return dataclasses.replace(
        shared,
        head=model.head.name,
        num_classes=_last(_find(params, "head", "classifier", "conv", "kernel")),
        head_width=head_width(model),
        decoder=decoder_channels(model) if "channels" in keys else (),
    )


def laid_out(name: str, num_classes: int = 0) -> Architecture:
    """The classification network of a layout."""
    widths, block = LAYOUTS[name].widths, LAYOUTS[name].block
    sizes = tuple(map(len, widths))
    return Architecture(sizes, block, num_classes=num_classes, layout=name)


def _of_layout(plan: Backbone, model: Any, params: Mapping[str, Any]) -> Architecture:
    name = model.backbone.layout
    if "head" in params:
        raise UserError(
            f"head {model.head.name!r} on {name!r}, expected a classification network"
        )
    if (plan.order, plan.transition) != ("linear", "none"):
        raise UserError(
            f"order {plan.order!r} and transition {plan.transition!r}, expected "
            f"'linear' and 'none' of {name!r}"
        )
    classes = _last(_find(params, "classifier", "kernel"))
    return laid_out(name, classes)


def _variant(plan: Backbone) -> str:
    """The variant that says what the config spells out."""
    for name in ("v1.5", "v1c", "v1d", "v2"):
        order, stem, stride_on, transition = VARIANTS[name]
        same = (order, stem, transition) == (plan.order, plan.stem, plan.transition)
        if same and (plan.block == "basic" or plan.stride_on == stride_on):
            return name
    raise UserError(
        f"order {plan.order!r}, stem {plan.stem!r}, stride on {plan.stride_on!r} and "
        f"transition {plan.transition!r} are of no variant that torch networks have"
    )


def _find(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name, {})
    return tree


def _last(kernel: Any) -> int:
    """Output channels; 0 where there is no such kernel."""
    return kernel.shape[-1] if hasattr(kernel, "shape") else 0
