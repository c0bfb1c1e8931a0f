"""What a mask file holds, judged by its content.

A mask says one number, or one colour, per pixel. A file that may have changed them, or
that says two things at once, is refused, whatever it is called.
"""

from pathlib import Path
from typing import TypeGuard

import numpy as np

from resseg.data import pixels
from resseg.data.headers import (
    GREY,
    GREY_ALPHA,
    RGB,
    RGB_ALPHA,
    Header,
    read_header,
)
from resseg.data.parts import MaskPart
from resseg.data.pixels import Picture
from resseg.errors import UserError

_FORMATS = ("PNG", "TIFF", "BMP")


def read_mask(path: Path) -> np.ndarray:
    """Reads the class indices of a mask; of a palette file the indices, not colours.

    Grey of 1, 2 or 4 bits counts from 0, in every format.

    Returns:
        uint8 or int32 `[height, width]`.

    Raises:
        UserError: the file cannot be decoded, may not say what was meant, or holds
            colours instead of indices.
    """
    return indices_of(_load(path))


def indices_of(picture: Picture) -> np.ndarray:
    """See `read_mask`; of a mask that is decoded."""
    path, values = picture.path, picture.values[..., 0]
    if picture.palette is not None:
        _require_order(path, values, picture.palette)
    elif picture.header.kind in (RGB, RGB_ALPHA) and _is_coloured(picture):
        raise UserError(
            f"{path}: a mask in colour; expected one class index per pixel "
            "(grey or palette PNG), or say what its colours mean with --colors"
        )
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.max() > np.iinfo(np.int32).max:
        raise UserError(f"{path}: holds {values.max()}; expected class indices")
    return values.astype(np.int32)


def read_mask_colors(path: Path) -> np.ndarray:
    """Reads the colours of a mask: those of its palette, grey as a colour.

    Returns:
        uint8 RGB `[height, width, 3]`.

    Raises:
        UserError: the file cannot be decoded, may not say what was meant, or has more
            than 8 bits per channel.
    """
    return colors_of(_load(path))


def colors_of(picture: Picture) -> np.ndarray:
    """See `read_mask_colors`; of a mask that is decoded."""
    colors = picture.upright_rgb()
    if colors.dtype != np.uint8:
        raise UserError(
            f"{picture.path}: {picture.header.depth} bits per channel; expected the "
            "colours of a mask in 8"
        )
    return colors


def stored_as_is(path: Path | MaskPart) -> TypeGuard[Path]:
    """True where any decoder reads the bytes of a mask as its class indices.

    Raises:
        UserError: the file cannot be read.
    """
    if not isinstance(path, Path):
        return False
    return may_stay(read_header(path, pixels.read_content(path)))


def may_stay(header: Header) -> bool:
    """True where OpenCV reads the bytes of such a mask file as `read_mask`."""
    plain = header.format == "PNG" and header.kind == GREY and header.depth == 8
    single = header.frames == 1 and header.orientation == 1
    return plain and single and not header.transparent


def _load(path: Path) -> Picture:
    """Decodes a mask file once all that its header says is unambiguous."""
    require_one_meaning(path, read_header(path, pixels.read_content(path)))
    picture = pixels.load(path)
    if picture.header.kind in (GREY_ALPHA, RGB_ALPHA):
        alpha = picture.values[..., -1]
        opaque = np.iinfo(alpha.dtype).max
        if not (alpha == opaque).all():
            raise UserError(
                f"{path}: a mask that is partly transparent: what lies below is "
                "uncertain; save it without transparency"
            )
    return picture


def _is_coloured(picture: Picture) -> bool:
    channels = picture.values[..., :3]
    return not (channels == channels[..., :1]).all()


def require_one_meaning(path: Path, header: Header) -> None:
    """Raises UserError where programs read a mask in several ways."""
    if header.format not in _FORMATS or header.lossy:
        way = f" compressed as {header.compression}" * (header.format in _FORMATS)
        raise UserError(
            f"{path}: a {header.format} file{way}, which changes class indices; "
            "expected a PNG with one index per pixel"
        )
    if header.frames > 1:
        raise UserError(
            f"{path}: holds {header.frames} pictures; expected one mask in a file"
        )
    if header.orientation != 1:
        raise UserError(
            f"{path}: a mask with an EXIF orientation ({header.orientation}): some "
            "programs turn it and some do not; save it upright, without EXIF"
        )
    if header.inverted:
        raise UserError(
            f"{path}: a mask in which 0 is white (TIFF, MINISWHITE): some programs "
            "invert it and some do not; save it with 0 as black"
        )


def _require_order(path: Path, indices: np.ndarray, palette: np.ndarray) -> None:
    """Refuses a grey palette that says other numbers, in another order, than indices.

    Programs that make files smaller turn grey into such palettes: whether the index
    or the grey is the class is then anybody's guess.
    """
    used = np.unique(indices)
    colors = palette[used].astype(int)
    grey = colors[:, 0]
    if (colors == grey[:, None]).all() and (np.diff(grey) < 0).any():
        place = int(np.flatnonzero(np.diff(grey) < 0)[0])
        raise UserError(
            f"{path}: a palette of greys out of order (index {used[place]} is "
            f"{grey[place]}, index {used[place + 1]} is {grey[place + 1]}): index or "
            "grey may be the class; save it as grey"
        )
