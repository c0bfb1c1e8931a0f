"""The reference models of the step benchmark: names, shapes, and where torch has them.

Every one is a published network: ours is built from its torch weights, so that both
sides compute the same numbers.
"""

from typing import NamedTuple

CLASSES = 21


class Reference(NamedTuple):
    """A network that both sides build.

    Attributes:
        title: for the table.
        layout: whose names its tensors have: torchvision, smp, or resseg for a config
            of ours that is taken to torch by `to_torch`.
        name: within that library; or of the config.
        side: of the image, in pixels.
        batch: images of a train step.
    """

    title: str
    layout: str
    name: str
    side: int
    batch: int


MODELS = {
    "unet": Reference("U-Net ResNet-18 (smp)", "smp", "Unet_resnet18", 128, 8),
    "v3": Reference(
        "DeepLabV3 ResNet-50 OS8 (torchvision)",
        "torchvision",
        "deeplabv3_resnet50",
        256,
        2,
    ),
    "v3plus": Reference(
        "DeepLabV3+ ResNet-50 OS16 separable (smp)",
        "smp",
        "DeepLabV3Plus_resnet50",
        256,
        4,
    ),
    "fcn": Reference(
        "FCN ResNet-50 OS8 (torchvision)", "torchvision", "fcn_resnet50", 256, 2
    ),
    "nuclei": Reference("U-Net of nuclei/unet", "resseg", "nuclei/unet", 128, 8),
}
