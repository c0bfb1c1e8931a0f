"""Heads: features keyed by stage -> class scores, still at the head's resolution."""

from resseg.models.heads.deeplab import DeepLabV3, DeepLabV3Plus
from resseg.models.heads.fcn import FCN, SkipFCN
from resseg.models.heads.unet import ResUNet, UNet

HEADS = {
    "fcn": FCN,
    "fcn32s": SkipFCN,
    "fcn16s": SkipFCN,
    "fcn8s": SkipFCN,
    "unet": UNet,
    "resunet": ResUNet,
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
}

__all__ = ["FCN", "HEADS", "DeepLabV3", "DeepLabV3Plus", "ResUNet", "SkipFCN", "UNet"]
