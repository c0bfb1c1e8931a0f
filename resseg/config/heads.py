"""The heads: one row each, and all that rules, network and converters ask of it.

Without jax: a row says where the network stands, and who builds it imports it. Another
head is a module with its network and a row here.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from resseg.architecture import spell_out

Stages = tuple[str, ...]  # stage1, stage2, …

CONCAT, ADD = "concat", "add"
DECODER: Mapping[str, str] = {"channels": "decoder"}
PYRAMID: Mapping[str, str] = dict.fromkeys(("width", "rates", "separable"), "pyramid")


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
        pyramid: it has a pyramid of dilated branches.
        keys: those of `model.head` that not every head reads, and what a head lacks
            that does not; there they must stay at their defaults.
    """

    network: str
    stages: int = 1
    skips: Callable[[Stages], tuple[str, ...]] = lambda stages: ()
    joins: tuple[str, ...] = ()
    decodes: bool = False
    residual: bool = False
    pyramid: bool = False
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _all_but_the_deepest(stages: Stages) -> tuple[str, ...]:
    return ("stem", *stages[:-1])


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
        keys=DECODER,
    ),
    "resunet": Head(
        "resseg.models.heads.unet:ResUNet",
        skips=_all_but_the_deepest,
        joins=(CONCAT, ADD),
        decodes=True,
        residual=True,
        keys=DECODER,
    ),
    "deeplabv3": Head(
        "resseg.models.heads.deeplab:DeepLabV3", pyramid=True, keys=PYRAMID
    ),
    "deeplabv3plus": Head(
        "resseg.models.heads.deeplab:DeepLabV3Plus",
        stages=2,
        skips=lambda stages: ("stage1",),
        joins=(CONCAT,),
        pyramid=True,
        keys={**PYRAMID, "convs": "such layers"},
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
