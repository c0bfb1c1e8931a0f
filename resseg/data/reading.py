"""Image files of any accepted kind, as the arrays a data set stores."""

from pathlib import Path
from typing import TypeGuard

import numpy as np

from resseg.data import pixels
from resseg.data.headers import GREY, RGB, Header, read_header
from resseg.data.parts import ImagePart
from resseg.data.pixels import Picture
from resseg.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def load_image(path: Path | ImagePart) -> Picture:
    """Decodes an image; `upright_rgb` are its colours, in the depth of the file.

    Raises:
        UserError: the file cannot be read, or stores what is no colour of 8 to 16 bits.
    """
    if not isinstance(path, Path):
        return path.load()
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


def stored_as_is(path: Path | ImagePart) -> TypeGuard[Path]:
    """True where the bytes of an image file may enter the data set unchanged.

    So for upright 8-bit grey or RGB in PNG or JPEG; everything else is decoded by
    `load_image` and stored as PNG.

    Raises:
        UserError: the file cannot be read.
    """
    if not isinstance(path, Path):
        return False
    return may_stay(read_header(path, pixels.read_content(path)))


def may_stay(header: Header) -> bool:
    """True where OpenCV reads the bytes of such an image file as `upright_rgb`."""
    plain = header.format in ("PNG", "JPEG") and header.kind in (GREY, RGB)
    upright = header.orientation == 1 and header.depth == 8
    return plain and upright and header.frames == 1 and not header.transparent
