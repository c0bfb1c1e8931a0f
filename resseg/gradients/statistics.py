"""The numbers that a fork keeps of its cotangents, and their names."""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

# Columns of the array.
_SQUARE, _NONFINITE, _INNER = range(3)
_COLUMNS = 3


class TapStatistics(flax.struct.PyTreeNode):
    """What a fork measured of the cotangents of its paths, by name.

    One array, so that a step has one output per fork; nothing else knows its layout.

    Attributes:
        array: float32 `[..., paths + 1, 3]`. A row per path in the order of the fork's,
            then one for their sum.
    """

    array: jax.Array | np.ndarray

    @classmethod
    def of(cls, cotangents: Sequence[jax.Array], total: jax.Array) -> "TapStatistics":
        """Measures; nothing that is not finite is repaired."""
        sums = jnp.stack([_sums(g) for g in (*cotangents, total)])
        return cls(jnp.concatenate([sums, _inner_products(cotangents)], axis=1))

    @staticmethod
    def zero_tap(paths: int) -> jax.Array:
        """What a fork of that many paths measures into."""
        return jnp.zeros((paths + 1, _COLUMNS), jnp.float32)

    @property
    def squares(self) -> jax.Array | np.ndarray:
        """`[..., paths]`: sum of squares of each path's cotangent."""
        return self.array[..., :-1, _SQUARE]

    @property
    def total_square(self) -> jax.Array | np.ndarray:
        """`[...]`: sum of squares of the sum of all paths."""
        return self.array[..., -1, _SQUARE]

    @property
    def nonfinite(self) -> jax.Array | np.ndarray:
        """`[..., paths]`: entries of each path that are NaN or infinite."""
        return self.array[..., :-1, _NONFINITE]

    @property
    def total_nonfinite(self) -> jax.Array | np.ndarray:
        """`[...]`: entries of the sum of all paths that are NaN or infinite."""
        return self.array[..., -1, _NONFINITE]

    @property
    def inner(self) -> jax.Array | np.ndarray:
        """`[...]`: inner product of the two paths; 0 where there are more or fewer."""
        return self.array[..., 0, _INNER]

    def per_batch(self, batches: int) -> "TapStatistics":
        """Means, where this is a sum over batches; counts stay sums."""
        over = np.full(_COLUMNS, batches)
        over[_NONFINITE] = 1
        return TapStatistics(self.array / over)


def _sums(cotangent: jax.Array) -> jax.Array:
    """Float32 `[2]`: sum of squares, number of non-finite entries."""
    g = cotangent.astype(jnp.float32)
    return jnp.stack([jnp.sum(g * g), jnp.sum(~jnp.isfinite(g), dtype=jnp.float32)])


def _inner_products(cotangents: Sequence[jax.Array]) -> jax.Array:
    """Float32 `[paths + 1, 1]`: of each path with the other one, where there are two.

    From the norms alone it would be the small difference of large numbers where the
    paths are nearly orthogonal.
    """
    column = jnp.zeros((len(cotangents) + 1, 1))
    if len(cotangents) != 2:
        return column
    first, second = (g.astype(jnp.float32) for g in cotangents)
    return column.at[:2].set(jnp.sum(first * second))
