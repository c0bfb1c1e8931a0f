"""Image files of any accepted kind, as the arrays a data set stores."""

from pathlib import Path

import numpy as np

from resseg.data import pixels
from resseg.data.headers import GREY, RGB, read_header
from resseg.data.pixels import Picture
from resseg.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def read_image(path: Path, bits: int = 16) -> np.ndarray:
    """Reads an image as 8-bit RGB: `load_image`, then `to_8_bit`.

    Returns:
        uint8 `[height, width, 3]`.

    Raises:
        UserError: as `load_image`; or a value lies beyond the bits.
    """
    values = load_image(path).upright_rgb()
    white = (1 << bits) - 1
    if values.dtype != np.uint8 and values.max() > white:
        raise UserError(
            f"{path}: holds {values.max()}, and {bits} bits end at {white}; "
            "--bits says how many are in use"
        )
    return to_8_bit(values, bits)


def to_8_bit(values: np.ndarray, bits: int) -> np.ndarray:
    """Scales uint16 values linearly, so that 2**bits - 1 becomes 255.

    Args:
        values: uint8 (returned as it is) or uint16, none beyond 2**bits - 1.
        bits: how many of the 16 bits are in use; see `used_bits`.
    """
    if values.dtype == np.uint8:
        return values
    white = (1 << bits) - 1
    scaled = (values.astype(np.uint32) * 255 + white // 2) // white
    return scaled.astype(np.uint8)


def used_bits(largest: int) -> int:
    """10, 12 or 16: the bits of a camera whose largest value this is.

    One number holds for all 16-bit images of a data set, so that a dark image stays
    darker than a bright one.
    """
    return next(bits for bits in (10, 12, 16) if largest < 1 << bits)


def load_image(path: Path) -> Picture:
    """Decodes an image; `upright_rgb` are its colours, in the depth of the file.

    Raises:
        UserError: the file cannot be read, or stores what is no colour of 8 to 16 bits.
    """
    picture = pixels.load(path)
    header = picture.header
    if header.signed or header.depth > 16:
        raise UserError(
            f"{path}: pixels of type {picture.values.dtype}; expected unsigned "
            "integers of 8 to 16 bits"
        )
    if header.multiplied:
        alpha = picture.values[..., -1]
        if not (alpha == np.iinfo(alpha.dtype).max).all():
            raise UserError(
                f"{path}: colours multiplied by alpha; expected them as they are seen: "
                "save it without transparency"
            )
    return picture


def stored_as_is(path: Path) -> bool:
    """True where the bytes of an image file may enter the data set unchanged.

    So for upright 8-bit grey or RGB in PNG or JPEG; everything else is decoded by
    `read_image` and stored as PNG.

    Raises:
        UserError: the file cannot be read.
    """
    header = read_header(path, pixels.read_content(path))
    plain = header.format in ("PNG", "JPEG") and header.kind in (GREY, RGB)
    upright = header.orientation == 1 and header.depth == 8
    return plain and upright and not header.transparent
