"""Image and mask files of any common kind, as the arrays a data set stores.

Decoding is strict: a truncated file is an error here, where OpenCV would hand back
whatever it could read.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from resseg.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")

_ORIENTATION = 0x0112  # an EXIF tag
_BITS_PER_SAMPLE = 258  # a TIFF tag
# What Pillow raises for a damaged file, or for one of more than 179 megapixels.
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def read_image(path: Path, bits: int = 16) -> np.ndarray:
    """Reads an image as 8-bit RGB: `decode`, then `to_8_bit`.

    Returns:
        uint8 `[height, width, 3]`.

    Raises:
        UserError: the file cannot be decoded, or its pixels are no integers.
    """
    return to_8_bit(decode(path), bits)


def to_8_bit(values: np.ndarray, bits: int = 16) -> np.ndarray:
    """Scales uint16 values linearly, so that 2**bits - 1 becomes 255.

    Args:
        values: uint8 (returned as it is) or uint16.
        bits: how many of the 16 bits are in use; see `used_bits`.
    """
    if values.dtype == np.uint8:
        return values
    white = (1 << bits) - 1
    scaled = (values.astype(np.uint32) * 255 + white // 2) // white
    return np.minimum(scaled, 255).astype(np.uint8)


def used_bits(largest: int) -> int:
    """10, 12 or 16: the bits of a camera whose largest value this is.

    One number holds for all 16-bit images of a data set, so that a dark image stays
    darker than a bright one.
    """
    return next(bits for bits in (10, 12, 16) if largest < 1 << bits)


def decode(path: Path) -> np.ndarray:
    """Reads an image as RGB of its own depth.

    Grey is repeated over the channels, palettes are expanded, alpha is dropped. The
    EXIF orientation is applied: the pixels stand as a viewer shows them.

    Returns:
        uint8 or uint16 `[height, width, 3]`.

    Raises:
        UserError: the file cannot be decoded, or its pixels are no integers.
    """
    if _is_deep(path):
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
        values = cv2.imdecode(np.fromfile(path, np.uint8), flags)
        if values is None:
            raise UserError(f"{path}: cannot be read as an image")
        if values.dtype not in (np.uint8, np.uint16):
            raise UserError(
                f"{path}: pixels of type {values.dtype}; expected 8 or 16-bit integers"
            )
        return values
    with _open(path) as file:
        try:
            return np.array(ImageOps.exif_transpose(file).convert("RGB"))
        except _BROKEN as error:
            raise UserError(f"{path}: cannot be read ({error})") from None


def is_turned(path: Path) -> bool:
    """True where the EXIF orientation differs from the order of the stored pixels.

    Raises:
        UserError: the file cannot be read.
    """
    with _open(path) as file:
        try:
            return file.getexif().get(_ORIENTATION, 1) != 1
        except _BROKEN as error:
            raise UserError(f"{path}: cannot be read ({error})") from None


def stored_as_is(path: Path) -> bool:
    """True where the bytes of an image file may enter the data set unchanged.

    So for upright 8-bit grey or RGB in PNG or JPEG; everything else is decoded by
    `read_image` and stored as PNG.

    Raises:
        UserError: the file cannot be read.
    """
    with _open(path) as file:
        plain = file.format in ("PNG", "JPEG") and file.mode in ("L", "RGB")
        clear = "transparency" not in file.info
    known_depth = _png_depth(path) in (None, 8)
    return plain and clear and known_depth and not is_turned(path)


def read_mask(path: Path) -> np.ndarray:
    """Reads the class indices of a mask; of a palette file the indices, not colours.

    Returns:
        uint8 or int32 `[height, width]`.

    Raises:
        UserError: the file cannot be decoded, or holds colours instead of indices.
    """
    with _open(path) as file:
        try:
            mask = np.array(file)
        except _BROKEN as error:
            raise UserError(f"{path}: cannot be read ({error})") from None
        mode = file.mode
    if mode in ("RGB", "RGBA", "LA"):
        colours = mask[..., :3] if mode != "LA" else mask[..., :1]
        if not (colours == colours[..., :1]).all():
            raise UserError(
                f"{path}: a mask in colour; expected one class index per pixel "
                "(grey or palette PNG), or say what its colours mean with --colors"
            )
        return np.ascontiguousarray(colours[..., 0])
    if mode == "L":
        # Grey of 2 or 4 bits is spread to 0..255 by every decoder.
        depth = _png_depth(path)
        return mask // {2: 85, 4: 17}[depth] if depth in (2, 4) else mask
    if mode in ("1", "P"):
        return mask.astype(np.uint8)
    if mode == "I" or mode.startswith("I;16"):
        return mask.astype(np.int32)
    raise UserError(f"{path}: a mask of kind {mode}; expected grey or palette PNG")


def read_mask_colors(path: Path) -> np.ndarray:
    """Reads the colours of a mask: those of its palette, grey as a colour.

    Returns:
        uint8 RGB `[height, width, 3]`.

    Raises:
        UserError: the file cannot be decoded, or has more than 8 bits per channel.
    """
    with _open(path) as file:
        if file.mode not in _EIGHT_BIT[:7]:
            raise UserError(f"{path}: a mask of kind {file.mode}; expected 8-bit RGB")
        try:
            return np.array(file.convert("RGB"))
        except _BROKEN as error:
            raise UserError(f"{path}: cannot be read ({error})") from None


def mask_stored_as_is(path: Path) -> bool:
    """True where any decoder reads the bytes of a mask as its class indices."""
    with _open(path) as file:
        plain = file.format == "PNG" and file.mode == "L"
        clear = "transparency" not in file.info
    return plain and clear and _png_depth(path) == 8


def _is_deep(path: Path) -> bool:
    """True where Pillow would lose bits: more than 8 per channel.

    A PNG is decoded once by Pillow all the same, because it notices a cut file.
    """
    try:
        with Image.open(path) as file:
            if _png_depth(path) == 16:
                file.load()
                return True
            if isinstance(file, TiffImageFile):
                return max(file.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8
            return file.mode not in _EIGHT_BIT
    except Image.UnidentifiedImageError:
        # Pillow knows no 16-bit RGB TIFF; OpenCV does.
        if path.suffix.lower() in (".tif", ".tiff"):
            return True
        raise UserError(f"{path}: cannot be read as an image") from None
    except _BROKEN as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _png_depth(path: Path) -> int | None:
    """Bits per channel from the header of a PNG; None for any other file."""
    with path.open("rb") as file:
        header = file.read(25)
    return header[24] if header[:8] == b"\x89PNG\r\n\x1a\n" else None


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Image.UnidentifiedImageError:
        raise UserError(f"{path}: cannot be read as an image") from None
    except _BROKEN as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
