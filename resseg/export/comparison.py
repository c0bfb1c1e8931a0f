"""What an export computes, beside the network, on real images."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from resseg import sharding
from resseg.export.network import probabilities
from resseg.inference.averaging import Averaging
from resseg.inference.ensemble import Ensemble
from resseg.inference.segmenter import Segmentation, Segmenter
from resseg.inference.trained import Trained

TOLERANCE = 1e-3  # of a probability


@dataclasses.dataclass
class Difference:
    """Between an export and the network, over all images compared.

    Attributes:
        images, pixels: compared.
        largest: of the differences of a probability; NaN where one is not finite.
        flips: pixels whose class differs.
        widest: at pixels whose class differs, by how much the network finds its own
            class likelier than the exported one, at most; 0 where there are none.
        tolerance: what `largest` and `widest` may be.
    """

    tolerance: float
    images: int = 0
    pixels: int = 0
    largest: float = 0.0
    flips: int = 0
    widest: float = 0.0

    @property
    def fault(self) -> str:
        """What is wrong, in words; "" where all is within the tolerance."""
        if not self.largest <= self.tolerance:
            return f"a probability differs by {self.largest:.3g}"
        if self.widest > self.tolerance:
            return (
                f"{self.flips} pixels have another class, one of them with a margin of "
                f"{self.widest:.3g}"
            )
        return ""

    def add(self, wanted: Segmentation, classes: np.ndarray, found: np.ndarray) -> None:
        """Counts an image.

        Args:
            wanted: what the network says of it.
            classes: that were exported, `[height, width]`.
            found: probabilities that were, `[height, width, classes]`.
        """
        values, count = wanted.probabilities, wanted.probabilities.shape[-1]
        self.images += 1
        self.pixels += classes.size
        # NaN is larger than all.
        self.largest = float(np.max([self.largest, np.abs(found - values).max()]))
        known = np.minimum(classes, count - 1)[..., None].astype(np.int64)
        exported = np.take_along_axis(values, known, axis=-1)[..., 0]
        exported = np.where(classes < count, exported, -np.inf)
        flipped = wanted.mask != classes
        self.flips += int(flipped.sum())
        margins = (values.max(-1) - exported)[flipped]
        self.widest = float(margins.max(initial=self.widest))


def alone(trained: Trained) -> Segmenter:
    """The network as `resseg predict` runs it when nothing else is asked for."""
    return Segmenter(Ensemble([trained], Averaging(), sharding.make_mesh()))


def compare(
    run: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    images: Sequence[np.ndarray],
    wanted: Sequence[Segmentation],
    kind: str,
    tolerance: float,
) -> Difference:
    """An export beside the network.

    Args:
        run: the export: images -> classes and scores.
        images: uint8 RGB, each `[height, width, 3]`.
        wanted: what the network says of them.
        kind: of the scores of the export.
        tolerance: see `Difference`.
    """
    difference = Difference(tolerance)
    for image, expected in zip(images, wanted, strict=True):
        classes, scores = run(image[None])
        difference.add(expected, classes[0], probabilities(scores[0], kind))
    return difference


def fitted(image: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The image in a size: cut on the right and below, and mirrored where it ends."""
    if size is None:
        return image
    cut = image[: size[0], : size[1]]
    missing = [(0, to - of) for to, of in zip(size, cut.shape[:2], strict=True)]
    return np.pad(cut, [*missing, (0, 0)], mode="symmetric")


def spread_evenly(count: int, wanted: int) -> list[int]:
    """At most so many places of `count`, the first and the last among them."""
    return sorted({*np.linspace(0, count - 1, min(count, wanted)).round().astype(int)})


def of_split(data: Any, count: int) -> Iterator[np.ndarray]:
    """Images of the split that a run is evaluated on."""
    from resseg.data.sources import open_split

    source = open_split(data, data.eval_split)
    for index in spread_evenly(len(source), count):
        yield source[int(index)]["image"]
