"""Every accepted kind of file gives the pixels that another process made it of."""

import json
import subprocess
import sys
import zlib
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import picture_files
import pytest
import tifffile
from PIL import Image, ImageOps

from resseg.data import mask_files, pixels, reading
from resseg.data.spec import LONGEST_SIDE
from resseg.errors import UserError

COMBINATIONS = {
    (row.format, *rest)
    for row in pixels.TABLE
    for rest in product(row.kinds, row.depths, row.compressions)
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of `picture_files.py` and its index."""
    folder = tmp_path_factory.mktemp("pictures")
    script = Path(__file__).with_name("picture_files.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder, json.loads((folder / "index.json").read_text())


def test_every_line_of_the_table_is_written(written):
    _, index = written
    assert {tuple(what) for _, *what in index} == COMBINATIONS


@pytest.mark.parametrize(
    "combination", sorted(COMBINATIONS, key=str), ids=lambda c: "-".join(map(str, c))
)
def test_pixels_are_those_of_the_other_process(written, combination):
    folder, index = written
    names = [name for name, *what in index if tuple(what) == combination]
    for name in names:
        picture = pixels.load(folder / name)
        again = pixels.load(folder / name)
        assert (picture.values == again.values).all()
        stored = folder / f"{name}.npy"
        if stored.exists():
            expected = np.load(stored)
            assert picture.values.dtype == expected.dtype, name
            np.testing.assert_array_equal(picture.values, expected, name)
        shown = np.load(folder / f"{name}.rgb.npy")
        # Two programs round the way from CMYK differently.
        tolerance = combination[1] == "CMYK"
        seen = picture.upright_rgb()
        assert seen.dtype == shown.dtype and seen.shape == shown.shape, name
        assert np.abs(seen.astype(int) - shown).max() <= tolerance, name


def _save(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_of_pillow(tmp_path, orientation):
    values = picture_files.draw("RGB", 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(values)
    path = tmp_path / "turned.png"
    stored.save(path, exif=exif)
    upright = np.array(ImageOps.exif_transpose(Image.open(path)))
    assert (reading.load_image(path).upright_rgb() == upright).all()
    assert reading.stored_as_is(path) == (orientation == 1)
    content = picture_files.tiff(values, "RGB", 8, tags=[(274, orientation)])
    path = _save(tmp_path / "turned.tif", content)
    assert (reading.load_image(path).upright_rgb() == upright).all()


def test_white_is_zero_in_some_tiffs(tmp_path):
    for depth in (1, 4, 8, 16):
        values = picture_files.draw("grey", depth)
        content = picture_files.tiff(values, "grey", depth, tags=[(262, 0)])
        shown = pixels.load(_save(tmp_path / "white.tif", content)).upright_rgb()
        black = picture_files.colors((1 << depth) - 1 - values, "grey", depth)
        assert (shown == black).all()


def test_what_training_decodes_is_what_predict_reads(written):
    folder, index = written
    as_is = [name for name, *_ in index if reading.stored_as_is(folder / name)]
    assert {Path(name).suffix for name in as_is} == {".png", ".jpg"}
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    for name in as_is:
        content = np.fromfile(folder / name, np.uint8)
        seen = reading.load_image(folder / name).upright_rgb()
        assert (cv2.imdecode(content, flags) == seen).all()


def _gif(values):
    return picture_files.encoded(Image.fromarray(values[..., 0]), format="GIF")


def _pages(values, **options):
    pages = [Image.fromarray(values[..., 0] // n) for n in (1, 2, 3)]
    return picture_files.encoded(
        pages[0], save_all=True, append_images=pages[1:], **options
    )


def _tiff(kind, depth, **tags):
    numbers = {"sample": 339, "color": 262, "extra": 338, "way": 259}
    numbers |= {"places": 273, "lengths": 279}
    return picture_files.tiff(
        picture_files.draw(kind, depth),
        kind,
        depth,
        tags=[(numbers[name], value) for name, value in tags.items()],
    )


GREY = picture_files.draw("grey", 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; expected PNG, JPEG, BMP, TIFF, WebP"),
        (b"no picture at all", "no image file"),
        (_gif(GREY), "a GIF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid x", "a Git LFS pointer"),
        (_pages(GREY, format="TIFF"), "holds 3 pictures"),
        (_pages(GREY, format="PNG"), "holds 3 pictures"),
        (_pages(np.repeat(GREY, 3, 2), format="WEBP"), "holds 3 pictures"),
        (_tiff("grey", 32, sample=3), "float32; expected whole numbers"),
        (_tiff("grey", 32), "type uint32; expected unsigned integers of 8 to 16"),
        (_tiff("grey", 16, sample=2), "type int16; expected unsigned"),
        (_tiff("RGB with alpha", 8, color=5), "4 channels of SEPARATED"),
        (_tiff("RGB with alpha", 8, extra=0), "4 channels of RGB in a TIFF"),
        (_tiff("RGB with alpha", 8, extra=1), "colours multiplied by alpha"),
        (_tiff("RGB", 8, color=8), "3 channels of CIELAB"),
        (_tiff("RGB", 8, color=6), "3 channels of YCBCR"),
        (_tiff("RGB", 12, way=5), "RGB, 12 bits, lzw: not read; TIFF is read as"),
        (_tiff("RGB", 16)[:-900], "cannot be read as TIFF"),
        (_tiff("RGB", 16, places=[8]), "strips or tiles are missing"),
        (_tiff("RGB", 16, places=[8, 0]), "strips or tiles are missing"),
        (_tiff("RGB", 16, lengths=[6042, 0]), "strips or tiles are missing"),
        (picture_files.png(GREY, "grey", 8)[:-12], "its end is missing"),
        (picture_files.png(GREY, "grey", 8)[:200], "its end is missing"),
        (picture_files.bmp(GREY, 8)[:300], "cannot be read as BMP"),
        (picture_files.bmp(np.zeros((4, 4, 2), np.uint8), 16), "BMP of 16 bits"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path, content, message):
    path = _save(tmp_path / "picture.png", content)
    with pytest.raises(UserError) as caught:
        reading.load_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_thumbnail_is_no_second_picture_and_a_stack_is(tmp_path):
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, GREY[..., 0], metadata=None)
    small = GREY[::2, ::2, 0]
    tifffile.imwrite(path, small, append=True, subfiletype=1, metadata=None)
    assert (pixels.load(path).values == GREY).all()
    tifffile.imwrite(path, GREY[..., 0], append=True, metadata=None)
    with pytest.raises(UserError, match="holds 2 pictures"):
        pixels.load(path)
    # A large stack of ImageJ has one page, whose description counts the pictures.
    words = "ImageJ=1.53t\nimages=4\n"
    tifffile.imwrite(path, GREY[..., 0], description=words, metadata=None)
    with pytest.raises(UserError, match="holds 4 pictures"):
        pixels.load(path)


def test_colours_multiplied_by_an_alpha_of_one_are_colours(tmp_path):
    values = picture_files.draw("RGB with alpha", 8)
    values[..., 3] = 255
    content = picture_files.tiff(values, "RGB with alpha", 8, tags=[(338, 1)])
    picture = reading.load_image(_save(tmp_path / "picture.tif", content))
    assert (picture.upright_rgb() == values[..., :3]).all()


def test_a_transparent_value_keeps_a_file_from_being_stored_as_it_is(tmp_path):
    path = tmp_path / "picture.png"
    for chunks, expected in (([], True), ([(b"tRNS", bytes(2))], False)):
        _save(path, picture_files.png(GREY, "grey", 8, chunks))
        assert reading.stored_as_is(path) == expected
        assert mask_files.stored_as_is(path) == expected
        assert (pixels.load(path).values == GREY).all()
    _save(path, _pages(GREY, format="PNG"))
    assert not reading.stored_as_is(path) and not mask_files.stored_as_is(path)


def test_a_format_is_judged_by_content(tmp_path):
    values = picture_files.draw("RGB", 16)
    path = _save(tmp_path / "picture.jpg", picture_files.tiff(values, "RGB", 16))
    assert (pixels.load(path).upright_rgb() == values).all()


def test_a_file_cut_anywhere_is_an_error(written):
    folder, index = written
    seen = {}
    for name, *what in index:
        seen.setdefault((what[0], what[3]), name)
    for name in seen.values():
        content = (folder / name).read_bytes()
        for share in (0.1, 0.5, 0.9):
            cut = _save(folder / "cut", content[: int(len(content) * share)])
            with pytest.raises(UserError, match=r"cut: "):
                pixels.load(cut)


def _size(height, width):
    """A PNG header of that size, and no pixels."""
    content = bytearray(picture_files.png(GREY, "grey", 8))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def test_limits_are_known_before_pixels_are_decoded(tmp_path):
    path = tmp_path / "large.png"
    for size, message in (
        ((1, 32_767), "1x32767 .*expected sides of 1 to 32766; cut it into tiles"),
        ((40_000, 5), "40000x5 "),
        ((13_400, 13_400), "13400x13400 is 180 megapixels; expected at most 179"),
    ):
        with pytest.raises(UserError, match=message):
            pixels.load(_save(path, _size(*size)))
    thin = np.zeros((2, LONGEST_SIDE), np.uint8)
    Image.fromarray(thin).save(path)
    assert reading.load_image(path).upright_rgb().shape == (2, LONGEST_SIDE, 3)
    # Pillow warned from 89 megapixels on, and the warning was all that was read.
    _save(path, _size(10_000, 10_000))
    with pytest.raises(UserError, match="cannot be read as PNG"):
        pixels.load(path)
