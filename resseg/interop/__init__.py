"""Weights of torchvision, timm and segmentation_models.pytorch, in and out."""

from resseg.interop.convert import from_torch, tensor_shapes, to_torch
from resseg.interop.files import read_weights
from resseg.interop.layouts import LAYOUTS

__all__ = ["LAYOUTS", "from_torch", "read_weights", "tensor_shapes", "to_torch"]
