"""Studies: many runs from one file, started with one command."""

from resseg.sweeps.axes import product, seeds, zipped

__all__ = ["product", "seeds", "zipped"]
