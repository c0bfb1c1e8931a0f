"""Which decoder reads which file: one table, and what does not stand in it is refused.

A decoder hands out what the file stores, as it stores it: palette indices, grey of two
bits as 0 to 3. What colour that is, and which way it is turned, is said here once.
"""

import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from resseg.data import headers
from resseg.data.headers import (
    CMYK,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    Header,
    open_picture,
    read_header,
    unreadable,
)
from resseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded file.

    Attributes:
        path: of the file.
        header: what the file is.
        values: as stored, integers `[height, width, channels]`.
        palette: uint8 `[entries, 3]`, RGB; None where there is none.
    """

    path: Path
    header: Header
    values: np.ndarray
    palette: np.ndarray | None = None

    def upright_rgb(self) -> np.ndarray:
        """The colours as a viewer shows them, alpha left out.

        Grey is repeated over the channels, 1, 2 and 4 bits fill the range of 8, an
        orientation is applied.

        Returns:
            uint8 or, where the file has more than 8 bits, uint16 `[height, width, 3]`.
        """
        header, values = self.header, self.values
        if self.palette is not None:
            values = self.palette[values[..., 0]]
        elif header.depth < 8:
            values = values * np.uint8(255 // ((1 << header.depth) - 1))
        if header.inverted:
            values = np.iinfo(values.dtype).max - values
        if header.kind in (GREY, GREY_ALPHA):
            values = values[..., :1].repeat(3, axis=2)
        return np.ascontiguousarray(_upright(values[..., :3], header.orientation))


Decoder = Callable[[bytes, Header], tuple[np.ndarray, np.ndarray | None]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: every combination of its entries is read by its decoder."""

    format: str
    kinds: tuple[str, ...]
    depths: tuple[int, ...]
    compressions: tuple[str, ...]
    decode: Decoder

    def reads(self, header: Header) -> bool:
        """True where this line is that of a file."""
        return (
            header.format == self.format
            and header.kind in self.kinds
            and header.depth in self.depths
            and header.compression in self.compressions
        )


def _by_pillow(content: bytes, header: Header) -> tuple[np.ndarray, np.ndarray | None]:
    """8 bits and fewer; Pillow notices a file that is cut short."""
    picture = open_picture(content, header.format)
    if header.kind == CMYK:
        return np.array(picture.convert("RGB")), None
    values = np.array(picture)
    if values.ndim == 2:
        values = values[..., None]
    if values.dtype == bool:
        values = values.astype(np.uint8)
    elif header.kind == GREY and header.depth < 8:
        values //= 255 // ((1 << header.depth) - 1)  # undoes what Pillow spread
    if header.kind != PALETTE:
        return values, None
    colors = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return values, _full(colors)


def _by_imagecodecs(
    content: bytes, header: Header
) -> tuple[np.ndarray, np.ndarray | None]:
    """PNG of 16 bits: Pillow keeps 8 of its colours, OpenCV no grey with alpha."""
    values = imagecodecs.png_decode(content)
    return values.reshape(*values.shape[:2], -1), None


