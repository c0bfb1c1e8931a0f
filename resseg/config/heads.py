"""The heads: one row each, and all that rules, network and converters ask of it.

Without jax: a row says where the network stands, and who builds it imports it. Another
head is a module with its network and a row here.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from resseg.architecture import nested_paths, spell_out

Stages = tuple[str, ...]  # stage1, stage2, …

CONCAT, ADD = "concat", "add"
DECODER: Mapping[str, str] = {"channels": "decoder"}
LEVELS: Mapping[str, str] = {**DECODER, "deep_supervision": "levels with scores"}
WIDTH: Mapping[str, str] = {"width": "pyramid"}
PYRAMID: Mapping[str, str] = {**WIDTH, "rates": "pyramid", "separable": "pyramid"}


@dataclasses.dataclass(frozen=True)
class Head:
    """What is known of a head.

    Attributes:
        network: `module:class` of the linen module, called with features keyed by stage
            and `train`. `resseg.blueprint.network.build_head` fills its fields by name.
        stages: the fewest that its backbone may have.
        skips: stages of the backbone -> features that it merges besides the deepest,
            shallow first.
        joins: how it can merge them, `CONCAT`, `ADD` or both.
        decodes: a decoder undoes every stride of the backbone, so that none is dilated.
        residual: the steps of the decoder are residual blocks.
        branches: stages of the backbone, and those that it merges -> branches of its
            pyramids, in the order in which `model.gradient.pyramid` lists them.
        width: channels that `model.head.width` is about, as published, where the
            backbone has a width of 64.
        rows: devices that share the height of images need a multiple of so many rows
            of the deepest stage each.
        keys: those of `model.head` that not every head reads, and what a head lacks
            that does not; there they must stay at their defaults.
    """

    network: str
    stages: int = 1
    skips: Callable[[Stages], tuple[str, ...]] = lambda stages: ()
    joins: tuple[str, ...] = ()
    decodes: bool = False
    residual: bool = False
    branches: Callable[[Stages, Stages], tuple[str, ...]] = lambda stages, skips: ()
    width: int = 0
    rows: int = 1
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _all_but_the_deepest(stages: Stages) -> tuple[str, ...]:
    return ("stem", *stages[:-1])


def _aspp(stages: Stages, skips: Stages) -> tuple[str, ...]:
    return ("conv1x1", "rate1", "rate2", "rate3", "pool")


def _levels(stages: Stages, skips: Stages) -> tuple[str, ...]:
    """Where a feature pyramid parts: deep first, the shallowest level left out."""
    return (stages[-1], *skips[:0:-1]) if skips else ()


def _pools(stages: Stages, skips: Stages) -> tuple[str, ...]:
    return ("pool1", "pool2", "pool3", "pool6", "identity")


def _nested(stages: Stages, skips: Stages) -> tuple[str, ...]:
    """What parts, once for each node that it goes to."""
    paths = nested_paths(skips).items()
    return tuple(source for source, nodes in paths for _ in nodes)


HEADS = {
    "fcn": Head("resseg.models.heads.fcn:FCN"),
    "fcn32s": Head("resseg.models.heads.fcn:SkipFCN"),
    "fcn16s": Head(
        "resseg.models.heads.fcn:SkipFCN",
        stages=2,
        skips=lambda stages: stages[-2:-1],
        joins=(ADD,),
    ),
    "fcn8s": Head(
        "resseg.models.heads.fcn:SkipFCN",
        stages=3,
        skips=lambda stages: stages[-3:-1],
        joins=(ADD,),
    ),
    "unet": Head(
        "resseg.models.heads.unet:UNet",
        skips=_all_but_the_deepest,
        joins=(CONCAT, ADD),
        decodes=True,
        keys=LEVELS,
    ),
    "resunet": Head(
        "resseg.models.heads.unet:ResUNet",
        skips=_all_but_the_deepest,
        joins=(CONCAT, ADD),
        decodes=True,
        residual=True,
        keys=LEVELS,
    ),
    "deeplabv3": Head(
        "resseg.models.heads.deeplab:DeepLabV3",
        branches=_aspp,
        width=256,
        keys=PYRAMID,
    ),
    "deeplabv3plus": Head(
        "resseg.models.heads.deeplab:DeepLabV3Plus",
        stages=2,
        skips=lambda stages: ("stage1",),
        joins=(CONCAT,),
        branches=_aspp,
        width=256,
        keys={**PYRAMID, "convs": "such layers"},
    ),
    "fpn": Head(
        "resseg.models.heads.fpn:FPN",
        stages=2,
        skips=lambda stages: stages[:-1],
        joins=(ADD,),
        branches=_levels,
        width=256,
        keys=WIDTH,
    ),
    "pspnet": Head(
        "resseg.models.heads.pspnet:PSPNet", branches=_pools, width=512, keys=WIDTH
    ),
    "linknet": Head(
        "resseg.models.heads.linknet:LinkNet",
        skips=_all_but_the_deepest,
        joins=(ADD,),
        decodes=True,
        width=32,
        keys=WIDTH,
    ),
    "unetplusplus": Head(
        "resseg.models.heads.unetplusplus:UNetPlusPlus",
        skips=_all_but_the_deepest,
        joins=(CONCAT,),
        decodes=True,
        branches=_nested,
        keys=DECODER,
    ),
    "pan": Head(
        "resseg.models.heads.pan:PAN",
        stages=2,
        skips=lambda stages: stages[:-1],
        joins=(ADD,),
        branches=lambda stages, skips: ("pool", "mid", "down", *skips[::-1]),
        width=32,
        rows=8,
        keys=WIDTH,
    ),
    "manet": Head(
        "resseg.models.heads.manet:MANet",
        skips=_all_but_the_deepest,
        joins=(CONCAT,),
        decodes=True,
        branches=lambda stages, skips: ("identity", "attention"),
        width=64,
        keys={**DECODER, **WIDTH},
    ),
    "upernet": Head(
        "resseg.models.heads.upernet:UPerNet",
        stages=2,
        skips=lambda stages: stages[:-1],
        joins=(ADD,),
        branches=lambda *of: _pools(*of) + _levels(*of),
        width=256,
        keys=WIDTH,
    ),
    "lraspp": Head(
        "resseg.models.heads.lraspp:LRASPP",
        stages=3,
        skips=lambda stages: stages[1:2],
        joins=(ADD,),
        branches=lambda stages, skips: ("conv", "gate"),
        width=128,
        keys=WIDTH,
    ),
}


def head_of(model: Any) -> Head:
    """The row of the head that `config.model` names."""
    return HEADS[model.head.name]


def own_keys() -> dict[str, str]:
    """The keys of `model.head` that some heads read, as in `Head.keys`."""
    return {key: part for head in HEADS.values() for key, part in head.keys.items()}


def skip_names(model: Any) -> tuple[str, ...]:
    """Features that a head merges besides the deepest, shallow first."""
    return head_of(model).skips(spell_out(model).stages)


def merged(model: Any) -> tuple[str, ...]:
    """Those of `skip_names` that there are: none where long skips are switched off."""
    return skip_names(model) if model.long_skip.kind != "none" else ()


def branch_names(model: Any) -> tuple[str, ...]:
    """Branches of the pyramids of a head, in the order of their coefficients."""
    return head_of(model).branches(spell_out(model).stages, merged(model))


def head_width(model: Any) -> int:
    """`model.head.width`, or what is published, in proportion to the backbone."""
    published = head_of(model).width * spell_out(model).width // 64
    return model.head.width or max(published, 1)


def decoder_channels(model: Any) -> tuple[int, ...]:
    """`model.head.channels`, or halved per level, deep first, at least 8.

    256 … 16 for ResNet-18/34/50.
    """
    plan = spell_out(model)
    top = plan.width * 2 ** (len(plan.stages) - 2)
    levels = len(plan.stages) + plan.strided_stem
    halved = tuple(max(int(top * 0.5**i), 8) for i in range(levels))
    return tuple(model.head.channels) or halved


def decoder_levels(model: Any) -> int:
    """Steps of a decoder: one per long skip, and one where the stem strides.

    0 where the head has none.
    """
    plan = spell_out(model)
    return (len(plan.stages) + plan.strided_stem) * head_of(model).decodes


def block_places(model: Any) -> tuple[str, ...]:
    """The stage of each residual block in depth order; `decoder` for a head's."""
    plan = spell_out(model)
    sizes = zip(plan.stages, plan.stage_sizes, strict=True)
    names = tuple(stage for stage, size in sizes for _ in range(size))
    return names + ("decoder",) * (decoder_levels(model) * head_of(model).residual)
