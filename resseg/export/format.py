"""What a format of an export is."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from resseg.export.network import ExportedNetwork

# Images, uint8 `[batch, height, width, 3]`, to their classes and scores.
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        file: name of what it writes.
        contract: what that takes and computes in, in words.
        check: raises UserError where it cannot be written, before any is.
        write: writes the file.
        load: what runs the file.
        snippet: how a user runs it.
        scores: what `load` puts out; "" = what the network is to put out.
        needs_size: whether images have to be of one size.
        single: whether it computes in float32; else as the run did.
    """

    file: str
    contract: str
    check: Callable[[ExportedNetwork], None]
    write: Callable[[ExportedNetwork, Path], None]
    load: Callable[[Path], Run]
    snippet: Callable[[ExportedNetwork], str]
    scores: str = ""
    needs_size: bool = False
    single: bool = True
