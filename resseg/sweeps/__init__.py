"""Studies: many runs from one file, started with one command."""

from resseg.sweeps.axes import product, seeds, zipped
from resseg.sweeps.claims import ordering, ratio, threshold

__all__ = ["ordering", "product", "ratio", "seeds", "threshold", "zipped"]
