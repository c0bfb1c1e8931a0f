"""How the class probabilities of an image are made: what they are the mean of."""

import dataclasses
import math
from collections.abc import Sequence

from resseg.errors import UserError, choose

HANN, GAUSSIAN = "hann", "gaussian"
BLENDS = (HANN, GAUSSIAN)
MOST_SCALE, MOST_SAMPLES = 8.0, 1000


@dataclasses.dataclass(frozen=True)
class Averaging:
    """Softmaxes of each network, scale, mirror image and sample, all of equal weight.

    With tiles they are made of each tile, and their mean is weighted by where a pixel
    lies in the tile.

    Attributes:
        scales: of the image; 1 is its own size.
        flip: whether its mirror image counts as well.
        samples: forward passes with dropout and its kind as in training, each drawn
            anew, batch norm as in evaluation (Gal & Ghahramani 2016); 0 = one without.
        seed: of these.
        tile: side of the windows that are predicted one by one; 0 = the whole image.
        overlap: of neighbouring windows, a share of their side.
        blend: weights of the pixels of a window, one of `BLENDS`.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    samples: int = 0
    seed: int = 0
    tile: int = 0
    overlap: float = 0.5
    blend: str = HANN

    def __post_init__(self):
        """Refuses what no image can be predicted with.

        Raises:
            UserError: a value is beyond its range.
        """
        wrong = [scale for scale in self.scales if not 0 < scale <= MOST_SCALE]
        if wrong or not self.scales:
            said = ",".join(f"{scale:g}" for scale in self.scales)
            raise UserError(
                f"--scales {said}: expected numbers above 0, up to {MOST_SCALE:g}"
            )
        if not 0 <= self.samples <= MOST_SAMPLES:
            raise UserError(f"--samples {self.samples}: expected 1 to {MOST_SAMPLES}")
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: expected 0 or above")
        if self.tile < 0:
            raise UserError(
                f"--tile {self.tile}: expected the side of a window, pixels"
            )
        if not 0 <= self.overlap < 1:
            raise UserError(
                f"--overlap {self.overlap:g}: expected 0 up to, not including, 1"
            )
        choose("--blend", self.blend, BLENDS)

    @property
    def passes(self) -> int:
        """Forward passes of a network for each image."""
        return len(self.scales) * (1 + self.flip) * max(self.samples, 1)

    @property
    def plain(self) -> bool:
        """Whether each image goes through a network once, with its mirror image maybe.

        So it is in training, and the program is the same.
        """
        return self.scales == (1.0,) and not self.samples and not self.tile

    def words(self) -> list[str]:
        """What is averaged, for people; nothing where it is one pass."""
        said = []
        if self.scales != (1.0,):
            said.append("scales " + ", ".join(f"{scale:g}" for scale in self.scales))
        if self.flip:
            said.append("each image and its mirror image")
        if self.samples:
            said.append(f"{self.samples} samples of dropout, seed {self.seed}")
        if self.tile:
            said.append(
                f"tiles of {self.tile}, overlap {self.overlap:g}, {self.blend} weights"
            )
        return said


def stride_of(averaging: Averaging, multiple: int) -> int:
    """By how many pixels neighbouring tiles are apart.

    Args:
        averaging: with tiles.
        multiple: what sides of images must be multiples of, the networks' stride.

    Raises:
        UserError: no tile of this side, or none with this overlap, can be predicted as
            a part of the image.
    """
    tile = averaging.tile
    if tile % multiple:
        nearest = max(multiple, round(tile / multiple) * multiple)
        raise UserError(
            f"--tile {tile}: expected a multiple of {multiple}, the stride of the "
            f"network, such as {nearest}"
        )
    apart = math.floor(tile * (1 - averaging.overlap) / multiple + 1e-9) * multiple
    if not apart:
        raise UserError(
            f"--overlap {averaging.overlap:g}: tiles of {tile} would be less than "
            f"{multiple} pixels apart, the stride of the network; expected at most "
            f"{1 - multiple / tile:g}"
        )
    return apart


def joined(words: Sequence[str]) -> str:
    """What a mean is taken over, for people; empty for nothing."""
    return f", mean over {'; '.join(words)}" if words else ""
