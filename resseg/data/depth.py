"""The scale of images of more than 8 bits: one number for a data set and its runs.

A camera of 12 bits writes 0 to 4095 into files of 16. Which value is white cannot be
seen in one picture, so it is said once, kept with the data set and with every run, and
applied wherever such a picture is read.
"""

from collections.abc import Sequence

import numpy as np

from resseg.data.findings import Finding
from resseg.data.pair_facts import PairFacts
from resseg.data.pixels import Picture
from resseg.errors import UserError

FEWEST, MOST = 8, 16


def in_8_bits(picture: Picture, bits: int) -> np.ndarray:
    """The colours of a picture, upright; more than 8 bits are scaled down.

    Args:
        picture: from `reading.load_image`.
        bits: in use, where the file has more than 8.

    Returns:
        uint8 RGB `[height, width, 3]`.

    Raises:
        UserError: a value lies beyond the bits.
    """
    values = picture.upright_rgb()
    if values.dtype == np.uint8:
        return values
    if values.max() > white(bits):
        raise UserError(f"{picture.path}: {_beyond(int(values.max()), bits)}")
    return to_8_bit(values, bits)


def to_8_bit(values: np.ndarray, bits: int) -> np.ndarray:
    """Scales linearly and rounds, so that `white(bits)` becomes 255.

    Args:
        values: uint16, none beyond `white(bits)`.
        bits: in use, 8 to 16.
    """
    scaled = (values.astype(np.uint32) * 255 + white(bits) // 2) // white(bits)
    return scaled.astype(np.uint8)


def white(bits: int) -> int:
    """The largest value."""
    return (1 << bits) - 1


def used_bits(largest: int) -> int:
    """10, 12 or 16: the bits of a camera whose largest value this may be."""
    return next(bits for bits in (10, 12, 16) if largest < 1 << bits)


def require_bits(bits: int | None) -> None:
    """Raises UserError unless these can be the bits of images, or none are given."""
    if bits is not None and not FEWEST <= bits <= MOST:
        raise UserError(f"--bits {bits}: expected {FEWEST} to {MOST}")


def bits_of(facts: Sequence[PairFacts], stated: int | None) -> int:
    """The bits in use by a data set; 8 where no image has more.

    Args:
        facts: of its pairs.
        stated: what somebody said; None guesses from the largest value of all.
    """
    deep = [item for item in facts if item.depth > FEWEST]
    if not deep:
        return FEWEST
    if stated is not None:
        return stated
    return max(
        item.depth if item.depth < MOST else used_bits(item.peak) for item in deep
    )


def beyond(facts: Sequence[PairFacts], bits: int) -> list[Finding]:
    """The images that hold more than the bits can say."""
    return [
        Finding("beyond", item.image, _beyond(item.peak, bits))
        for item in facts
        if item.peak > white(bits)
    ]


def scale_of(
    facts: Sequence[PairFacts], used: int, stated: int | None, reason: str
) -> str:
    """What is done with deep images, for people; empty where there is nothing to say.

    Args:
        facts: of the pairs of a data set.
        used: what `bits_of` returned.
        stated: what somebody said; None = it was guessed.
        reason: who said so.
    """
    if all(item.depth <= FEWEST for item in facts):
        return f"no image has more than 8 bits ({reason} {stated})" if stated else ""
    if stated is None:
        peak = max(item.peak for item in facts)
        reason = f"guessed: their largest value is {peak}; --bits N says otherwise"
    return in_words(used, reason)


def in_words(bits: int, reason: str) -> str:
    """What is done with deep images, and why, for people."""
    return (
        f"images of more than 8 bits: {bits} in use, {white(bits)} is white ({reason})"
    )


def _beyond(value: int, bits: int) -> str:
    return (
        f"holds {value}, and {bits} bits end at {white(bits)}; --bits N says how many "
        "are in use"
    )
