"""Images and masks as data sets store them, decoded: PNG and JPEG of 8 bits, quickly.

OpenCV says what the pixels are. imagecodecs decodes the same in two thirds of the time
and takes what OpenCV refuses, a JPEG that is cut short among it; so it is given whole
files of the plain kinds, and OpenCV all others.
"""

import cv2
import imagecodecs
import numpy as np

_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_GREY, _RGB = 0, 2  # colour types of PNG (ISO/IEC 15948, table 11.1)


def decode_image(content: bytes) -> np.ndarray | None:
    """uint8 RGB `[height, width, 3]`, or None where it is damaged.

    What EXIF says about turning is left aside, as TFDS does: a mask has no EXIF.
    """
    values = _plain(content)
    if values is None:
        return _by_opencv(content, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(values, cv2.COLOR_GRAY2RGB) if values.ndim == 2 else values


def decode_mask(content: bytes) -> np.ndarray | None:
    """What a mask holds, uint8 `[height, width]`, or None where it is damaged.

    A file that is no grey picture of 8 bits has the shape that OpenCV gives it.
    """
    values = _plain(content)
    if values is None or values.ndim != 2:
        return _by_opencv(content, cv2.IMREAD_UNCHANGED)
    return values


def _plain(content: bytes) -> np.ndarray | None:
    """uint8 `[height, width]` or `[height, width, 3]`; None: OpenCV's to decode."""
    try:
        if content.startswith(_PNG) and content.endswith(_PNG_END):
            depth, kind = content[24:26]  # of the header, which comes first
            if depth != 8 or kind not in (_GREY, _RGB):
                return None
            values = imagecodecs.png_decode(content)
        elif content.startswith(_JPEG) and content.endswith(_JPEG_END):
            values = imagecodecs.jpeg8_decode(content)
        else:
            return None
    except (RuntimeError, ValueError):  # damaged, and OpenCV may say otherwise
        return None
    color = values.ndim == 3 and values.shape[2] == 3
    return values if values.ndim == 2 or color else None


def _by_opencv(content: bytes, flags: int) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
