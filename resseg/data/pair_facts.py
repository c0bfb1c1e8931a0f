"""What is known of an image and its mask once they were decoded."""

import dataclasses
import hashlib

import numpy as np

from resseg.data.mask_rule import Mapped
from resseg.data.spec import VOID


@dataclasses.dataclass(frozen=True)
class PairFacts:
    """One pair. Sizes are (height, width), in pixels."""

    split: str
    image: str
    mask: str
    size: tuple[int, int]
    mask_size: tuple[int, int]
    digest: bytes
    values: dict[int, int]  # class index or void -> pixels
    strays: dict[str, int]  # what is neither, as in the file -> pixels
    depth: int = 8  # bits per channel of the image file
    peak: int = 0  # largest value, where these are more than 8
    turned: bool = False


def facts_of(
    split: str,
    image_file: str,
    mask_file: str,
    image: np.ndarray,
    mapped: Mapped,
    strays_are_void: bool = False,
) -> PairFacts:
    """Sizes, pixels per class and a digest of one pair.

    Args:
        split: that the pair is in.
        image_file, mask_file: what findings call them.
        image: uint8 or uint16 RGB `[height, width, 3]`.
        mapped: the mask in class indices.
        strays_are_void: count strays among the void pixels.
    """
    # Same bytes in another shape are another picture.
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(image.tobytes())
    pixels = np.bincount(mapped.labels.ravel(), minlength=256)
    if not strays_are_void:
        pixels[VOID] -= sum(mapped.strays.values())
    values = np.flatnonzero(pixels)
    return PairFacts(
        split=split,
        image=image_file,
        mask=mask_file,
        size=image.shape[:2],
        mask_size=mapped.labels.shape,
        digest=digest.digest(),
        values=dict(zip(values.tolist(), pixels[values].tolist(), strict=True)),
        strays=mapped.strays,
    )
