"""How noisy a gradient is: the gradient noise scale, and how samples agree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from resseg.gradients.blocks import block_of, sum_squares_by_block

WHOLE = ""  # goes for a block's name where all parameters are meant


class Moments(NamedTuple):
    """Sums over the gradients of single samples.

    Attributes:
        samples: how many.
        total: sum of g, a tree like the parameters.
        directions: sum of g / |g|, each block by its own norm.
        whole_directions: the same, by the norm over all parameters.
        squares: sum of |g|^2 by block; `WHOLE` for all parameters.
    """

    samples: jax.Array
    total: Any
    directions: Any
    whole_directions: Any
    squares: dict[str, jax.Array]


class Noise(NamedTuple):
    """Of the gradient of one sample, by block.

    Attributes:
        signal: unbiased estimate of the squared norm of the true gradient; may come
            out negative.
        trace: unbiased estimate of the trace of the covariance over samples.
        cosine: mean over pairs of samples of the cosine of their gradients.
    """

    signal: float
    trace: float
    cosine: float


def no_moments(parameters: Any) -> Moments:
    """Those of no sample."""
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    squares = {name: jnp.zeros(()) for name in _squares(parameters)}
    return Moments(jnp.zeros(()), zeros, zeros, zeros, squares)


def with_sample(moments: Moments, gradient: Any) -> Moments:
    """Adds the gradient of one sample, a tree like the parameters."""
    squares = _squares(gradient)
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(gradient)
    own = {
        path: leaf / jnp.sqrt(squares[block_of(path)]) for path, leaf in flat.items()
    }
    whole = {path: leaf / jnp.sqrt(squares[WHOLE]) for path, leaf in flat.items()}
    return jax.tree.map(
        jnp.add,
        moments,
        Moments(
            jnp.ones(()),
            gradient,
            traverse_util.unflatten_dict(own),
            traverse_util.unflatten_dict(whole),
            squares,
        ),
    )


def noise_by_block(moments: Moments) -> dict[str, Noise]:
    """Block name -> noise, from at least two samples; `WHOLE` over all parameters.

    A block whose gradient is 0 in some sample has a cosine of NaN.
    """
    count = float(moments.samples)
    total = _squares(moments.total)
    directions = sum_squares_by_block(moments.directions)
    whole = sum_squares_by_block(moments.whole_directions)
    directions[WHOLE] = sum(whole.values(), jnp.zeros(()))
    noise = {}
    for block, squares in moments.squares.items():
        small, large = float(squares) / count, float(total[block]) / count**2
        signal, trace = two_batches(1, small, count, large)
        cosine = (float(directions[block]) - count) / (count * (count - 1))
        noise[block] = Noise(signal, trace, cosine)
    return noise


def two_batches(
    few: float, few_square: float, many: float, many_square: float
) -> tuple[float, float]:
    """|G|^2 and tr(Sigma) from mean squared gradient norms at two batch sizes.

    McCandlish 2018 (appendix A.1): E |G_B|^2 = |G|^2 + tr(Sigma) / B at every size B.
    """
    signal = (many * many_square - few * few_square) / (many - few)
    trace = (few_square - many_square) / (1 / few - 1 / many)
    return signal, trace


def noise_scale(noises: list[Noise]) -> tuple[float, float]:
    """tr(Sigma) / |G|^2 over several batches, and its jackknife standard error.

    Numerator and denominator are averaged before they are divided (McCandlish 2018).
    The scale is infinite where the mean of |G|^2 is not positive: it drowns. The error
    is NaN for one batch.
    """
    signal = np.array([noise.signal for noise in noises])
    trace = np.array([noise.trace for noise in noises])
    count = len(noises)
    scale = _ratio(trace.sum(), signal.sum())
    if count < 2:
        return scale, float("nan")
    without = np.array(
        [
            _ratio(trace.sum() - t, signal.sum() - s)
            for t, s in zip(trace, signal, strict=True)
        ]
    )
    if not np.isfinite(without).all():
        return scale, float("inf")
    return scale, float(np.sqrt((count - 1) * without.var()))


def _ratio(trace: float, signal: float) -> float:
    return float(trace / signal) if signal > 0 else float("inf")


def _squares(tree: Any) -> dict[str, jax.Array]:
    squares = sum_squares_by_block(tree)
    return squares | {WHOLE: sum(squares.values(), jnp.zeros(()))}
