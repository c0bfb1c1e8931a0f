"""Pictures of predictions: image, truth, prediction and where they differ."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from resseg.data.colors import overlay, palette
from resseg.data.spec import VOID
from resseg.errors import UserError

_DPI = 100
_GAP = 8  # pixels between panels
_SMALLEST, _LARGEST = 192, 1024  # side of a panel, pixels
_WRONG = np.array((213, 0, 90), np.uint8)  # not a colour of the palette
_MONTAGE_WIDTH = 2400


def save_prediction(
    path: str | os.PathLike,
    image: np.ndarray,
    label: np.ndarray | None,
    prediction: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Writes image | truth | prediction | errors with a legend of the classes seen.

    Args:
        path: Picture file; its ending says the kind.
        image: uint8 RGB `[height, width, 3]`.
        label: class indices `[height, width]`, void where nobody knows; None writes
            image | prediction.
        prediction: class indices `[height, width]`.
        classes: names, by class index.
    """
    count = len(classes)
    panels = {"image": image, "prediction": overlay(image, prediction, count, 0.6)}
    seen = set(np.unique(prediction).tolist())
    if label is not None:
        wrong, valid = errors(label, prediction)
        panels = {
            "image": image,
            "truth": overlay(image, label, count, 0.6),
            "prediction": panels["prediction"],
            f"errors: {_percent(wrong.sum(), valid.sum())} of pixels": _paint_errors(
                image, wrong, valid
            ),
        }
        seen |= set(np.unique(label).tolist())
    handles = [
        Patch(color=_hex(color), label=name)
        for index, (name, color) in enumerate(zip(classes, palette(count), strict=True))
        if index in seen
    ]
    if VOID in seen:
        handles.append(Patch(color="black", label="void"))
    if label is not None:
        handles.append(Patch(color=_hex(_WRONG), label="wrong"))
    sized = {name: _to_size(panel) for name, panel in panels.items()}
    write_image(path, _compose(sized, handles))


def errors(label: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels are wrong, and which count at all; bool `[height, width]` each."""
    valid = label != VOID
    return (label != prediction) & valid, valid


def montage(
    pictures: Sequence[str | os.PathLike | np.ndarray], out: str | os.PathLike
) -> None:
    """Writes pictures (files, or uint8 RGB arrays of any size) as one sheet.

    The sheet is about 4 : 3, and shrunk to 2400 pixels of width where it is wider.

    Raises:
        UserError: There are no pictures, or one cannot be read.
    """
    if not len(pictures):
        raise UserError(f"{out}: no pictures to put together")
    images = [
        picture if isinstance(picture, np.ndarray) else read_image(picture)
        for picture in pictures
    ]
    height, width = np.mean([image.shape[:2] for image in images], axis=0)
    columns = math.sqrt(len(images) * height / width * 4 / 3)
    columns = min(len(images), max(1, round(columns)))
    lines = [images[i : i + columns] for i in range(0, len(images), columns)]
    heights = [max(image.shape[0] for image in line) + _GAP for line in lines]
    widths = [
        max(image.shape[1] for image in images[column::columns]) + _GAP
        for column in range(columns)
    ]
    sheet = np.full((sum(heights) - _GAP, sum(widths) - _GAP, 3), 255, np.uint8)
    for i, line in enumerate(lines):
        for j, image in enumerate(line):
            top, left = sum(heights[:i]), sum(widths[:j])
            sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    if sheet.shape[1] > _MONTAGE_WIDTH:
        size = (_MONTAGE_WIDTH, sheet.shape[0] * _MONTAGE_WIDTH // sheet.shape[1])
        sheet = cv2.resize(sheet, size, interpolation=cv2.INTER_AREA)
    write_image(out, sheet)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """uint8 RGB `[height, width, 3]`."""
    image = cv2.imread(os.fspath(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path} cannot be read as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes uint8 RGB `[height, width, 3]`; folders above it are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise UserError(f"{path}: the image cannot be encoded")
    path.write_bytes(encoded.tobytes())


def _paint_errors(
    image: np.ndarray, wrong: np.ndarray, valid: np.ndarray
) -> np.ndarray:
    """The image in pale grey, wrong pixels in one colour, void black."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    painted = (127 + grey.astype(np.float32) / 2).astype(np.uint8)
    painted[wrong] = _WRONG
    painted[~valid] = 0
    return painted


def _to_size(panel: np.ndarray) -> np.ndarray:
    """Repeats the pixels of a small panel; averages those of a large one."""
    shorter, longer = sorted(panel.shape[:2])
    if longer > _LARGEST:
        factor = _LARGEST / longer
        return cv2.resize(
            panel, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA
        )
    times = math.ceil(_SMALLEST / shorter)
    return panel.repeat(times, axis=0).repeat(times, axis=1)


def _hex(color: np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _compose(panels: dict[str, np.ndarray], handles: list[Patch]) -> np.ndarray:
    """Panels side by side, their names above and the legend below, pixel for pixel."""
    height, width = next(iter(panels.values())).shape[:2]
    whole = len(panels) * (width + _GAP) + _GAP
    names = [str(handle.get_label()) for handle in handles]
    columns = max(1, whole // (45 + 8 * max(map(len, names))))
    head, foot = 24, 12 + 20 * math.ceil(len(handles) / columns)
    full = head + height + foot
    figure = Figure((whole / _DPI, full / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    for position, (name, panel) in enumerate(panels.items()):
        left = _GAP + position * (width + _GAP)
        figure.figimage(panel, xo=left, yo=foot)
        figure.text(left / whole, 1 - 17 / full, name, fontsize=9)
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=min(columns, len(handles)),
        fontsize=9,
        frameon=False,
        borderpad=0,
        columnspacing=1.4,
        handlelength=1.2,
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
