"""A window of a TIFF is that part of the image that is decoded whole."""

import numpy as np
import pytest
import tifffile

from resseg.data import headers, pixels
from resseg.data import windows as windows_module
from resseg.data.reading import load_image
from resseg.data.windows import Windows, is_tiff
from resseg.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(1, 256, (45, 70, 3), np.uint8)
DEEP = RNG.integers(0, 4096, (45, 70, 3)).astype(np.uint16)
TILES = {"tile": (16, 32), "photometric": "rgb", "compression": "zlib"}
WINDOWS = [(slice(0, 45), slice(0, 70)), (slice(15, 33), slice(31, 65))]
WINDOWS += [(slice(44, 45), slice(69, 70)), (slice(3, 4), slice(0, 70))]


@pytest.mark.parametrize(
    ("array", "settings"),
    [
        (RGB, TILES),
        (RGB, TILES | {"bigtiff": True}),
        (RGB, {"rowsperstrip": 7, "photometric": "rgb"}),
        (RGB, {"photometric": "rgb", "predictor": True, "compression": "lzw"}),
        (RGB.transpose(2, 0, 1), TILES | {"planarconfig": "separate"}),
        (RGB.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
        (RGB, TILES | {"compression": "jpeg"}),
        (DEEP, TILES),
        (DEEP, TILES | {"byteorder": ">"}),
        (RGB[..., 0], {"tile": (16, 16)}),
        (RGB[..., 0] > 99, {"rowsperstrip": 8}),
        (RGB, {"photometric": "rgb"}),  # one strip
        (DEEP.transpose(2, 0, 1), {"photometric": "rgb", "byteorder": ">"}),
        (
            RGB[..., 0],
            {"photometric": "palette", "colormap": RNG.integers(0, 2**16, (3, 256))},
        ),
    ],
)
def test_a_window_is_that_of_the_whole(tmp_path, array, settings):
    path, settings = tmp_path / "a.tif", dict(settings)
    kind = {
        key: settings.pop(key) for key in ("bigtiff", "byteorder") if key in settings
    }
    tifffile.imwrite(path, array, metadata=None, **settings, **kind)
    whole = load_image(path).upright_rgb()
    with Windows(path) as windows:
        windows.check()
        assert is_tiff(path) and windows.size == (45, 70) and not windows.marked
        for rows, columns in WINDOWS:
            picture, known = windows.read(rows, columns)
            assert known.all()
            np.testing.assert_array_equal(picture.upright_rgb(), whole[rows, columns])


def test_what_nobody_knows_is_said_by_a_value_by_alpha_or_by_a_mask(tmp_path):
    unknown = np.zeros((45, 70), bool)
    unknown[20:30, 40:] = True
    colors = np.where(unknown[..., None], 0, RGB)
    alpha = np.where(unknown, 0, 255).astype(np.uint8)[..., None]
    tag = {"extratags": [(42113, "s", 0, "0", True)]}
    files = [tmp_path / f"{name}.tif" for name in ("value", "alpha", "mask")]
    tifffile.imwrite(files[0], colors, metadata=None, **TILES, **tag)
    with_alpha = {"extrasamples": ["unassalpha"]}
    both = np.concatenate([RGB, alpha], -1)
    tifffile.imwrite(files[1], both, metadata=None, **TILES, **with_alpha)
    with tifffile.TiffWriter(files[2]) as file:
        file.write(RGB, metadata=None, **TILES)
        mask = {"subfiletype": 4, "photometric": "mask", "tile": (16, 16)}
        file.write(~unknown, metadata=None, **mask)
    for path in files:
        with Windows(path) as windows:
            windows.check()
            for rows, columns in WINDOWS:
                picture, known = windows.read(rows, columns)
                np.testing.assert_array_equal(known, ~unknown[rows, columns])
                seen = picture.upright_rgb()
                np.testing.assert_array_equal(seen[known], RGB[rows, columns][known])
                assert not seen[~known].any()


def test_tiles_that_are_not_stored_are_empty(tmp_path):
    path = tmp_path / "sparse.tif"
    tiles = iter([np.full((16, 16), 7, np.uint8), None, None, None])
    tifffile.imwrite(path, tiles, shape=(32, 32), dtype=np.uint8, tile=(16, 16))
    nodata = {"extratags": [(42113, "s", 0, "0", True)]}
    marked = tmp_path / "marked.tif"
    tiles = iter([np.full((16, 16), 7, np.uint8), None, None, None])
    settings = {"shape": (32, 32), "dtype": np.uint8, "tile": (16, 16)}
    tifffile.imwrite(marked, tiles, **settings, **nodata)
    with Windows(marked) as windows:
        assert windows.is_empty(slice(16, 32), slice(0, 32))
        assert not windows.is_empty(slice(15, 32), slice(0, 32))
    with Windows(path) as windows:
        assert not windows.is_empty(slice(16, 32), slice(0, 32))  # 0 is a colour
        picture, known = windows.read(slice(0, 32), slice(0, 32))
    expected = np.kron([[7, 0], [0, 0]], np.ones((16, 16)))
    np.testing.assert_array_equal(picture.values[..., 0], expected)
    assert known.all()


def test_a_window_reads_its_tiles_alone_and_each_once(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, metadata=None, **TILES)
    decode, decoded = windows_module._decode, []

    def counted(file, page, number):
        decoded.append(number)
        return decode(file, page, number)

    monkeypatch.setattr(windows_module, "_decode", counted)
    with Windows(path) as windows:
        windows.read(slice(17, 32), slice(33, 60))
        windows.read(slice(17, 32), slice(33, 70))
    assert decoded == [4, 5]  # of 3 x 3


@pytest.mark.parametrize(
    ("array", "settings", "message"),
    [
        (RGB.astype(np.int16), {"photometric": "rgb"}, "unsigned integers"),
        (RGB, {"photometric": "rgb", "extratags": [(274, "H", 1, 6, True)]}, "upright"),
        (RGB[None].repeat(2, 0), {"photometric": "rgb"}, "holds 2 pictures"),
        (RGB.astype(np.float32), {"photometric": "rgb"}, "of type float32"),
    ],
)
def test_other_kinds_are_refused(tmp_path, array, settings, message):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, metadata=None, **settings)
    with pytest.raises(UserError, match=message), Windows(path) as windows:
        windows.check()


