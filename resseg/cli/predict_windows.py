"""The part of `resseg predict` that reads and writes TIFF by windows."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resseg.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from resseg.data.windows import Windows
    from resseg.inference.ensemble import Ensemble
    from resseg.inference.streaming import Stream

_PATIENCE = 30  # seconds between two lines where no bar is seen


@dataclasses.dataclass
class Chosen:
    """How images are read.

    Attributes:
        windows: TIFF by windows: too large to be decoded whole, or with a georeference,
            or saying which pixels nobody knows.
        whole: all others.
        wrong: what is wrong with those that are neither.
        notes: what there is to say of georeferences that are lost.
    """

    windows: "dict[Path, Windows]" = dataclasses.field(default_factory=dict)
    whole: list[Path] = dataclasses.field(default_factory=list)
    wrong: list[UserError] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def choose(images: Sequence[Path], tile: int) -> Chosen:
    """How images are read.

    Args:
        images: files of any kind.
        tile: side of a tile; 0 = there are none, so that nothing is read by windows.
    """
    from resseg.data.windows import Windows, is_tiff

    chosen = Chosen()
    for path in images:
        try:
            windows = Windows(path) if is_tiff(path) else None
        except UserError:
            windows = None  # what reads whole images will say what is wrong
        if windows is None:
            chosen.whole.append(path)
            continue
        try:
            kept = _sort(windows, tile, chosen)
        except UserError as error:
            chosen.wrong.append(error)
            kept = False
        if not kept:
            windows.close()
    return chosen


def _sort(windows: "Windows", tile: int, chosen: Chosen) -> bool:
    """Says of a TIFF how it is read; whether by windows.

    Raises:
        UserError: it cannot be.
    """
    path, (height, width) = windows.path, windows.size
    if tile and (windows.too_large or windows.marked):
        windows.check()
        chosen.windows[path] = windows
        return True
    if windows.too_large:
        raise UserError(
            f"{path}: {height}x{width} (height x width) is too large to be predicted "
            "whole; --tile 512 predicts it by windows"
        )
    chosen.whole.append(path)
    if windows.geo_tags:
        chosen.notes.append(
            f"{path.name}: PNG has no georeference; with --tile N the result is a TIFF "
            "that keeps it"
        )
    return False


def file_names(path: Path, probabilities: bool) -> list[str]:
    """Names of all files that are made of an image."""
    made = [f"{path.stem}.tif"]
    return [*made, f"{path.stem}_probabilities.tif"] if probabilities else made


def predict_all(
    images: "dict[Path, Windows]",
    ensemble: "Ensemble",
    bits: int,
    out: Path,
    probabilities: bool,
) -> list[UserError]:
    """Predicts each TIFF, or what of it is left, and says so.

    Returns:
        What is wrong with those that cannot be read.

    Raises:
        OSError: a result cannot be written.
    """
    from resseg.console import say
    from resseg.inference.streaming import Stream

    wrong = []
    for count, (path, windows) in enumerate(images.items(), 1):
        target = out / file_names(path, False)[0]
        stream = Stream(windows, target, ensemble, bits, probabilities)
        try:
            words = "is there already" if stream.is_done() else _predict(stream, path)
            say(f"{count}/{len(images)}  {path.name}  {words}")
        except UserError as error:
            wrong.append(error)
        finally:
            windows.close()
    if len(images) > len(wrong):
        say(f"{ensemble.words}, in {out}: NAME.tif (class indices, 255 = void)")
    return wrong


def _predict(stream: "Stream", path: Path) -> str:
    """Makes the blocks that are left; says what came of them."""
    import numpy as np

    from resseg.console import counting, duration, say

    left = stream.left()
    if len(left) < stream.total:
        there = stream.total - len(left)
        say(f"{path.name}: goes on, {there} of {stream.total} blocks are there")
    pixels = np.zeros(256, np.int64)
    begin = said = time.monotonic()
    with counting(path.name, len(left)) as done:
        for count, block in enumerate(left, 1):
            pixels += stream.make(block)
            done(1)
            now = time.monotonic()
            if now - said > _PATIENCE:
                rest = (now - begin) / count * (len(left) - count)
                say(f"{path.name}: {count}/{len(left)} blocks, {duration(rest)} left")
                said = now
    known = pixels[: len(stream.classes)].sum()
    pace = known / 1e6 / max(time.monotonic() - begin, 1e-9)
    stream.finish()
    return f"{_shares(pixels, stream.classes)}  {pace:.3g} megapixels/s"


def _shares(pixels: "np.ndarray", classes: Sequence[str]) -> str:
    """Of the classes among the pixels that are known."""
    known = max(int(pixels[: len(classes)].sum()), 1)
    return "  ".join(
        f"{name} {count / known:.1%}"
        for name, count in zip(classes, pixels, strict=False)
    )
