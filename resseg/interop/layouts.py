"""The layouts: how torchvision, timm and segmentation_models.pytorch name their layers.

Names and shapes do not tell output stride, dilations and the like: those are the
libraries' own, said here.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from resseg.config.heads import HEADS
from resseg.interop import backbones, efficientnet, heads, mobilenet, smp
from resseg.interop.architecture import Architecture, laid_out, named_depth
from resseg.interop.backbones import Shapes, telling
from resseg.interop.layers import Layer, conv_norm


@dataclasses.dataclass(frozen=True)
class Layout:
    """A library's way to name layers.

    Attributes:
        layers: the table of an architecture.
        read: what names and shapes say; raises UserError where they say nothing.
        settings: head -> config keys that names and shapes do not tell.
        architectures: those that the command line knows, by the library's name.
        variants: of its backbones.
        squeezes: whether squeeze-and-excitation is among them.
        shortened: heads whose networks may do without the last stages.
        families: backbones besides ResNets, of `resseg.architecture.LAYOUTS`.
    """

    layers: Callable[[Architecture], list[Layer]]
    read: Callable[[Shapes], Architecture]
    settings: Mapping[str, Mapping[str, Any]]
    architectures: Mapping[str, Architecture]
    variants: tuple[str, ...] = ("v1.5",)
    squeezes: bool = False
    shortened: tuple[str, ...] = ()
    families: tuple[str, ...] = ()

    def overrides(self, architecture: Architecture) -> dict[str, Any]:
        """Config keys that make the network of `architecture`."""
        if architecture.layout:
            of = {"backbone.layout": architecture.layout, "head.name": "fcn"}
            named = {f"model.{key}": value for key, value in of.items()}
            return named | {"model.aux.weight": 0.0} | dict(self.settings[""])
        depth, sizes = named_depth(architecture)
        backbone = {"depth": depth, "variant": architecture.variant}
        for name in ("width", "groups", "group_width", "se_reduction"):
            backbone[name] = getattr(architecture, name)
        overrides = {f"model.backbone.{key}": x for key, x in backbone.items()}
        overrides |= sizes
        # A classification network is loaded under a head without long skips.
        overrides["model.head.name"] = head = architecture.head or "fcn"
        keys = HEADS[head].keys
        if "width" in keys:
            overrides["model.head.width"] = architecture.head_width
        if "channels" in keys:
            overrides["model.head.channels"] = architecture.decoder
        overrides["model.aux.weight"] = 0.5 if architecture.aux else 0.0
        return overrides | dict(self.settings[architecture.head])


_FAMILIES = {
    "mobilenetv2": mobilenet.mobilenetv2,
    "efficientnet_b0": efficientnet.efficientnet_b0,
}


def torchvision_layers(architecture: Architecture) -> list[Layer]:
    """`fc` on the bare backbone, or `backbone.`, `classifier.`, `aux_classifier.`."""
    if architecture.layout:
        rows = _FAMILIES[architecture.layout]()
        return rows + heads.linear("classifier.1", architecture)
    if not architecture.head:
        return backbones.resnet(architecture) + heads.linear("fc", architecture)
    rows = backbones.resnet(architecture, "backbone.")
    deepest = architecture.deepest
    if architecture.head == "fcn":
        rows += heads.fcn("classifier", "head", deepest, architecture.num_classes)
    elif architecture.head == "lraspp":
        rows += heads.lraspp(architecture)
    else:
        width = architecture.head_width
        rows += heads.pyramid("classifier.0", architecture)
        rows += conv_norm("classifier", "head/conv", width, width, first=1)
        rows.append(
            heads.scores("classifier.4", "head", width, architecture.num_classes)
        )
    if architecture.aux:
        shallower = architecture.stage_width(2)
        rows += heads.fcn("aux_classifier", "aux", shallower, architecture.num_classes)
    return rows


def read_torchvision(shapes: Shapes) -> Architecture:
    """Segmentation networks have their backbone behind a prefix of that name."""
    if "features.0.0.weight" in shapes:
        squeezed = "features.1.0.block.1.fc1.weight" in shapes
        family = "efficientnet_b0" if squeezed else "mobilenetv2"
        return _with_linear(laid_out(family), shapes, "classifier.1")
    if not any(name.startswith("backbone.") for name in shapes):
        return _with_linear(backbones.read_resnet(shapes), shapes, "fc")
    known = backbones.read_resnet(shapes, "backbone.")
    settings: dict[str, Any] = {"head": "fcn"}
    scores, gated = "classifier.4.weight", "classifier.cbr.0.weight"
    if gated in shapes:
        settings = {"head": "lraspp", "head_width": telling(shapes, gated)[0]}
        scores = "classifier.high_classifier.weight"
    pyramid = "classifier.0.convs.0.0.weight"
    if pyramid in shapes:
        settings = {"head": "deeplabv3", "head_width": telling(shapes, pyramid)[0]}
    return dataclasses.replace(
        known,
        **settings,
        num_classes=telling(shapes, scores)[0],
        aux=any(name.startswith("aux_classifier.") for name in shapes),
    )


def timm_layers(architecture: Architecture) -> list[Layer]:
    """ResNets are named as in torchvision; the last layer of a v2 is a convolution."""
    if architecture.variant != "v2":
        return backbones.resnet(architecture) + heads.linear("fc", architecture)
    linear = heads.linear("head.fc", architecture)
    linear = [
        row._replace(kind="linear_as_conv", shape=(*row.shape, 1, 1)) for row in linear
    ]
    return backbones.resnetv2(architecture) + linear


def read_timm(shapes: Shapes) -> Architecture:
    """A pre-activation network is known by the name of its stem."""
    if "stem.conv.weight" not in shapes:
        return _with_linear(backbones.read_resnet(shapes), shapes, "fc")
    return _with_linear(backbones.read_resnetv2(shapes), shapes, "head.fc", rank=4)


def _with_linear(
    known: Architecture, shapes: Shapes, name: str, rank: int = 2
) -> Architecture:
    weight = f"{name}.weight"
    classes = telling(shapes, weight, rank)[0] if weight in shapes else 0
    return dataclasses.replace(known, num_classes=classes)


_BASIC = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
_BOTTLENECK = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}


def _bottleneck(depth: str, **settings: Any) -> Architecture:
    return Architecture(_BOTTLENECK[depth], "bottleneck", **settings)


_RESNETS = {
    **{name: Architecture(sizes, "basic") for name, sizes in _BASIC.items()},
    **{f"resnet{depth}": _bottleneck(depth) for depth in _BOTTLENECK},
}
_SMP_ENCODERS = ("resnet18", "resnet34", "resnet50", "resnet101")
_UNDILATED = {"model.backbone.output_stride": 0}
_PYRAMID = {"model.head.rates": heads.RATES, "model.head.dropout": 0.5}
_TORCHVISION = {
    "model.backbone.output_stride": 8,
    "model.backbone.dilation": "torchvision",
    "model.head.align_corners": False,
}
_SMP = {"model.backbone.dilation": "uniform", "model.head.align_corners": True}

LAYOUTS = {
    "torchvision": Layout(
        torchvision_layers,
        read_torchvision,
        {
            "": _UNDILATED,
            "fcn": _TORCHVISION | {"model.head.dropout": 0.1},
            "deeplabv3": _TORCHVISION | _PYRAMID,
            # The library builds it on a MobileNet alone, and its class on any backbone.
            "lraspp": _TORCHVISION | {"model.backbone.output_stride": 16},
        },
        {
            **_RESNETS,
            "mobilenet_v2": laid_out("mobilenetv2"),
            "efficientnet_b0": laid_out("efficientnet_b0"),
            "resnext50_32x4d": _bottleneck("50", groups=32, group_width=4),
            "resnext101_32x8d": _bottleneck("101", groups=32, group_width=8),
            "resnext101_64x4d": _bottleneck("101", groups=64, group_width=4),
            "wide_resnet50_2": _bottleneck("50", group_width=128),
            "wide_resnet101_2": _bottleneck("101", group_width=128),
            **{
                f"{head}_resnet{depth}": _bottleneck(depth, head=head)
                for head in ("fcn", "deeplabv3")
                for depth in ("50", "101")
            },
        },
        families=tuple(_FAMILIES),
    ),
    "timm": Layout(
        timm_layers,
        read_timm,
        {"": _UNDILATED},
        {
            **_RESNETS,
            "resnet50d": _bottleneck("50", variant="v1d"),
            "seresnet50": _bottleneck("50", se_reduction=16),
            "resnetv2_50": _bottleneck("50", variant="v2"),
        },
        variants=("v1.5", "v1c", "v1d", "v2"),
        squeezes=True,
    ),
    "smp": Layout(
        smp.layers,
        smp.read,
        {name: {**_SMP, **head.settings} for name, head in smp.HEADS.items()},
        {
            f"{head.name}_{encoder}": smp.on(name, _RESNETS[encoder])
            for name, head in smp.HEADS.items()
            for encoder in _SMP_ENCODERS
        },
        shortened=("pspnet",),
    ),
}
