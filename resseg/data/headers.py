"""What an image file is, by its content: the end of its name says nothing here."""

import dataclasses
import io
import logging
from pathlib import Path

import tifffile
from PIL import Image, UnidentifiedImageError

from resseg.data.spec import LONGEST_SIDE
from resseg.errors import UserError

# An image is decoded whole for each of its crops; a larger one belongs in tiles.
MOST_PIXELS = 178_956_970
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit warns at half of that: ours holds
# What is wrong with a file is said in one line, by the error that refuses it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

GREY, GREY_ALPHA, PALETTE = "grey", "grey with alpha", "palette"
RGB, RGB_ALPHA, CMYK = "RGB", "RGB with alpha", "CMYK"

_ORIENTATION = 0x0112  # an EXIF and TIFF tag
_PNG_KINDS = {0: GREY, 2: RGB, 3: PALETTE, 4: GREY_ALPHA, 6: RGB_ALPHA}
_PNG_EXIF = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks that may hold EXIF or XMP
_PILLOW_KINDS = {  # of BMP, JPEG and WebP: kind and bits per channel
    "1": (GREY, 1),
    "L": (GREY, 8),
    "P": (PALETTE, 8),
    "RGB": (RGB, 8),
    "RGBA": (RGB_ALPHA, 8),
    "CMYK": (CMYK, 8),
}
_ASSOCIATED, _UNASSOCIATED = 1, 2  # TIFF: alpha that colours are multiplied by, or not
BY_WINDOWS = ", or read it by windows: predict --tile N, data prepare --cut N"
_NO_PAGE = 1 | 4  # TIFF: a thumbnail, a transparency mask
_KNOWN = (  # bytes, where they stand, and what they say
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"BM", 0, "BMP"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"II+\0", 0, "TIFF"),
    (b"MM\0+", 0, "TIFF"),
    (b"WEBP", 8, "WebP"),
    (b"GIF8", 0, "GIF"),
    (b"\0\0\0\x0cjP  ", 0, "JPEG 2000"),
    (b"ftypavif", 4, "AVIF"),
    (b"ftyphei", 4, "HEIC"),
    (b"ftypmif1", 4, "HEIF"),
    (b"8BPS", 0, "Photoshop"),
    (b"\x93NUMPY", 0, "NumPy"),
    (b"\x89HDF", 0, "HDF5"),
    (b"DICM", 128, "DICOM"),
    (b"%PDF", 0, "PDF"),
    (b"version https://git-lfs", 0, "Git LFS pointer"),
)
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WebP")


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known of an image file before its pixels are decoded.

    Attributes:
        format: one of `FORMATS`.
        kind: of its channels, such as `GREY`.
        depth: bits per channel.
        compression: of the pixels, in small letters, such as `deflate` or `jpeg`.
        size: height and width, as stored.
        frames: pictures of full size in it.
        orientation: as EXIF counts, 1 to 8; 1 is upright.
        inverted: True where 0 is white.
        signed: True where values may be negative.
        transparent: True where one value or colour is named as transparent.
        multiplied: True where colours are stored multiplied by alpha.
    """

    format: str
    kind: str
    depth: int
    compression: str
    size: tuple[int, int]
    frames: int = 1
    orientation: int = 1
    inverted: bool = False
    signed: bool = False
    transparent: bool = False
    multiplied: bool = False

    @property
    def lossy(self) -> bool:
        """True where the compression changes values."""
        return self.compression in ("jpeg", "webp")

    @property
    def words(self) -> str:
        """The file in a few words, for a message."""
        return f"{self.format}, {self.kind}, {self.depth} bits, {self.compression}"


def read_header(path: Path | str, content: bytes) -> Header:
    """Says what a file is.

    Args:
        path: what messages call it.
        content: of the whole file.

    Raises:
        UserError: it is no image, of a format that is not read, damaged, or larger
            than any image may be.
    """
    name = _format(content)
    if name not in FORMATS:
        what = f"a {name} file" if name else "no image file" if content else "empty"
        raise UserError(
            f"{path}: cannot be read as an image: {what}; expected {', '.join(FORMATS)}"
        )
    try:
        header = _of_tiff(path, content) if name == "TIFF" else _of(path, content, name)
    except UserError:
        raise
    except Exception as error:  # each decoder has errors of its own for damage
        raise unreadable(path, name, error) from error
    return header


def unreadable(path: Path | str, name: str, error: Exception) -> UserError:
    """The error that names a damaged file."""
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "damaged, or cut short"
    return UserError(f"{path}: cannot be read as {name} ({reason})")


def open_picture(content: bytes, name: str) -> Image.Image:
    """Opens any file but TIFF, as what it is: nothing else is tried."""
    return Image.open(io.BytesIO(content), formats=[name.upper()])


def plain_pages(file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """The pages of a TIFF that are pictures of their own."""
    pages = [page.aspage() for page in file.pages]
    return [page for page in pages if not page.subfiletype & _NO_PAGE] or pages[:1]


def _format(content: bytes) -> str:
    for mark, place, name in _KNOWN:
        if content[place : place + len(mark)] == mark:
            return name
    return ""


def _of(path: Path | str, content: bytes, name: str) -> Header:
    picture = open_picture(content, name)
    require_size(path, picture.height, picture.width)
    if name == "PNG":
        if b"IEND" not in content:  # OpenCV reads no PNG without its end
            raise UserError(f"{path}: cannot be read as PNG (its end is missing)")
        kind, depth = _PNG_KINDS[content[25]], content[24]
    elif name == "BMP" and _bmp_depth(content) == 16:
        raise UserError(f"{path}: BMP of 16 bits a pixel; expected 1, 4, 8, 24 or 32")
    else:
        kind, depth = _PILLOW_KINDS[picture.mode]
    return Header(
        format=name,
        kind=kind,
        depth=depth,
        compression=_compression(content, name),
        size=(picture.height, picture.width),
        # What follows the first picture of a JPEG file is its depth or its thumbnail.
        frames=1 if name == "JPEG" else getattr(picture, "n_frames", 1),
        orientation=_orientation(picture, content, name),
        transparent="transparency" in picture.info,
    )


def _orientation(picture: Image.Image, content: bytes, name: str) -> int:
    # To look for EXIF, Pillow decodes a PNG to its end.
    if name == "PNG" and not any(mark in content for mark in _PNG_EXIF):
        return 1
    return _turn(picture.getexif().get(_ORIENTATION))


def _of_tiff(path: Path | str, content: bytes) -> Header:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        header = of_tiff(path, file)
    require_size(path, *header.size, BY_WINDOWS)
    return header


def of_tiff(path: Path | str, file: tifffile.TiffFile) -> Header:
    """What a TIFF says of itself; its image may be of any size.

    Raises:
        UserError: its pixels are no whole numbers, or its channels no colours.
    """
    pages = plain_pages(file)
    page = pages[0]
    stacked = int((file.imagej_metadata or {}).get("images", 1))
    kind, inverted = _tiff_kind(path, page)
    if page.sampleformat not in (1, 2):
        raise UserError(f"{path}: pixels of type {page.dtype}; expected whole numbers")
    tag = page.tags.get(_ORIENTATION)
    return Header(
        format="TIFF",
        kind=kind,
        depth=page.bitspersample,
        compression=_tiff_compression(page),
        size=(page.imagelength, page.imagewidth),
        frames=max(len(pages), stacked, page.imagedepth),
        orientation=_turn(tag.value if tag else 1),
        inverted=inverted,
        signed=page.sampleformat == 2,
        multiplied=tuple(page.extrasamples) == (_ASSOCIATED,),
    )


def _tiff_kind(path: Path | str, page: tifffile.TiffPage) -> tuple[str, bool]:
    """The kind of the channels, and whether 0 is white."""
    color = tifffile.PHOTOMETRIC(page.photometric).name
    channels, extra = page.samplesperpixel, tuple(page.extrasamples)
    if color == "YCBCR" and _tiff_compression(page) == "jpeg":
        color = "RGB"  # the decoder of JPEG makes it so
    grey = color in ("MINISBLACK", "MINISWHITE")
    if channels == 1 and grey:
        return GREY, color == "MINISWHITE"
    if channels == 1 and color == "PALETTE":
        return PALETTE, False
    if channels == 3 and color == "RGB":
        return RGB, False
    alpha = extra in ((_ASSOCIATED,), (_UNASSOCIATED,))
    if channels == 2 and color == "MINISBLACK" and alpha:
        return GREY_ALPHA, False
    # OpenCV writes alpha without naming it, and libtiff takes it for alpha.
    if channels == 4 and color == "RGB" and (alpha or not extra):
        return RGB_ALPHA, False
    raise UserError(
        f"{path}: {channels} channels of {color} in a TIFF; expected grey, RGB, "
        "a palette, or grey or RGB with one channel that is named as alpha"
    )


def _tiff_compression(page: tifffile.TiffPage) -> str:
    name = tifffile.COMPRESSION(page.compression).name.lower()
    return "deflate" if name == "adobe_deflate" else name


def _compression(content: bytes, name: str) -> str:
    if name == "PNG":
        return "deflate"
    if name == "JPEG":
        return "jpeg"
    if name == "WebP":
        # In an extended file the chunk of the pixels comes after others.
        return "lossless" if b"VP8L" in content[:4096] else "webp"
    return "none" if _bmp_compression(content) in (0, 3) else "rle"


def _bmp_depth(content: bytes) -> int:
    # The oldest header has 12 bytes, and the bits at another place.
    place = 24 if content[14] == 12 else 28
    return int.from_bytes(content[place : place + 2], "little")


def _bmp_compression(content: bytes) -> int:
    return 0 if content[14] == 12 else int.from_bytes(content[30:34], "little")


def _turn(orientation: object) -> int:
    """What viewers make of an orientation: none beyond 1 to 8."""
    if isinstance(orientation, int) and 1 <= orientation <= 8:
        return orientation
    return 1


def require_size(path: Path | str, height: int, width: int, hint: str = "") -> None:
    """Raises UserError where an image is larger than any that is decoded whole."""
    if min(height, width) < 1 or max(height, width) > LONGEST_SIDE:
        raise UserError(
            f"{path}: {height}x{width} (height x width); expected sides of 1 to "
            f"{LONGEST_SIDE}; cut it into tiles{hint}"
        )
    if height * width > MOST_PIXELS:
        raise UserError(
            f"{path}: {height}x{width} is {height * width / 1e6:.0f} megapixels; "
            f"expected at most {MOST_PIXELS / 1e6:.0f}; cut it into tiles{hint}"
        )
