"""Heads by torch's names; the prefixes are the layout's business."""

from resseg.interop.architecture import Architecture
from resseg.interop.layers import Layer, conv, conv_norm, norm

RATES = (12, 24, 36)  # of every DeepLab in torchvision and smp, whatever its stride


def linear(torch: str, architecture: Architecture) -> list[Layer]:
    """The last layer of a classification network; [] where it has been taken off."""
    if not architecture.num_classes:
        return []
    shape = (architecture.num_classes, architecture.deepest)
    return [Layer(torch, "classifier", "linear", shape, bias=True)]


def scores(torch: str, path: str, inputs: int, classes: int, kernel: int = 1) -> Layer:
    """The convolution of a `Classifier`."""
    place = f"{path}/classifier/conv"
    return conv(torch, place, inputs, classes, kernel, bias=True)


def fcn(torch: str, path: str, inputs: int, classes: int) -> list[Layer]:
    """A head `FCN`; behind its norm torch counts a ReLU and a dropout."""
    rows = conv_norm(torch, f"{path}/conv", inputs, inputs // 4)
    return [*rows, scores(f"{torch}.4", path, inputs // 4, classes)]


def lraspp(architecture: Architecture) -> list[Layer]:
    """torchvision's LR-ASPP; the shallow feature is that of stage 2."""
    width, classes = architecture.head_width, architecture.num_classes
    deep, shallow = architecture.deepest, architecture.stage_width(1)
    low = "head/score_stage2/conv"
    return [
        *conv_norm("classifier.cbr", "head/conv", deep, width, kernel=1),
        conv("classifier.scale.1", "head/gate", deep, width),
        conv("classifier.low_classifier", low, shallow, classes, bias=True),
        scores("classifier.high_classifier", "head", width, classes),
    ]


def pyramid(
    torch: str, architecture: Architecture, depthwise: bool = False
) -> list[Layer]:
    """ASPP; the branches are `convs.0` … `convs.4`, the last one behind a pooling."""
    inputs, width = architecture.deepest, architecture.head_width
    path = "head/pyramid"
    rows = conv_norm(f"{torch}.convs.0", f"{path}/conv1x1", inputs, width, kernel=1)
    for i, rate in enumerate(RATES, 1):
        name, place = f"{torch}.convs.{i}", f"{path}/rate{rate}"
        if depthwise:
            rows += separable(f"{name}.0", f"{name}.1", place, inputs, width)
        else:
            rows += conv_norm(name, place, inputs, width)
    rows += conv_norm(f"{torch}.convs.4", f"{path}/pool", inputs, width, 1, first=1)
    joined = (len(RATES) + 2) * width
    return rows + conv_norm(
        f"{torch}.project", f"{path}/project", joined, width, kernel=1
    )


def separable(
    torch: str, torch_norm: str, path: str, inputs: int, outputs: int
) -> list[Layer]:
    """A separable `ConvNormAct`, whose norm has a prefix of its own in torch."""
    depthwise = f"{path}/depthwise"
    return [
        conv(f"{torch}.0", depthwise, inputs, inputs, kernel=3, groups=inputs),
        conv(f"{torch}.1", f"{path}/conv", inputs, outputs),
        norm(torch_norm, f"{path}/norm", outputs),
    ]
