"""Temperature scaling: one number that makes probabilities as sure as they are right.

Logits are divided by T, chosen so that the negative log-likelihood of a split is least
(Guo et al. 2017, sec. 4.2). In b = 1/T it is convex, so that there is one minimum. It
is found from sums over all pixels at a few values of b, in two passes over the images.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from resseg import sharding
from resseg.errors import UserError

LEAST, MOST = 1 / 64, 64.0  # temperatures that are looked for
_POINTS = 7  # values of 1/T that a pass computes

# Of 1/T `[points]`: sums over pixels `[points, 3]` of the loss and its two derivatives.
Sums = Callable[[np.ndarray], np.ndarray]


def solve(sums: Sums) -> float:
    """The temperature of least negative log-likelihood, to about 1e-6 of itself.

    Args:
        sums: is called twice.

    Raises:
        UserError: the likelihood grows without end, or is best beyond the range.
    """
    points = np.geomspace(1 / MOST, 1 / LEAST, _POINTS)
    _, slopes, _ = sums(points).T
    if not np.isfinite(slopes).all():
        raise UserError("logits are not finite: there is no temperature for them")
    if slopes[0] >= 0 or slopes[-1] <= 0:
        side = "sharper" if slopes[-1] <= 0 else "flatter"
        raise UserError(
            f"no temperature from {LEAST:.4f} to {MOST:g} is best: the {side} the "
            "probabilities, the likelier the truth; expected a split with right and "
            "wrong pixels"
        )
    place = int(np.argmax(slopes > 0))
    points = np.geomspace(points[place - 1], points[place], _POINTS)
    _, slopes, curvatures = sums(points).T
    place = min(max(int(np.argmax(slopes > 0)), 1), _POINTS - 1)
    pair = slice(place - 1, place + 1)
    return 1 / _root(points[pair], slopes[pair], curvatures[pair])


def _root(ends: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> float:
    """Of the cubic with these values and slopes at both ends, where it is 0 between."""
    width = ends[1] - ends[0]
    first, last = slopes * width
    rise = values[1] - values[0]
    cubic = [first + last - 2 * rise, 3 * rise - 2 * first - last, first, values[0]]
    roots = np.roots(cubic)
    inside = roots[(abs(roots.imag) < 1e-9)].real
    nearest = inside[np.argmin(abs(inside - 0.5))]
    return float(ends[0] + width * np.clip(nearest, 0, 1))


def compile_sums(model: Any, mesh: Mesh) -> Any:
    """The jitted `step((variables, points), batch)`: sums of each row of each image.

    float32 `[points, batch, height, 3]` over pixels that are not void: -log p(truth) of
    logits times each point, its first and its second derivative.
    """

    def step(given: Any, batch: Any) -> jax.Array:
        variables, points = given
        outputs: Any = model.apply(variables, batch["image"], train=False)
        logits, labels = outputs["logits"].astype(jnp.float32), batch["label"]
        counted = (labels >= 0) & (labels < logits.shape[-1])
        true = jnp.where(counted, labels, 0)[..., None]
        logits = logits - logits.max(-1, keepdims=True)
        of_truth = jnp.take_along_axis(logits, true, -1)[..., 0]

        def at(point: jax.Array) -> jax.Array:
            scaled = logits * point
            softmax = jax.nn.softmax(scaled)
            mean = (softmax * logits).sum(-1)
            loss = jax.nn.logsumexp(scaled, -1) - point * of_truth
            spread = (softmax * jnp.square(logits - mean[..., None])).sum(-1)
            columns = jnp.stack([loss, mean - of_truth, spread], -1)
            return jnp.where(counted[..., None], columns, 0).sum(-2)

        return jax.lax.map(at, points)

    whole, split = sharding.replicated(mesh), sharding.by_image(mesh)
    return jax.jit(step, in_shardings=(whole, split), out_shardings=whole)


def compile_logits(model: Any, mesh: Mesh) -> Any:
    """The jitted `step(variables, batch)`: float32 logits of each image."""

    def step(variables: Any, batch: Any) -> jax.Array:
        outputs: Any = model.apply(variables, batch["image"], train=False)
        return outputs["logits"].astype(jnp.float32)

    whole, split = sharding.replicated(mesh), sharding.by_image(mesh)
    readable = sharding.readable(split)
    return jax.jit(step, in_shardings=(whole, split), out_shardings=readable)
