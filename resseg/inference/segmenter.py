"""Segmenting images from Python: what `resseg predict` does, without files."""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resseg import sharding
from resseg.data import depth
from resseg.data.reading import load_image
from resseg.errors import UserError
from resseg.inference.averaging import Averaging
from resseg.inference.ensemble import Ensemble
from resseg.inference.members import load_members, shared_bits
from resseg.inference.predictor import Predictor
from resseg.runs import layout, open_run

Image = np.ndarray | str | os.PathLike
_DEEPEST = 16  # bits in use where nobody recorded it


class Segmentation(NamedTuple):
    """What was made of an image.

    Attributes:
        mask: class indices, uint8 `[height, width]`.
        probabilities: float32 `[height, width, classes]`.
    """

    mask: np.ndarray
    probabilities: np.ndarray


class Segmenter:
    """Trained networks that segment images of any size.

    What `resseg predict` writes for the same images, to the bit. Each padded size of
    image compiles once.

    Attributes:
        classes: names, by class index.

    Example:
        >>> cells = resseg.Segmenter.from_run("runs/cells", flip=True)  # doctest: +SKIP
        >>> mask, probabilities = cells("photo.jpg")  # doctest: +SKIP
        >>> masks = [found.mask for found in cells.batch(photos)]  # doctest: +SKIP
    """

    def __init__(self, ensemble: Ensemble, bits: int = _DEEPEST):
        """Segments with networks that are loaded; see `from_run`.

        Args:
            ensemble: the networks, and how their class probabilities are averaged.
            bits: in use by images of more than 8.
        """
        self.classes = ensemble.classes
        self._predictor, self._bits = Predictor(ensemble), bits

    @classmethod
    def from_run(
        cls,
        *runs: str | os.PathLike,
        step: int | None = None,
        average_checkpoints: int = 1,
        bits: int | None = None,
        **averaging: Any,
    ) -> "Segmenter":
        """The network of a run folder, or the mean of several.

        Args:
            runs: run folders of the same classes.
            step: which checkpoint; None = the best one, else the latest.
            average_checkpoints: take the mean of the weights of so many.
            bits: in use by images of more than 8; None = as the runs were trained.
            averaging: fields of `resseg.inference.averaging.Averaging`, the options of
                `resseg predict`: scales, flip, samples, seed, tile, overlap, blend.

        Raises:
            UserError: there is no such run or checkpoint, runs know other classes, or a
                value is beyond its range.
        """
        opened = [open_run(path) for path in runs]
        if not opened:
            raise UserError("Segmenter.from_run(): expected a run folder")
        depth.require_bits(bits)
        chosen = Averaging(**averaging)
        members = load_members(opened, step, average_checkpoints)
        ensemble = Ensemble(members, chosen, sharding.make_mesh())
        return cls(ensemble, bits or shared_bits(opened) or _DEEPEST)

    def __call__(self, image: Image) -> Segmentation:
        """Segments one image; see `batch`."""
        (found,) = self.batch([image])
        return found

    def batch(self, images: Sequence[Image]) -> Iterator[Segmentation]:
        """Segments images, those of one padded size together.

        Args:
            images: paths, or arrays: uint8 or uint16, RGB `[height, width, 3]`, with
                alpha (left out) `[height, width, 4]`, or grey `[height, width]`.

        Returns:
            One for each image, in their order.

        Raises:
            UserError: an image cannot be read or is of another kind; before any of them
                is segmented.
        """
        arrays = [self._colors(image, at) for at, image in enumerate(images)]
        if not arrays:
            return iter(())
        found: dict[int, Segmentation] = {}
        plan = self._predictor.plan([array.shape[:2] for array in arrays])
        given = ((each, [arrays[i] for i in each.indices]) for each in plan)
        for batch in self._predictor.predict(given, probabilities=True):
            pairs = map(Segmentation, batch.masks, batch.probabilities)
            found.update(zip(batch.planned.indices, pairs, strict=True))
        return (found[at] for at in range(len(arrays)))

    def _colors(self, image: Image, place: int) -> np.ndarray:
        """uint8 RGB `[height, width, 3]`."""
        if not isinstance(image, np.ndarray):
            return depth.in_8_bits(load_image(Path(image)), self._bits)
        colors, shape = image, image.shape
        if image.ndim == 2:
            colors = image[..., None].repeat(3, axis=2)
        if colors.ndim != 3 or colors.shape[2] not in (3, 4) or not colors.size:
            raise UserError(
                f"image {place}: an array of shape {shape}; expected [height, width], "
                "[height, width, 3] or [height, width, 4]"
            )
        if image.dtype == np.uint8:
            return np.ascontiguousarray(colors[..., :3])
        if image.dtype != np.uint16:
            raise UserError(
                f"image {place}: an array of {image.dtype}; expected uint8 (0 to 255) "
                "or uint16"
            )
        largest, white = colors[..., :3].max(), depth.white(self._bits)
        if largest > white:
            raise UserError(
                f"image {place}: holds {largest}, and {self._bits} bits end at "
                f"{white}; bits=N says how many are in use"
            )
        return depth.to_8_bit(colors[..., :3], self._bits)


def segment(
    run: str | os.PathLike | Sequence[str | os.PathLike], image: Image, **options: Any
) -> Segmentation:
    """Segments one image with a trained run.

    The networks stay loaded and compiled for the next call with the same runs and
    options, as long as no checkpoint came since.

    Args:
        run: run folder, or several, whose probabilities are averaged.
        image: see `Segmenter.batch`.
        options: see `Segmenter.from_run`.

    Returns:
        The mask, uint8 `[height, width]`, and the probabilities, float32 `[height,
        width, classes]`.

    Raises:
        UserError: see `Segmenter.from_run` and `Segmenter.batch`.

    Example:
        >>> mask, values = resseg.segment("runs/cells", "a.png")  # doctest: +SKIP
    """
    paths = [run] if isinstance(run, str | os.PathLike) else list(run)
    states = tuple(map(_state, paths))
    fixed = tuple(sorted((key, _hashable(value)) for key, value in options.items()))
    return _loaded(states, fixed)(image)


@functools.lru_cache(maxsize=2)
def _loaded(states: tuple[tuple, ...], options: tuple) -> Segmenter:
    return Segmenter.from_run(*(state[0] for state in states), **dict(options))


def _state(path: str | os.PathLike) -> tuple:
    """A run folder, and what changes when it has other weights or temperatures."""
    folder = Path(path).resolve()
    steps = tuple(open_run(path).steps)
    calibration = folder / layout.CALIBRATION
    changed = calibration.stat().st_mtime_ns if calibration.exists() else 0
    return str(folder), steps, changed


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
