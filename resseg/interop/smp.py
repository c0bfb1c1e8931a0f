"""The layout of segmentation_models.pytorch: encoder, decoder, scores.

A row of `HEADS` is all that is known of one of its networks. By names and shapes alone:
what a decoder is told otherwise (merging by concatenation, attention) changes them, and
is refused for it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from resseg.errors import UserError
from resseg.interop import backbones, heads, smp_decoders
from resseg.interop.architecture import Architecture
from resseg.interop.backbones import STAGES, Shapes, telling
from resseg.interop.layers import Layer

PSP_STAGES = 2  # of a PSPNet, unless it is told another depth


class SmpHead(NamedTuple):
    """One network.

    Attributes:
        name: of its class.
        sign: a tensor that it alone has; "" = it is known by having none of them.
        layers: of decoder and scores.
        settings: config keys that names and shapes do not tell.
        width: a tensor whose first axis is `model.head.width`.
        decoder: the same of each level of a decoder, with its number.
        defaults: what `Architecture` says of it where nothing else is known.
    """

    name: str
    sign: str
    layers: Callable[[Architecture], list[Layer]]
    settings: Mapping[str, Any] = {"model.backbone.output_stride": 0}
    width: str = ""
    decoder: str = ""
    defaults: Mapping[str, Any] = {}


def layers(architecture: Architecture) -> list[Layer]:
    """`encoder.`, `decoder.`, `segmentation_head.0`."""
    computed = len(architecture.stage_sizes)
    sizes = architecture.stage_sizes + architecture.unused
    whole = dataclasses.replace(architecture, stage_sizes=sizes)
    unused = tuple(f"backbone/stage{i + 1}/" for i in range(computed, len(sizes)))
    rows = [
        row._replace(path="") if row.path.startswith(unused) else row
        for row in backbones.resnet(whole, "encoder.")
    ]
    return rows + HEADS[architecture.head].layers(architecture)


def read(shapes: Shapes) -> Architecture:
    """The head is known by a tensor of its own; without one it is a Unet."""
    known = backbones.read_resnet(shapes, "encoder.")
    name = next((name for name in HEADS if HEADS[name].sign in shapes), "unet")
    head = HEADS[name]
    settings: dict[str, Any] = {"head": name}
    if head.width:
        settings["head_width"] = telling(shapes, head.width)[0]
    if head.decoder:
        levels = map(head.decoder.format, range(STAGES + 1))
        settings["decoder"] = tuple(telling(shapes, level)[0] for level in levels)
    settings["num_classes"] = telling(shapes, f"{smp_decoders.SCORES}.weight")[0]
    if name == "pspnet":
        joined = telling(shapes, head.width)[1]
        widths = [2 * known.stage_width(stage) for stage in range(STAGES)]
        if joined not in widths:
            raise UserError(
                f"tensor {head.width}: expected one of {widths} inputs, found {joined}"
            )
        computed = widths.index(joined) + 1
        settings["stage_sizes"] = known.stage_sizes[:computed]
        settings["unused"] = known.stage_sizes[computed:]
    return dataclasses.replace(known, **settings)


def on(name: str, encoder: Architecture) -> Architecture:
    """A network with its default widths."""
    computed = PSP_STAGES if name == "pspnet" else STAGES
    sizes = encoder.stage_sizes
    return dataclasses.replace(
        encoder,
        head=name,
        stage_sizes=sizes[:computed],
        unused=sizes[computed:],
        **HEADS[name].defaults,
    )


_UNDILATED = {"model.backbone.output_stride": 0}
_PYRAMID = {"model.head.rates": heads.RATES, "model.head.dropout": 0.5}
_WIDTHS = {"decoder": (256, 128, 64, 32, 16)}

HEADS = {
    "unet": SmpHead(
        "Unet",
        "",
        smp_decoders.unet,
        decoder="decoder.blocks.{}.conv1.0.weight",
        defaults=_WIDTHS,
    ),
    "deeplabv3": SmpHead(
        "DeepLabV3",
        "decoder.aspp.convs.0.0.weight",
        smp_decoders.deeplabv3,
        _PYRAMID | {"model.backbone.output_stride": 8},
        width="decoder.aspp.convs.0.0.weight",
    ),
    "deeplabv3plus": SmpHead(
        "DeepLabV3Plus",
        "decoder.aspp.0.convs.0.0.weight",
        smp_decoders.deeplabv3plus,
        {
            **_PYRAMID,
            "model.backbone.output_stride": 16,
            "model.head.separable": True,
            "model.head.convs": (1, 1),
        },
        width="decoder.aspp.0.convs.0.0.weight",
    ),
    "fpn": SmpHead(
        "FPN",
        "decoder.p5.weight",
        smp_decoders.fpn,
        _UNDILATED | {"model.head.norm": "group", "model.head.dropout": 0.2},
        width="decoder.p5.weight",
    ),
    "pspnet": SmpHead(
        "PSPNet",
        "decoder.psp.blocks.0.pool.1.0.weight",
        smp_decoders.pspnet,
        _UNDILATED | {"model.head.dropout": 0.2},
        width="decoder.conv.0.weight",
        defaults={"head_width": 512},
    ),
    "linknet": SmpHead(
        "Linknet",
        "decoder.blocks.0.block.0.0.weight",
        smp_decoders.linknet,
        _UNDILATED,
        width="decoder.blocks.4.block.2.0.weight",
        defaults={"head_width": 32},
    ),
    "unetplusplus": SmpHead(
        "UnetPlusPlus",
        "decoder.blocks.x_0_0.conv1.0.weight",
        smp_decoders.unetplusplus,
        _UNDILATED,
        decoder="decoder.blocks.x_0_{}.conv1.0.weight",
        defaults=_WIDTHS,
    ),
    "pan": SmpHead(
        "PAN",
        "decoder.fpa.branch1.1.conv.weight",
        smp_decoders.pan,
        {"model.backbone.output_stride": 16},
        width="decoder.fpa.branch1.1.conv.weight",
        defaults={"head_width": 32},
    ),
    "manet": SmpHead(
        "MAnet",
        "decoder.center.top_conv.weight",
        smp_decoders.manet,
        _UNDILATED,
        width="decoder.center.top_conv.weight",
        decoder="decoder.blocks.{}.conv1.0.weight",
        defaults=_WIDTHS | {"head_width": 64},
    ),
    "upernet": SmpHead(
        "UPerNet",
        "decoder.feature_norms.0.weight",
        smp_decoders.upernet,
        _UNDILATED,
        width="decoder.fusion_block.0.weight",
        defaults={"head_width": 256},
    ),
}
