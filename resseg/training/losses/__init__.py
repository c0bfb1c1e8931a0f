"""What a training minimises: terms over labelled pixels, and their weighted sum."""

from resseg.training.losses.settings import Settings
from resseg.training.losses.total import TERMS, Loss, make_loss

__all__ = ["TERMS", "Loss", "Settings", "make_loss"]
