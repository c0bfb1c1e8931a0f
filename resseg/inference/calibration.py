"""How well probabilities are calibrated: errors, and what reliability diagrams show.

Two questions are asked of the same pixels. Of the *predicted class* (top label): is it
right in 90 % of the pixels where its probability is 0.9? And of *each class* by itself:
is the truth that class in 90 % of the pixels where it has a probability of 0.9,
predicted or not (Kull et al. 2019)? Void pixels count nowhere. Everything is asked of
all pixels and of two parts of them: the boundary band and the interior.

- ECE: mean of abs(share right - mean probability) over 15 bins of equal width, weighted
  by their pixels (Naeini et al. 2015; Guo et al. 2017, eq. 3).
- MCE: the largest of these gaps of any bin that has a pixel (Guo et al. 2017, eq. 5).
- ACE: as ECE, over 15 bins of equally many pixels (Nixon et al. 2019, sec. 3). MONAI's
  is another: the mean over bins of equal width, not weighted (Neumann et al. 2018).
- NLL: mean of -log p(truth), in nats.
- Brier: mean over pixels of the sum over classes of (p - truth)² (Brier 1950).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from resseg.inference import probability_bins as binned
from resseg.inference.probability_counts import PARTS, Counted, boundary_bands, count

BINS = 15  # as in Guo et al. 2017
AREAS = ("", "boundary_", "interior_")  # before the names of scores
_PIXELS, _SUM, _RIGHT = range(3)  # columns of a cell


class Calibration:
    """Sums what batches have counted, in float64.

    Args:
        classes: how many there are.
    """

    def __init__(self, classes: int):
        self.images: list[dict[str, np.ndarray]] = []
        self._classes = classes
        self._by_class = np.zeros((PARTS, classes, 2, binned.FINE), np.int64)

    def add_batch(self, batch: Mapping[str, Any], counted: Counted) -> None:
        """Takes a batch, with `size` and `band`, and what was counted of it."""
        self._by_class += counted.classes
        for place, (height, width) in enumerate(batch["size"]):
            if not height * width:  # it fills the batch up, and is no image
                continue
            own = (place, slice(height), slice(width))
            self._add_image(
                batch["label"][own],
                batch["band"][own],
                np.asarray(counted.top)[place],
                np.asarray(counted.nll)[own],
                np.asarray(counted.brier)[own],
            )

    def _add_image(
        self,
        label: np.ndarray,
        band: np.ndarray,
        top: np.ndarray,
        nll: np.ndarray,
        brier: np.ndarray,
    ) -> None:
        valid = label < self._classes
        place = (label * PARTS + band)[valid]
        length = self._classes * PARTS

        def total(weights: np.ndarray | None) -> np.ndarray:
            sums = np.bincount(place, weights, minlength=length)
            return sums.reshape(self._classes, PARTS).astype(np.float64)

        self.images.append(
            {
                "top": binned.as_cells(top),
                "pixels": total(None),
                "nll": total(nll[valid]),
                "brier": total(brier[valid]),
            }
        )

    def sums(self) -> dict[str, np.ndarray]:
        """Per image, float64.

        `top` `[images, part, CELLS, 3]`, see `probability_bins.as_cells`; `pixels`,
        `nll` and `brier` `[images, class of the truth, part]`.
        """
        return {name: np.stack([i[name] for i in self.images]) for name in _IMAGE_SUMS}

    def scores(self) -> dict[str, Any]:
        """Those of `scores_of_sums` and, float64 `[classes]`, those of each class.

        `class_ece`, `class_mce`, `class_ace`: of its probability in all pixels;
        `class_brier`: the part of it in the Brier score.
        """
        totals = {name: value.sum(0) for name, value in self.sums().items()}
        return {
            name: value if np.ndim(value) else float(value)
            for name, value in (scores_of_sums(totals) | self._class_scores()).items()
        }

    def reliability(self) -> dict[str, np.ndarray]:
        """Of 15 bins of equal width: pixels, sum of probabilities, those right.

        `top` `[3, 15, 3]` and `classes` `[class, 3, 15, 3]`: of all pixels, those in
        the boundary band, and the others.
        """
        top = np.sum([image["top"] for image in self.images], axis=0)
        by_class = binned.as_cells(self._by_class).swapaxes(0, 1)
        return {
            name: np.stack(
                [binned.equal_width(area, BINS) for area in _areas(cells, -3)], -3
            )
            for name, cells in (("top", top), ("classes", by_class))
        }

    def _class_scores(self) -> dict[str, np.ndarray]:
        counts = self._by_class.sum(0)
        cells = binned.as_cells(counts)
        wrong, right = np.moveaxis(counts, 1, 0)
        squares = wrong @ binned.MIDDLES**2 + right @ (1 - binned.MIDDLES) ** 2
        named = {f"class_{name}": value for name, value in errors(cells).items()}
        return named | {"class_brier": _share(squares, counts.sum((1, 2)))}


def counting(
    predict: Callable[..., Iterable[Any]], calibration: Calibration, fraction: float
) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """Predicts as `predict` does, and counts probabilities on the way.

    Args:
        predict: as `Ensemble.run`.
        calibration: that sums what is counted.
        fraction: width of the boundary band, see `boundary_band`.
    """
    counted = jax.jit(count)

    def run(batches: Iterable[Any]) -> Iterator[Any]:
        for batch, (masks, *rest, mean) in predict(batches, probabilities=True):
            images = len(batch["size"])  # devices may have been given more
            band = boundary_bands(batch, fraction)
            labels = batch["label"][:images]
            counts = counted(mean[:images], masks[:images], labels, band)
            calibration.add_batch(batch | {"band": band}, jax.device_get(counts))
            yield batch, (masks, *rest)

    return run


_IMAGE_SUMS = ("top", "pixels", "nll", "brier")


def errors(cells: np.ndarray) -> dict[str, np.ndarray]:
    """`ece`, `mce` and `ace` `[...]` of cells `[..., CELLS, 3]`; NaN of no pixel."""
    equal = binned.equal_width(cells, BINS)
    gaps = gaps_of(equal)
    return {
        "ece": _weighted(gaps, equal),
        "mce": np.where(np.isnan(gaps).all(-1), np.nan, np.nan_to_num(gaps).max(-1)),
        "ace": adaptive_error(cells),
    }


def adaptive_error(cells: np.ndarray) -> np.ndarray:
    """ACE `[...]` of cells `[..., CELLS, 3]`."""
    shared = binned.equal_mass(cells, BINS)
    return _weighted(gaps_of(shared), shared)


def gaps_of(bins: np.ndarray) -> np.ndarray:
    """abs(share right - mean probability) `[..., bins]`; NaN of bins without pixels."""
    return np.abs(_share(bins[..., _RIGHT] - bins[..., _SUM], bins[..., _PIXELS]))


def scores_of_sums(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scores of sums over images; leading axes are samples.

    Args:
        sums: `top` `[..., part, CELLS, 3]`; `pixels`, `nll`, `brier` `[..., class,
            part]`.

    Returns:
        `[...]`: `ece`, `mce`, `ace`, `nll`, `brier`, and each with `boundary_` and
        `interior_` before it; `[..., class]`: `class_nll`, over its true pixels.
    """
    scores = {}
    tops = _areas(sums["top"], -3)
    others = {name: _areas(sums[name], -1) for name in ("pixels", "nll", "brier")}
    for place, area in enumerate(AREAS):
        of_area = errors(tops[place])
        pixels = others["pixels"][place].sum(-1)
        for name in ("nll", "brier"):
            of_area[name] = _share(others[name][place].sum(-1), pixels)
        scores |= {f"{area}{name}": value for name, value in of_area.items()}
    return scores | {"class_nll": _share(others["nll"][0], others["pixels"][0])}


def _areas(values: np.ndarray, axis: int) -> Sequence[np.ndarray]:
    """All pixels, the boundary band, the interior: of the axis of parts."""
    interior, band = np.moveaxis(values, axis, 0)
    return interior + band, band, interior


def _weighted(gaps: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """The mean over bins by their pixels; what has none has no weight either."""
    pixels = bins[..., _PIXELS]
    return _share((np.nan_to_num(gaps) * pixels).sum(-1), pixels.sum(-1))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    nothing = np.full(np.broadcast_shapes(np.shape(part), np.shape(whole)), np.nan)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0)