def test_strips_that_fill_the_memory_are_refused_if_they_have_to_be_decoded(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(windows_module, "_LARGEST_STRIP", RGB.nbytes - 1)
    path = tmp_path / "a.tif"
    for way, refused in ((None, False), ("zlib", True)):
        settings = {"photometric": "rgb", "compression": way, "rowsperstrip": 45}
        tifffile.imwrite(path, RGB, metadata=None, **settings)
        with Windows(path) as windows:
            if refused:
                with pytest.raises(UserError, match=r"strips of 45 rows, .* tiles"):
                    windows.check()
            else:
                windows.check()
    tifffile.imwrite(path, RGB, photometric="rgb", metadata=None)
    path.write_bytes(path.read_bytes()[:-10])
    with Windows(path) as windows, pytest.raises(UserError, match="cut short"):
        windows.read(slice(0, 45), slice(0, 70))


def test_damage_is_named(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, metadata=None, **TILES)
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.dataoffsets[1]
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    damaged = r"a\.tif: damaged at tile or strip 1 \("
    with pytest.raises(UserError, match=damaged), Windows(path) as windows:
        windows.read(slice(0, 45), slice(0, 70))
    path.write_bytes(content[:60])
    with pytest.raises(UserError, match=r"a\.tif: cannot be read as TIFF"):
        Windows(path)


def test_size_is_no_obstacle(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, metadata=None, **TILES)
    for most, too_large in ((45 * 70, False), (45 * 70 - 1, True)):
        monkeypatch.setattr(headers, "MOST_PIXELS", most)
        with Windows(path) as windows:
            assert windows.too_large == too_large


def test_a_file_too_large_to_decode_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, metadata=None, **TILES)
    monkeypatch.setattr(headers, "MOST_PIXELS", 45 * 70 - 1)
    monkeypatch.setattr(pixels, "_MUCH", 10)
    monkeypatch.setattr(type(path), "read_bytes", lambda self: pytest.fail("was read"))
    with pytest.raises(
        UserError, match="cut it into tiles, or read it by windows: pre"
    ):
        load_image(path)
