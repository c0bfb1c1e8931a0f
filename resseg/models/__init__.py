"""Residual segmentation networks."""

from resseg.models.build import build_segmenter

__all__ = ["build_segmenter"]
