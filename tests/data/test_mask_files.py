"""A mask is what its content says, in every format alike, or it is refused."""

import numpy as np
import picture_files
import pytest
from PIL import Image

from resseg.data import mask_files
from resseg.errors import UserError

INDICES = np.arange(37 * 53).reshape(37, 53) % 2  # fit every depth


def _stored(depth):
    """Class indices that use a depth up, `[height, width, 1]`."""
    dtype = np.uint8 if depth <= 8 else np.uint16
    high = (1 << min(depth, 9)) - 1  # what no 8 bits hold, too
    return (np.arange(37 * 53).reshape(37, 53, 1) % (high + 1)).astype(dtype)


def _ramp(count):
    return np.arange(count).repeat(3).reshape(count, 3)


def _alike():
    """Files by name, each with the indices it stands for."""
    for depth in (1, 2, 4, 8, 16):
        values = _stored(depth)
        yield f"{depth}.png", picture_files.png(values, "grey", depth), values
        for way in picture_files.COMPRESSIONS:
            content = picture_files.tiff(values, "grey", depth, way)
            yield f"{depth}-{way}.tif", content, values
    for depth in (1, 2, 4, 8):
        values = _stored(depth)
        yield f"p{depth}.png", picture_files.png(values, "palette", depth), values
        yield f"p{depth}.tif", picture_files.tiff(values, "palette", depth), values
        if depth != 2:
            palette = picture_files.PALETTE[: 2**depth]
            yield f"p{depth}.bmp", picture_files.bmp(values, depth, palette), values
    values = _stored(8)
    yield "8.bmp", picture_files.bmp(values, 8, _ramp(256)), values
    yield "rle.bmp", picture_files.bmp(values, 8, _ramp(256), rle=True), values
    yield "1.bmp", picture_files.bmp(_stored(1), 1, _ramp(256)[[0, 255]]), _stored(1)
    for depth in (8, 16):
        grey = _stored(depth)
        opaque = np.full_like(grey, (1 << depth) - 1)
        for kind, channels in (
            ("RGB", [grey] * 3),
            ("grey with alpha", [grey, opaque]),
            ("RGB with alpha", [grey, grey, grey, opaque]),
        ):
            values = np.concatenate(channels, axis=2)
            name = f"{kind}{depth}"
            yield f"{name}.png", picture_files.png(values, kind, depth), grey
            yield f"{name}.tif", picture_files.tiff(values, kind, depth), grey
    signed = picture_files.tiff(_stored(16), "grey", 16, tags=[(339, 2)])
    yield "signed.tif", signed, _stored(16)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [pytest.param(*case, id=case[0]) for case in _alike()],
)
def test_indices_are_alike_in_every_format(tmp_path, name, content, expected):
    for path in (tmp_path / name, tmp_path / "mask.jpg"):  # the name says nothing
        path.write_bytes(content)
        mask = mask_files.read_mask(path)
        assert mask.dtype == (np.uint8 if expected.dtype == np.uint8 else np.int32)
        np.testing.assert_array_equal(mask, expected[..., 0])
        assert mask_files.stored_as_is(path) == (name == "8.png")


def _encoded(mode="L", pages=1, **options):
    picture = Image.fromarray(INDICES.astype(np.uint8) * 255).convert(mode)
    others = [picture.point(lambda v: v // 2)] * (pages - 1)
    several = {"save_all": True, "append_images": others} if others else {}
    return picture_files.encoded(picture, **several, **options)


def _turned(format):
    exif = Image.Exif()
    exif[0x0112] = 6
    if format == "TIFF":
        tags = [(0x0112, 6)]
        return picture_files.tiff(_stored(8), "grey", 8, tags=tags)
    return _encoded(format=format, exif=exif)


def _greys(greys, format):
    """A palette file of two indices that are these greys."""
    picture = Image.fromarray(INDICES.astype(np.uint8)).convert("P")
    picture.putpalette([grey for grey in greys for _ in range(3)])
    return picture_files.encoded(picture, format=format)


def _clear(kind, depth, where):
    values = picture_files.draw(kind, depth) // 2
    values[..., :-1] = 1
    values[..., -1] = (1 << depth) - 1
    values[0, 0, -1] = 0
    return where(values, kind, depth)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_encoded(format="JPEG"), "a JPEG file, which changes class indices"),
        (_encoded(format="WEBP"), "a WebP file, which changes class indices"),
        (_encoded("RGB", format="WEBP", lossless=True), "a WebP file"),
        (_encoded(format="GIF"), "a GIF file; expected PNG"),
        (
            _encoded("RGB", format="TIFF", compression="jpeg"),
            "a TIFF file compressed as jpeg, which changes class indices",
        ),
        (_encoded(pages=3, format="TIFF"), "holds 3 pictures; expected one mask"),
        (_encoded(pages=2, format="PNG"), "holds 2 pictures; expected one mask"),
        (_turned("PNG"), "EXIF orientation (6)"),
        (_turned("TIFF"), "EXIF orientation (6)"),
        (picture_files.tiff(_stored(1), "grey", 1, tags=[(262, 0)]), "0 is white"),
        (picture_files.tiff(_stored(8), "grey", 8, tags=[(262, 0)]), "0 is white"),
        (
            picture_files.tiff(picture_files.draw("grey", 32), "grey", 32),
            "expected class indices",
        ),
        (
            picture_files.tiff(_stored(16), "grey", 16, tags=[(339, 3)]),
            "float16; expected whole numbers",
        ),
        (_greys((255, 0), "PNG"), "index 0 is 255, index 1 is 0"),
        (_greys((255, 0), "TIFF"), "index 0 is 255, index 1 is 0"),
        (_greys((255, 0), "BMP"), "index 0 is 255, index 1 is 0"),
        (_clear("grey with alpha", 8, picture_files.png), "partly transparent"),
        (_clear("RGB with alpha", 16, picture_files.png), "partly transparent"),
        (_clear("RGB with alpha", 8, picture_files.tiff), "partly transparent"),
        (
            picture_files.png(picture_files.draw("RGB", 8), "RGB", 8),
            "a mask in colour",
        ),
        (
            picture_files.tiff(picture_files.draw("RGB", 16), "RGB", 16),
            "a mask in colour",
        ),
    ],
)
def test_what_may_mean_two_things_is_refused(tmp_path, content, message):
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        mask_files.read_mask(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_palette_of_greys_in_order_counts_by_index(tmp_path):
    for format in ("PNG", "TIFF", "BMP"):
        path = tmp_path / "mask.png"
        path.write_bytes(_greys((0, 128), format))
        np.testing.assert_array_equal(mask_files.read_mask(path), INDICES)


def test_colors_of_a_mask(tmp_path):
    path = tmp_path / "mask.png"
    values = picture_files.draw("RGB", 8)
    path.write_bytes(picture_files.png(values, "RGB", 8))
    np.testing.assert_array_equal(mask_files.read_mask_colors(path), values)
    path.write_bytes(picture_files.tiff(_stored(8), "palette", 8))
    expected = picture_files.PALETTE[_stored(8)[..., 0]]
    np.testing.assert_array_equal(mask_files.read_mask_colors(path), expected)
    path.write_bytes(picture_files.png(_stored(16), "grey", 16))
    with pytest.raises(UserError, match="16 bits per channel"):
        mask_files.read_mask_colors(path)
    path.write_bytes(_turned("PNG"))
    with pytest.raises(UserError, match="EXIF orientation"):
        mask_files.read_mask_colors(path)
