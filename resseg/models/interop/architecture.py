"""What the names and shapes of a checkpoint say about its network."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from resseg.backbone import spell_out
from resseg.models.plan import DEPTHS, EXPANSION

SQUEEZE_MULTIPLE = 8  # inner widths of squeeze-and-excitation are multiples of it


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network of any layout.

    Attributes:
        stage_sizes: blocks per stage.
        block: basic or bottleneck.
        variant: v1.5, v1c, v1d or v2, see `resseg.models.plan.VARIANTS`.
        width: channels of the stem, and of the first stage before expansion.
        groups, group_width: of the 3x3 of a bottleneck.
        se_reduction: of squeeze-and-excitation; 0 = there is none.
        head: fcn, unet, deeplabv3, deeplabv3plus; "" = a classification network.
        num_classes: scores; 0 = a classification network without its last layer.
        aux: an auxiliary head is there.
        head_width: channels of a DeepLab pyramid.
        decoder: channels of each decoder block of a U-Net, deep first.
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

    def stage_width(self, stage: int) -> int:
        """Channels that the blocks of a stage put out; 0 is the first."""
        return self.width * 2**stage * EXPANSION[self.block]

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
    for depth, plan in DEPTHS.items():
        if plan == (architecture.stage_sizes, architecture.block):
            return depth, {}
    sizes = {"model.backbone.stage_sizes": architecture.stage_sizes}
    return (18 if architecture.block == "basic" else 50), sizes


def of_config(model: Any, params: Mapping[str, Any]) -> Architecture:
    """The architecture of `config.model`; what it does not say is read off `params`.

    Args:
        model: `config.model`.
        params: the nested params of that network, or of a classification network on
            its backbone.
    """
    plan, backbone = spell_out(model), model.backbone
    head = model.head.name if "head" in params else ""
    scores = params.get("head", params).get("classifier", {})
    kernel = scores.get("conv", scores).get("kernel")
    bottleneck = plan.block == "bottleneck"
    widened = backbone.width_factor * backbone.group_width if bottleneck else 64
    return Architecture(
        stage_sizes=plan.stage_sizes,
        block=plan.block,
        variant=backbone.variant,
        width=plan.width,
        groups=backbone.groups,
        group_width=int(widened),
        se_reduction=backbone.se_reduction,
        head=head,
        num_classes=0 if kernel is None else kernel.shape[-1],
        aux="aux" in params,
        head_width=model.head.width or 4 * plan.width,
        decoder=tuple(model.head.channels) or _decoder(plan),
    )


def _decoder(plan: Any) -> tuple[int, ...]:
    levels = len(plan.stages) + plan.strided_stem
    top = plan.width * 2 ** (len(plan.stages) - 2)
    return tuple(max(int(top * 0.5**i), 8) for i in range(levels))
