"""Pictures of predictions: image, truth, prediction and where they differ."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.patches import Patch

from resseg.data.colors import overlay, palette
from resseg.data.spec import VOID
from resseg.errors import UserError, naming
from resseg.figures import label_of, new_figure, pixels

_DPI = 100
_GAP = 8  # pixels between panels
_SMALLEST, _LARGEST = 192, 1024  # side of a panel, pixels
_WRONG = np.array((213, 0, 90), np.uint8)  # not a colour of the palette


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
        Patch(color=_hex(color), label=label_of(name))
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


def read_image(path: str | os.PathLike) -> np.ndarray:
    """uint8 RGB `[height, width, 3]`."""
    image = cv2.imread(os.fspath(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path} cannot be read as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """As `write_picture`; folders above it are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, image)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Writes uint8 RGB `[height, width, 3]`, or one value per pixel `[height, width]`.

    Raises:
        UserError: the picture cannot be encoded.
        OSError: the system refuses; OpenCV's own `imwrite` would only return False.
    """
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(path.suffix, stored)
    if not done:
        raise UserError(f"{path}: the image cannot be encoded")
    with naming(path):
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
    figure = new_figure(whole / _DPI, full / _DPI, layout=None)
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
    return pixels(figure, _DPI)
