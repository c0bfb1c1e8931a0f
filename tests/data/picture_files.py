"""Writes an image file of every kind beside the pixels it was made of.

    python tests/data/picture_files.py FOLDER

Runs in a process of its own and imports nothing of resseg: PNG, BMP and TIFF are put
together byte by byte, so that no decoder, and no memory of one, can lend its pixels to
the test that reads them. `index.json` lists, per file, the format, the kind of its
channels, the bits and the compression. NAME.npy holds the values as stored, and
NAME.rgb.npy the colours that a viewer shows.
"""

import io
import json
import lzma
import struct
import sys
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 37, 53  # no multiple of 8: rows of fewer bits end within a byte
CHANNELS = {
    "grey": 1,
    "grey with alpha": 2,
    "palette": 1,
    "RGB": 3,
    "RGB with alpha": 4,
}
RANDOM = np.random.default_rng(7)
PALETTE = RANDOM.integers(0, 256, (256, 3)).astype(np.uint8)


def draw(kind, depth):
    """Random values of a kind, integers `[height, width, channels]`."""
    dtype = np.uint8 if depth <= 8 else np.uint16 if depth <= 16 else np.uint32
    shape = (HEIGHT, WIDTH, CHANNELS[kind])
    return RANDOM.integers(0, 1 << depth, shape, dtype)


def colors(values, kind, depth):
    """What a viewer shows, uint8 or uint16 `[height, width, 3]`."""
    if kind == "palette":
        return PALETTE[values[..., 0]]
    if depth < 8:
        values = (values.astype(int) * 255 // (2**depth - 1)).astype(np.uint8)
    if CHANNELS[kind] <= 2:
        return np.repeat(values[..., :1], 3, axis=2)
    return values[..., :3]


def pack(values, depth, order=">"):
    """Rows of values as bytes; those of fewer than 8 bits, or of 10 to 14, packed."""
    rows = values.reshape(len(values), -1)
    if depth in (8, 16, 32):
        return [row.astype(f"{order}u{depth // 8}").tobytes() for row in rows]
    bits = (rows[..., None] >> np.arange(depth)[::-1]) & 1
    return [row.tobytes() for row in np.packbits(bits.reshape(len(rows), -1), axis=1)]


def png(values, kind, depth, chunks=()):
    """A PNG; `chunks` (type, content) stand before the pixels."""
    number = {"grey": 0, "RGB": 2, "palette": 3, "grey with alpha": 4}.get(kind, 6)
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row for row in pack(values, depth))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, number, 0, 0, 0))]
    if kind == "palette":
        parts.append((b"PLTE", PALETTE[: 2**depth].tobytes()))
    parts += [*chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


def bmp(values, bits, palette=None, rle=False, alpha=False):
    """A BMP of `bits` per pixel; its rows begin below and fill four bytes."""
    height, width = values.shape[:2]
    if bits >= 24:  # blue first
        values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    rows = pack(values[::-1], bits if bits <= 8 else 8)
    rows = [row + bytes(-len(row) % 4) for row in rows]
    if rle:
        runs = [b"".join(bytes((1, value)) for value in row[:width]) for row in rows]
        rows = [*(run + b"\0\0" for run in runs), b"\0\1"]
    table = b"" if palette is None else b"".join(bytes((*c[::-1], 0)) for c in palette)
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    longer = struct.pack("<4I", *masks) + bytes(52) if alpha else b""
    size, pixels = 40 + len(longer), b"".join(rows)
    start = 14 + size + len(table)
    head = struct.pack("<2sIII", b"BM", start + len(pixels), 0, start)
    count = 0 if palette is None else len(palette)
    info = struct.pack(
        "<IiiHHIIiiII",
        *(size, width, height, 1, bits, 3 if alpha else int(rle)),
        *(len(pixels), 0, 0, count, 0),
    )
    return head + info + longer + table + pixels


def packbits(content):
    """PackBits without a run: literal pieces alone."""
    pieces = [content[at : at + 128] for at in range(0, len(content), 128)]
    return b"".join(bytes((len(piece) - 1,)) + piece for piece in pieces)


def lzw(content):
    """TIFF's LZW without a match: codes of 9 bits, cleared before they need 10."""
    codes = []
    for at in range(0, len(content), 250):
        codes += [256, *content[at : at + 250]]
    codes.append(257)
    bits = (np.array(codes)[:, None] >> np.arange(9)[::-1]) & 1
    return np.packbits(bits.ravel()).tobytes()


COMPRESSIONS = {  # of a TIFF: the number of its tag, and what makes it
    "none": (1, bytes),
    "lzw": (5, lzw),
    "deflate": (8, zlib.compress),
    "packbits": (32773, packbits),
    "lzma": (34925, lzma.compress),
    "zstd": (50000, imagecodecs.zstd_encode),
}


def tiff(
    values,
    kind,
    depth,
    way="none",
    order="<",
    apart=False,
    predicted=False,
    unnamed=False,
    tags=(),
):
    """A TIFF in two strips, of one picture; `tags` (number, value) come on top.

    `apart`: each channel on its own; `predicted`: differences of neighbours; `unnamed`:
    no tag says that the fourth channel is alpha, as OpenCV writes it.
    """
    height, width, channels = values.shape
    planes = [values[..., [c]] for c in range(channels)] if apart else [values]
    number, compress = COMPRESSIONS[way]
    half = height // 2 + 1
    strips = []
    for plane in planes:
        if predicted:
            first = np.zeros_like(plane[:, :1])
            plane = np.diff(plane, axis=1, prepend=first)
        packed = pack(plane, depth, order)
        strips += [b"".join(packed[:half]), b"".join(packed[half:])]
    strips = [compress(strip) for strip in strips]
    color = {"grey": 1, "grey with alpha": 1, "palette": 3}.get(kind, 2)
    at = 8
    places = []
    for strip in strips:
        places.append(at)
        at += len(strip) + len(strip) % 2
    entries = {
        256: (3, [width]),
        257: (3, [height]),
        258: (3, [depth] * channels),
        259: (3, [number]),
        262: (3, [color]),
        273: (4, places),
        277: (3, [channels]),
        278: (3, [half]),
        279: (4, [len(strip) for strip in strips]),
        284: (3, [2 if apart else 1]),
        317: (3, [2 if predicted else 1]),
    }
    if kind == "palette":
        entries[320] = (3, (PALETTE[: 2**depth].T.astype(int) * 257).ravel().tolist())
    if kind.endswith("alpha") and not unnamed:
        entries[338] = (3, [2])
    entries |= {tag: (4, np.atleast_1d(value).tolist()) for tag, value in tags}
    body = b"".join(strip + bytes(len(strip) % 2) for strip in strips)
    directory, beyond = b"", b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, (kind_of, numbers) in sorted(entries.items()):
        letter = "H" if kind_of == 3 else "I"
        content = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(content) > 4:
            content, here = struct.pack(f"{order}I", after + len(beyond)), content
            beyond += here + bytes(len(here) % 2)
        head = struct.pack(f"{order}HHI", tag, kind_of, len(numbers))
        directory += head + content.ljust(4, b"\0")
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at)
    count = struct.pack(f"{order}H", len(entries))
    return start + body + count + directory + bytes(4) + beyond


