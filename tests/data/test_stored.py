"""What data sets store is decoded as OpenCV decodes it, damaged files included."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from resseg.data import stored
from resseg.data.stored import decode_image, decode_mask


def by_opencv(content, flags):
    values = np.frombuffer(content, np.uint8)
    return cv2.imdecode(values, flags)


def as_opencv_does(content):
    """Whether image and mask are what OpenCV makes of the file."""
    color = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pairs = (
        (decode_image(content), by_opencv(content, color)),
        (decode_mask(content), by_opencv(content, cv2.IMREAD_UNCHANGED)),
    )
    return all(
        (found is None and expected is None)
        or (found.dtype == expected.dtype and np.array_equal(found, expected))
        for found, expected in pairs
    )


def picture(height=37, width=51):
    small = np.random.default_rng(height).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def saved(mode, format, size=(37, 51), **options):
    stream = io.BytesIO()
    Image.fromarray(picture(*size)).convert(mode).save(stream, format, **options)
    return stream.getvalue()


JPEGS = [
    saved(mode, "JPEG", size, quality=quality, subsampling=sub, progressive=steps)
    for mode in ("RGB", "L")
    for size in ((37, 51), (1, 1), (16, 3))
    for quality in (40, 95)
    for sub in (0, 1, 2)
    for steps in (False, True)
]
SAMPLING = cv2.IMWRITE_JPEG_SAMPLING_FACTOR
JPEGS += [
    cv2.imencode(".jpg", picture(), options)[1].tobytes()
    for options in (
        [SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411],
        [SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 3],
    )
]
PNGS = [saved(mode, "PNG") for mode in ("L", "RGB")]
OTHERS = [
    *(saved(mode, "PNG") for mode in ("1", "P", "LA", "RGBA", "I;16")),
    saved("L", "PNG", transparency=3),
    saved("P", "PNG", bits=2),
    saved("CMYK", "JPEG"),
    saved("RGB", "BMP"),
]


@pytest.mark.parametrize("files", [JPEGS, PNGS, OTHERS], ids=["jpeg", "png", "others"])
def test_files_of_every_kind(files):
    assert all(as_opencv_does(content) for content in files)


def test_plain_kinds_are_not_left_to_opencv(monkeypatch):
    images = [decode_image(content) for content in JPEGS + PNGS]
    mask = decode_mask(PNGS[0])
    monkeypatch.delattr(stored, "_by_opencv")
    for content, image in zip(JPEGS + PNGS, images, strict=True):
        assert np.array_equal(decode_image(content), image)
    assert np.array_equal(decode_mask(PNGS[0]), mask)


def test_an_orientation_is_left_aside():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved("RGB", "JPEG", exif=exif)
    assert np.array_equal(decode_image(turned), decode_image(saved("RGB", "JPEG")))
    assert decode_image(turned).shape == (37, 51, 3)


@pytest.mark.parametrize("content", [JPEGS[2], JPEGS[-1], *PNGS])
def test_what_is_damaged_is_damaged(content):
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(60):
        damaged = bytearray(content)
        if number % 2:
            del damaged[rng.integers(1, len(content)) :]
        else:
            for at in rng.integers(0, len(content), 3):
                damaged[at] ^= 1 << rng.integers(8)
        assert as_opencv_does(bytes(damaged))
        refused += decode_image(bytes(damaged)) is None
    assert refused >= 30


def test_nothing_is_no_image():
    assert decode_image(b"") is None and decode_mask(b"") is None
