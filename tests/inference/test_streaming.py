"""A TIFF becomes a TIFF by windows, whatever interrupts it."""

import errno
import math
import os

import cv2
import jax
import numpy as np
import pytest
import tifffile
from runs_without_training import write

import resseg
from resseg.cli.main import main
from resseg.data import headers
from resseg.inference import ensemble, streaming
from resseg.inference.streaming import Stream

SIZE = 50, 70
GEO = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0), True),
    (
        34735,
        "H",
        16,
        (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633),
        True,
    ),
    (42113, "s", 0, "0", True),
]


@pytest.fixture(autouse=True, scope="module")
def every_program_is_cached():
    key = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, key)
    jax.config.update(key, 0)
    yield
    jax.config.update(key, before)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Of 32 x 32, so that an image has six of them."""
    monkeypatch.setattr(streaming, "TILE", 16)
    monkeypatch.setattr(streaming, "_LARGEST", 32)
    # Following the network takes longer than predicting; tests of it have it.
    monkeypatch.setattr(ensemble, "reach", lambda *_: math.inf)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write(tmp_path_factory.mktemp("runs") / "a", **{"model.head.name": "fcn"})


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).integers(1, 256, (*SIZE, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3).astype(np.float32)
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 254 + 1
    smooth = smooth.astype(np.uint8)
    smooth[:8, :40] = 0
    return smooth


@pytest.fixture
def scene(tmp_path, image):
    """A GeoTIFF in which 0 is no data."""
    path = tmp_path / "scenes" / "scene.tif"
    path.parent.mkdir()
    settings = {"tile": (16, 16), "photometric": "rgb", "compression": "zlib"}
    tifffile.imwrite(path, image, metadata=None, **settings, extratags=GEO)
    return path


def predict(run, scene, out, *options):
    call = ["predict", str(run), str(scene), "--out", str(out), "--tile", "16"]
    return main([*call, *options])


def test_the_result_is_that_of_the_image_in_memory(run, scene, image, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(run, scene, out, "--probabilities") == 0
    mask, probabilities = resseg.segment(run, image, tile=16)
    unknown = (image == 0).all(-1)
    assert unknown.sum() == 320 and len(np.unique(mask)) > 1
    written = tifffile.imread(out / "scene.tif")
    np.testing.assert_array_equal(written[~unknown], mask[~unknown])
    assert (written[unknown] == 255).all()
    shares = tifffile.imread(out / "scene_probabilities.tif")
    expected = np.rint(255 * probabilities)
    np.testing.assert_array_equal(shares[~unknown], expected[~unknown])
    assert {path.name for path in out.iterdir()} == {
        "scene.tif",
        "scene_probabilities.tif",
    }
    with tifffile.TiffFile(out / "scene.tif") as file:
        page = file.pages.first
        assert (
            page.is_tiled and page.compression == 8 and page.colormap.shape == (3, 256)
        )
        for code, _, _, value, _ in GEO[:3]:
            assert page.tags[code].value == value
        assert page.tags[42113].value == "255"
    words = capsys.readouterr().out
    assert "1/1  scene.tif  background " in words and "megapixels/s" in words
    assert predict(run, scene, out, "--probabilities") == 0
    assert "scene.tif  is there already" in capsys.readouterr().out
    assert predict(run, scene, out, "--overlap", "0") == 0  # made otherwise: again
    assert "megapixels/s" in capsys.readouterr().out


def test_gdal_sees_the_same_place(run, scene, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    assert predict(run, scene, tmp_path / "out") == 0
    with (
        rasterio.open(scene) as there,
        rasterio.open(tmp_path / "out/scene.tif") as here,
    ):
        assert here.crs == there.crs and here.crs.to_epsg() == 32633
        assert here.transform == there.transform
        assert here.nodata == 255 and here.shape == SIZE
        np.testing.assert_array_equal(here.dataset_mask(), there.dataset_mask())


def test_a_killed_prediction_goes_on(run, scene, tmp_path, monkeypatch, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert predict(run, scene, whole) == 0
    make, made = Stream.make, []

    def failing(self, block):
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(block)
        return make(self, block)

    monkeypatch.setattr(Stream, "make", failing)
    assert predict(run, scene, cut) == 130
    assert made == [0, 1, 2, 3] and not (cut / "scene.tif").exists()
    # As a kill within a write leaves it.
    os.rename(cut / "scene.tif.parts/1", cut / "scene.tif.parts/1.partial")
    made.clear()
    capsys.readouterr()
    assert predict(run, scene, cut) == 0
    assert made == [1, 4, 5]
    assert "scene.tif: goes on, 3 of 6 blocks are there" in capsys.readouterr().out
    assert (cut / "scene.tif").read_bytes() == (whole / "scene.tif").read_bytes()
    assert [path.name for path in cut.iterdir()] == ["scene.tif"]


def test_blocks_of_another_image_are_not_used(run, scene, tmp_path, monkeypatch):
    out, made = tmp_path / "out", []
    make = Stream.make

    def failing(self, block):
        made.append(block)
        if len(made) == 3:
            raise KeyboardInterrupt
        return make(self, block)

    monkeypatch.setattr(Stream, "make", failing)
    assert predict(run, scene, out) == 130
    os.utime(scene, (1, 1))
    assert predict(run, scene, out) == 0
    assert made == [0, 1, 2, 0, 1, 2, 3, 4, 5]


def test_a_full_disk_is_one_line(run, scene, tmp_path, monkeypatch, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert predict(run, scene, tmp_path / "out") == 2
    line = capsys.readouterr().err
    assert line.endswith("scene.tif.parts/0: No space left on device\n")
    assert line.count("\n") == 1
    assert predict(run, scene, tmp_path / "out") == 0


def test_what_is_too_large_to_decode_whole_needs_tiles(
    run, scene, tmp_path, monkeypatch, capsys
):
    plain = tmp_path / "scenes" / "b.png"
    cv2.imwrite(str(plain), np.zeros((20, 20, 3), np.uint8))
    monkeypatch.setattr(headers, "MOST_PIXELS", 2000)
    call = ["predict", str(run), str(scene.parent), "--out", str(tmp_path / "out")]
    assert main(call) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "scene.tif: 50x70 (height x width) is too large to be" in line
    assert "--tile 512" in line
    assert main([*call, "--tile", "16"]) == 0
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"scene.tif", "b.png", "b_color.png", "b_overlay.png"}


def test_a_png_has_no_georeference(run, scene, tmp_path, capsys):
    call = ["predict", str(run), str(scene), "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert (
        "scene.tif: PNG has no georeference; with --tile N" in capsys.readouterr().out
    )


def test_damage_leaves_the_others(run, scene, tmp_path, capsys):
    other = scene.with_name("a.tif")
    content = bytearray(scene.read_bytes())
    with tifffile.TiffFile(scene) as file:
        place = file.pages.first.dataoffsets[5]
    content[place : place + 4] = b"\0\0\0\0"
    other.write_bytes(content)
    assert predict(run, scene.parent, tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert "a.tif: damaged at tile or strip 5" in captured.err
    assert (tmp_path / "out" / "scene.tif").exists()
    assert not (tmp_path / "out" / "a.tif").exists()
