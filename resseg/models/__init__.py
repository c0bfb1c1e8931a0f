"""Residual segmentation networks, made of plain arguments."""
