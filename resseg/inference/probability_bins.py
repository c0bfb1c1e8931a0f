"""Where probabilities are counted, fine enough to group again afterwards.

3,840 bins of equal width, of which the first and the last are divided further, four to
an octave, as most probabilities of a segmentation are close to 0 or to 1. Any number of
equal bins that divides 120 (15, 20, 10 …) is made of them without loss; each
probability counts as the middle of its bin, at most 1/7,680 off.

Per image they are kept as *cells*: 160 groups, an octave each close to 0 and 1 and
1/120 wide elsewhere, each with its pixels, the sum of their probabilities, and how many
are right.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

UNIFORM = 3840
OCTAVES, PARTS = 16, 4  # that the first and the last of them are divided into
_FINER = OCTAVES * PARTS
FINE = UNIFORM - 2 + 2 * _FINER  # bins in all
_MANTISSA, _BIAS = 23, 127  # of a float32


def fine_bin(probability: jax.Array) -> jax.Array:
    """int32, the bin in [0, `FINE`) of each float32 probability in [0, 1]."""
    scaled = probability * UNIFORM
    low = _finer((1 - probability) * UNIFORM)
    middle = _FINER - 1 + scaled.astype(jnp.int32)
    inner = jnp.where(scaled < 1, _finer(scaled), middle)
    return jnp.where(scaled >= UNIFORM - 1, FINE - 1 - low, inner)


def _finer(scaled: jax.Array) -> jax.Array:
    """Which part of which octave below 1; what is below all of them is in the first."""
    # Exponent and leading bits of a positive float32 order as the number itself does.
    bits = jax.lax.bitcast_convert_type(scaled.astype(jnp.float32), jnp.int32)
    steps = bits >> (_MANTISSA - 2)  # 2 bits = PARTS
    return jnp.clip(steps - (_BIAS - OCTAVES) * PARTS, 0, _FINER - 1)


def _edges() -> np.ndarray:
    """float64 `[FINE + 1]`, lower edges of all bins, and 1."""
    octave, part = np.divmod(np.arange(_FINER), PARTS)
    finer = 2.0 ** (octave - OCTAVES) * (1 + part / PARTS)
    finer[0] = 0
    first = finer / UNIFORM
    middle = np.arange(1, UNIFORM) / UNIFORM
    last = 1 - first[::-1]
    return np.concatenate([first, middle, last[:-1], [1.0]])


EDGES = _edges()
MIDDLES = (EDGES[1:] + EDGES[:-1]) / 2


def _cell_starts() -> np.ndarray:
    """The first bin of each cell."""
    wide = UNIFORM // 120
    octaves = 2 ** np.arange(int(np.log2(wide)) + 1)  # 1, 2, … wide, in bins
    low = [*range(0, _FINER, PARTS), *(_FINER - 1 + octaves)]
    middle = _FINER - 1 + np.arange(2 * wide, UNIFORM - wide, wide)
    # The mirror image of `low`: a bin begins where its mirror image ends.
    high = [FINE - start for start in low[:0:-1]]
    return np.concatenate([low, middle, high]).astype(int)


CELL_STARTS = _cell_starts()
CELL_EDGES = np.concatenate([EDGES[CELL_STARTS], [1.0]])
CELLS = len(CELL_STARTS)


def as_cells(counts: np.ndarray) -> np.ndarray:
    """Cells of bins.

    Args:
        counts: integers `[..., wrong or right, FINE]`, pixels.

    Returns:
        float64 `[..., CELLS, 3]`: pixels, the sum of their probabilities, those right.
    """
    wrong, right = np.moveaxis(np.asarray(counts), -2, 0)
    pixels = (wrong + right).astype(np.float64)
    columns = (pixels, pixels * MIDDLES, right.astype(np.float64))
    cells = [np.add.reduceat(column, CELL_STARTS, axis=-1) for column in columns]
    return np.stack(cells, axis=-1)


def equal_width(cells: np.ndarray, bins: int) -> np.ndarray:
    """`[..., bins, 3]` from `[..., CELLS, 3]`; bins of equal width, a divisor of 120.

    Raises:
        ValueError: so many bins cannot be made of cells.
    """
    if bins < 1 or 120 % bins:
        raise ValueError(f"{bins} bins of equal width: expected a divisor of 120")
    borders = np.arange(bins) / bins
    starts = np.searchsorted(CELL_EDGES, borders - 1e-9)
    return np.add.reduceat(cells, starts, axis=-2)


def equal_mass(cells: np.ndarray, bins: int) -> np.ndarray:
    """`[..., bins, 3]` from `[..., CELLS, 3]`; bins of equally many pixels.

    A cell that a border falls into is shared in proportion, which is also what any
    order of pixels of one and the same probability gives on average.
    """
    below = np.concatenate([np.zeros_like(cells[..., :1, :]), cells], axis=-2)
    below = below.cumsum(axis=-2)
    flat: Any = below.reshape(-1, *below.shape[-2:])
    shared = np.empty((len(flat), bins + 1, 3))
    for place, table in enumerate(flat):
        wanted = np.linspace(0, table[-1, 0], bins + 1)
        for column in range(3):
            shared[place, :, column] = np.interp(wanted, table[:, 0], table[:, column])
    return np.diff(shared, axis=1).reshape(*cells.shape[:-2], bins, 3)
