"""TIFF read by windows: what an image of any size holds there, never all of it.

Georeferences are tags of the file. They are handed on as they stand, so nothing has to
understand them; GDAL reads them where it reads those of the source.
"""

import collections
import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile

from resseg.data import headers, pixels
from resseg.data.headers import GREY_ALPHA, RGB_ALPHA
from resseg.data.pixels import Picture
from resseg.errors import UserError

_CACHE_BYTES = 96 * 2**20  # of decoded tiles or strips
_LARGEST_STRIP = 128 * 2**20  # bytes, decoded
_NODATA = 42113  # tag of GDAL: the value of pixels that nobody knows
# Scale, tie points, transformation; keys of the reference system and their values.
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
_MASK = 4  # TIFF: a page that says which pixels of another are known
_JPEG = (6, 7, 34892, 33007)  # compressions whose tables stand apart
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(path: Path) -> bool:
    """By its first bytes.

    Raises:
        UserError: the system refuses to read it.
    """
    try:
        with path.open("rb") as file:
            return file.read(4) in _TIFF_MARKS
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


class Windows:
    """An image in a TIFF file, by windows. A context, which closes the file.

    Attributes:
        path: of the file.
        header: what the file is.
        size: height and width.
        geo_tags: code, type, count and value of those that say where on Earth it lies.
        too_large: whether it is beyond what is decoded whole.
    """

    def __init__(self, path: Path):
        """Reads what the file says of itself, no pixel.

        Raises:
            UserError: it cannot be read, or is of a kind that is not read by windows.
        """
        self.path = path
        with contextlib.ExitStack() as opened:
            try:
                self._file = opened.enter_context(tifffile.TiffFile(path))
                self._page = page = headers.plain_pages(self._file)[0]
                self.header = headers.of_tiff(path, self._file)
                self._mask = self._mask_page()
            except UserError:
                raise
            except Exception as error:  # each kind of damage has one of its own
                raise headers.unreadable(path, "TIFF", error) from error
            self._opened = opened.pop_all()
        self.size = self.header.size
        large = math.prod(self.size) > headers.MOST_PIXELS
        self.too_large = large or max(self.size) > headers.LONGEST_SIDE
        self.geo_tags = [
            (tag.code, int(tag.dtype), tag.count, tag.value)
            for code in _GEO_TAGS
            if (tag := page.tags.get(code)) is not None
        ]
        self._nodata = _number(page.tags.get(_NODATA))
        self._cache: collections.OrderedDict[Any, np.ndarray | None]
        self._cache, self._cached = collections.OrderedDict(), 0

    @property
    def marked(self) -> bool:
        """Whether it has a georeference, or says which pixels nobody knows."""
        known = self._nodata is not None or self._mask is not None
        return bool(self.geo_tags) or known

    def check(self) -> None:
        """That it can be predicted by windows.

        Raises:
            UserError: it is of a kind that is not.
        """
        header = self.header
        if not any(row.reads(header) for row in pixels.TABLE):
            raise UserError(f"{self.path}: {header.words}: not read")
        if header.signed or header.depth > 16 or header.multiplied:
            raise UserError(
                f"{self.path}: {header.words}; expected colours in unsigned integers "
                "of 8 to 16 bits, not multiplied by alpha"
            )
        length, width = _segment_size(self._page)
        size = length * width * self._page.samplesperpixel * header.depth // 8
        if size > _LARGEST_STRIP and not self._page.is_memmappable:
            raise UserError(
                f"{self.path}: strips of {length} rows, {size / 1e6:.0f} MB each when "
                "decoded; expected tiles (gdal_translate -co TILED=YES)"
            )
        if header.frames > 1:
            raise UserError(
                f"{self.path}: holds {header.frames} pictures; expected one"
            )
        if header.orientation != 1:
            raise UserError(
                f"{self.path}: has an orientation ({header.orientation}); expected a "
                "large image upright"
            )

    def read(
        self, rows: slice, columns: slice, cleared: bool = True
    ) -> tuple[Picture, np.ndarray]:
        """A window inside the image.

        Args:
            rows: of the window.
            columns: of the window.
            cleared: whether what nobody knows becomes 0, or stays as it is stored.

        Returns:
            The picture, its `values` `[rows, columns, channels]`; and where somebody
            knows them, bool `[rows, columns]`.

        Raises:
            UserError: the file is damaged there.
        """
        values = self._window(self._page, rows, columns)
        known = np.ones(values.shape[:2], bool)
        colors = values
        if self.header.kind in (GREY_ALPHA, RGB_ALPHA):
            known &= values[..., -1] != 0
            colors = values[..., :-1]
        if self._nodata is not None:
            known &= (colors != self._nodata).any(-1)
        if self._mask is not None:
            known &= self._window(self._mask, rows, columns)[..., 0] != 0
        if cleared:
            values[~known] = 0
        palette = None
        if self.header.kind == headers.PALETTE:
            palette = pixels.palette_of(self._page)
        return Picture(self.path, self.header, values, palette), known

    def is_empty(self, rows: slice, columns: slice) -> bool:
        """True where nothing is stored of a window, and nothing means no data."""
        if self._nodata is None:
            return False
        page = self._page
        numbers = [each[0] for each in _segments(page, rows, columns)]
        return not any(page.databytecounts[number] for number in numbers)

    def close(self) -> None:
        """Closes the file."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mask_page(self) -> tifffile.TiffPage | None:
        size = self._page.imagelength, self._page.imagewidth
        for page in self._file.pages:
            whole = page.aspage()
            if whole.subfiletype & _MASK and (
                (whole.imagelength, whole.imagewidth) == size
            ):
                return whole
        return None

    def _window(
        self, page: tifffile.TiffPage, rows: slice, columns: slice
    ) -> np.ndarray:
        """Values as stored, `[rows, columns, channels]`."""
        if page.is_memmappable:
            return self._mapped(page, rows, columns)
        dtype = np.dtype(np.uint8 if page.dtype == bool else page.dtype)
        shape = rows.stop - rows.start, columns.stop - columns.start
        shape = (*shape, page.samplesperpixel)
        values = np.full(shape, int(page.nodata), dtype.newbyteorder("="))
        for number, plane, above, left in _segments(page, rows, columns):
            segment = self._segment(page, number)
            if segment is None:  # a sparse file: no bytes are stored
                continue
            top, low = max(above, rows.start), min(above + len(segment), rows.stop)
            end = min(left + segment.shape[1], columns.stop)
            begin = max(left, columns.start)
            values[
                top - rows.start : low - rows.start,
                begin - columns.start : end - columns.start,
                plane,
            ] = segment[top - above : low - above, begin - left : end - left]
        return values

    def _mapped(
        self, page: tifffile.TiffPage, rows: slice, columns: slice
    ) -> np.ndarray:
        """Out of pixels that lie in the file as they are, in one strip maybe."""
        apart = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        shape = page.imagelength, page.imagewidth
        channels = (page.samplesperpixel,)
        try:
            # Mapped anew each time: pages that were read stay in memory until then.
            values = np.memmap(
                self.path,
                np.dtype(page.dtype).newbyteorder(self._file.byteorder),
                "r",
                page.dataoffsets[0],
                channels + shape if apart else shape + channels,
            )
        except ValueError as error:
            raise UserError(f"{self.path}: damaged (cut short)") from error
        if apart:
            values = np.moveaxis(values, 0, -1)
        part = values[rows, columns]
        return np.array(part, part.dtype.newbyteorder("="))

    def _segment(self, page: tifffile.TiffPage, number: int) -> np.ndarray | None:
        """A decoded tile or strip, `[rows, columns, channels]`; the last are kept."""
        key = page.index, number
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        try:
            decoded = _decode(self._file, page, number)
        except Exception as error:  # each compression has errors of its own
            reason = " ".join(str(error).split())[:80] or type(error).__name__
            raise UserError(
                f"{self.path}: damaged at tile or strip {number} ({reason})"
            ) from error
        self._cache[key] = decoded
        self._cached += decoded.nbytes if decoded is not None else 0
        while self._cached > _CACHE_BYTES and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._cached -= oldest.nbytes if oldest is not None else 0
        return decoded


def _decode(
    file: tifffile.TiffFile, page: tifffile.TiffPage, number: int
) -> np.ndarray | None:
    offset, count = page.dataoffsets[number], page.databytecounts[number]
    if not count:
        return None
    file.filehandle.seek(offset)
    content = file.filehandle.read(count)
    if len(content) != count:
        raise ValueError("cut short")
    tables: dict[str, Any] = {}
    if page.compression in _JPEG:
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    segment, _, _ = page.decode(content, number, **tables)
    if segment is None:
        return None
    return np.asarray(segment)[0]  # a depth of one


def _segments(
    page: tifffile.TiffPage, rows: slice, columns: slice
) -> Iterator[tuple[int, slice, int, int]]:
    """Number, channels, first row and column of the tiles or strips of a window."""
    length, width = _segment_size(page)
    across, down = -(-page.imagewidth // width), -(-page.imagelength // length)
    apart = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    for plane in range(page.samplesperpixel if apart else 1):
        channels = slice(plane, plane + 1) if apart else slice(None)
        for y in range(rows.start // length, -(-rows.stop // length)):
            for x in range(columns.start // width, -(-columns.stop // width)):
                number = (plane * down + y) * across + x
                yield number, channels, y * length, x * width


def _segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """Height and width of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _number(tag: Any) -> float | None:
    """What a tag says that holds a number as text; None where it says none."""
    try:
        value = float(str(tag.value).strip("\0 ")) if tag is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(value) else value