def encoded(picture, **options):
    """The bytes that Pillow makes of a picture."""
    file = io.BytesIO()
    picture.save(file, **options)
    return file.getvalue()


def by_opencv(content):
    """The colours that OpenCV, another decoder, sees."""
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def files():
    """Yields suffix, format, kind, depth, compression, content, values and colours."""

    def known(kind, depth, values=None):
        values = draw(kind, depth) if values is None else values
        return values, colors(values, kind, depth)

    for kind, depths in (
        ("grey", (1, 2, 4, 8, 16)),
        ("palette", (1, 2, 4, 8)),
        *((kind, (8, 16)) for kind in CHANNELS if kind not in ("grey", "palette")),
    ):
        for depth in depths:
            values, shown = known(kind, depth)
            content = png(values, kind, depth)
            yield "png", "PNG", kind, depth, "deflate", content, values, shown

    ramp = np.arange(256).repeat(3).reshape(256, 3)
    values, shown = known("grey", 1)
    content = bmp(values, 1, ramp[[0, 255]])
    yield "bmp", "BMP", "grey", 1, "none", content, values, shown
    for rle in (False, True):
        way = "rle" if rle else "none"
        values, shown = known("grey", 8)
        content = bmp(values, 8, ramp, rle)
        yield "bmp", "BMP", "grey", 8, way, content, values, shown
        values, shown = known("palette", 8)
        content = bmp(values, 8, PALETTE, rle)
        yield "bmp", "BMP", "palette", 8, way, content, values, shown
    for bits in (1, 4):
        values = draw("palette", bits)
        content = bmp(values, bits, PALETTE[: 2**bits])
        shown = colors(values, "palette", bits)
        yield "bmp", "BMP", "palette", 8, "none", content, values, shown
    for kind, bits in (("RGB", 24), ("RGB with alpha", 32)):
        values, shown = known(kind, 8)
        content = bmp(values, bits)
        # Without a mask for it the fourth byte of a pixel is nothing.
        yield "bmp", "BMP", "RGB", 8, "none", content, values[..., :3], shown
    content = bmp(values, 32, alpha=True)
    yield "bmp", "BMP", "RGB with alpha", 8, "none", content, values, shown

    for kind, depths, ways in (
        ("grey", (1, 2, 4, 8, 16, 32), COMPRESSIONS),
        ("palette", (1, 2, 4, 8), COMPRESSIONS),
        ("grey with alpha", (8, 16), COMPRESSIONS),
        ("RGB", (8, 16), COMPRESSIONS),
        ("RGB with alpha", (8, 16), COMPRESSIONS),
        ("grey", (10, 12, 14), ("none",)),
        ("RGB", (10, 12, 14), ("none",)),
    ):
        for depth in depths:
            for way in ways:
                for options in tiff_layouts(kind, depth, way):
                    values, shown = known(kind, depth)
                    content = tiff(values, kind, depth, way, **options)
                    yield "tif", "TIFF", kind, depth, way, content, values, shown

    for layout in ({"tile": (16, 16)}, {"bigtiff": True, "rowsperstrip": 5}):
        for kind, color, depth in (("grey", "minisblack", 8), ("RGB", "rgb", 16)):
            values, shown = known(kind, depth)
            file = io.BytesIO()
            stored = values.squeeze()
            tifffile.imwrite(file, stored, photometric=color, metadata=None, **layout)
            content = file.getvalue()
            yield "tif", "TIFF", kind, depth, "none", content, values, shown

    smooth = cv2.GaussianBlur(draw("RGB", 8), (0, 0), 2)
    rgb = Image.fromarray(smooth)
    for mode, kind in (("L", "grey"), ("RGB", "RGB"), ("CMYK", "CMYK")):
        for options in ({"subsampling": 2}, {"progressive": True, "quality": 95}):
            content = encoded(rgb.convert(mode), format="JPEG", **options)
            shown = by_opencv(content)
            yield "jpg", "JPEG", kind, 8, "jpeg", content, None, shown
        if mode != "CMYK":
            content = encoded(rgb.convert(mode), format="TIFF", compression="jpeg")
            shown = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
            yield "tif", "TIFF", kind, 8, "jpeg", content, None, shown
    for kind in ("RGB", "RGB with alpha"):
        values = draw(kind, 8)
        values[..., 3:] |= 1  # where alpha is 0, WebP drops the colour
        content = encoded(Image.fromarray(values), format="WEBP", lossless=True)
        shown = values[..., :3]
        yield "webp", "WebP", kind, 8, "lossless", content, values, shown
        content = encoded(Image.fromarray(values), format="WEBP", quality=80)
        shown = by_opencv(content)
        yield "webp", "WebP", kind, 8, "webp", content, None, shown


def tiff_layouts(kind, depth, way):
    """Orders of bytes, channels apart, differences: what changes no value."""
    yield {}
    yield {"order": ">"}
    if kind == "RGB with alpha":
        yield {"unnamed": True}
    if depth in (8, 16) and CHANNELS[kind] > 1:
        yield {"apart": True}
        yield {"apart": True, "order": ">"}
    if depth in (8, 16) and way in ("lzw", "deflate") and kind != "palette":
        yield {"predicted": True}
        yield {"predicted": True, "order": ">"}


def main(folder):
    """Writes all files, and their index last."""
    index = []
    for place, (suffix, *what, content, values, shown) in enumerate(files()):
        name = f"{place:03d}.{suffix}"
        (folder / name).write_bytes(content)
        if values is not None:
            np.save(folder / f"{name}.npy", values)
        np.save(folder / f"{name}.rgb.npy", shown)
        index.append([name, *what])
    (folder / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