def _by_tifffile(
    content: bytes, header: Header
) -> tuple[np.ndarray, np.ndarray | None]:
    """TIFF: any order of bytes, in strips or tiles, channels together or apart."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = headers.plain_pages(file)[0]
        _require_chunks(page)
        # Of channels that lie apart, depth, height, width, of channels together.
        apart, _, height, width, together = page.shaped
        whole = page.asarray(squeeze=False).reshape(apart, height, width, together)
        palette = palette_of(page) if header.kind == PALETTE else None
    values = np.moveaxis(whole, 0, -1).reshape(height, width, apart * together)
    values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return values, palette


def palette_of(page: tifffile.TiffPage) -> np.ndarray:
    """That of a TIFF, uint8 `[256, 3]`; what it stores has 16 bits."""
    return _full((np.asarray(page.colormap).T >> 8).astype(np.uint8))


def _require_chunks(page: tifffile.TiffPage) -> None:
    """Raises ValueError where a strip or tile is missing: tifffile would fill in 0."""
    count = math.prod(page.chunked)
    places, lengths = page.dataoffsets, page.databytecounts
    if not len(places) == len(lengths) == count or not all((*places, *lengths)):
        raise ValueError("strips or tiles are missing")


def _full(colors: np.ndarray) -> np.ndarray:
    """A palette of 256 entries, so that no index lies beyond it."""
    return np.pad(colors[:256], ((0, max(0, 256 - len(colors))), (0, 0)))


_MUCH = 128 * 2**20  # bytes of a file that is looked at before it is read
_COLORS = (GREY, GREY_ALPHA, RGB, RGB_ALPHA)
_LOSSLESS = ("none", "lzw", "deflate", "packbits", "lzma", "zstd")

TABLE = (
    Row("PNG", (GREY,), (1, 2, 4), ("deflate",), _by_pillow),
    Row("PNG", (PALETTE,), (1, 2, 4, 8), ("deflate",), _by_pillow),
    Row("PNG", _COLORS, (8,), ("deflate",), _by_pillow),
    Row("PNG", _COLORS, (16,), ("deflate",), _by_imagecodecs),
    Row("JPEG", (GREY, RGB, CMYK), (8,), ("jpeg",), _by_pillow),
    Row("BMP", (GREY,), (1,), ("none",), _by_pillow),
    Row("BMP", (GREY, PALETTE), (8,), ("none", "rle"), _by_pillow),
    Row("BMP", (RGB, RGB_ALPHA), (8,), ("none",), _by_pillow),
    Row("WebP", (RGB, RGB_ALPHA), (8,), ("webp", "lossless"), _by_pillow),
    Row("TIFF", (GREY, PALETTE), (1, 2, 4), _LOSSLESS, _by_tifffile),
    Row("TIFF", (PALETTE,), (8,), _LOSSLESS, _by_tifffile),
    Row("TIFF", _COLORS, (8, 16), _LOSSLESS, _by_tifffile),
    Row("TIFF", (GREY, RGB), (10, 12, 14), ("none",), _by_tifffile),
    Row("TIFF", (GREY,), (32,), _LOSSLESS, _by_tifffile),
    Row("TIFF", (GREY, RGB), (8,), ("jpeg",), _by_tifffile),
)


def load(path: Path) -> Picture:
    """Decodes a file as the table says.

    Raises:
        UserError: it cannot be read, is damaged, is of a kind that no decoder of the
            table reads, or holds several pictures.
    """
    content = read_content(path)
    header = read_header(path, content)
    row = next((row for row in TABLE if row.reads(header)), None)
    if row is None:
        raise UserError(f"{path}: {header.words}: not read; {_nearest(header)}")
    if header.frames > 1:
        raise UserError(f"{path}: holds {header.frames} pictures; expected one")
    try:
        values, palette = row.decode(content, header)
    except Exception as error:  # each decoder has errors of its own for damage
        raise unreadable(path, header.format, error) from error
    if values.shape[:2] != header.size:
        raise UserError(f"{path}: damaged: pixels of {values.shape[:2]}, not its size")
    return Picture(path, header, values, palette)


def read_content(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        UserError: the system refuses; or it is a TIFF too large to be decoded whole.
    """
    try:
        if path.stat().st_size > _MUCH:
            _require_decodable(path)
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _require_decodable(path: Path) -> None:
    try:
        with tifffile.TiffFile(path) as file:
            page = headers.plain_pages(file)[0]
            size = page.imagelength, page.imagewidth
    except Exception:  # no TIFF, or damaged: what decodes it will say so
        return
    headers.require_size(path, *size, headers.BY_WINDOWS)


def _nearest(header: Header) -> str:
    """What is read of the same format."""
    rows = [row for row in TABLE if row.format == header.format]
    same = [row for row in rows if header.kind in row.kinds] or rows
    depths = sorted({str(depth) for row in same for depth in row.depths}, key=int)
    ways = sorted({way for row in same for way in row.compressions})
    kinds = dict.fromkeys(kind for row in same for kind in row.kinds)
    return (
        f"{header.format} is read as {', '.join(kinds)} of {', '.join(depths)} bits, "
        f"compression {', '.join(ways)}"
    )


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation (EXIF 2.32, table of tag 274).

    Args:
        values: `[height, width, channels]`, as stored.
        orientation: 1 to 8.
    """
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values
