"""Extreme eigenvalues and the trace of a symmetric operator that is never formed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Operator = Callable[[np.ndarray], np.ndarray]


class Ritz(NamedTuple):
    """What Lanczos iteration knows of a spectrum.

    Attributes:
        values: float64 `[m]`, Ritz values, largest first.
        residuals: `[m]`: an eigenvalue lies within that distance of each value.
        weights: `[m]`, squared component of the start vector along each; they sum to 1,
            and over random starts they are nodes and weights of the spectral density.
    """

    values: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray


def lanczos(operator: Operator, start: np.ndarray, iterations: int) -> Ritz:
    """Ritz values after some steps, each new vector made orthogonal to all before.

    Full reorthogonalisation, twice: without it, eigenvalues found once return as
    copies. The tridiagonal matrix is float64 on the host, whatever the vectors are.
    Stops early where the space is exhausted.

    Args:
        operator: v `[n]` -> A v, A symmetric.
        start: `[n]`, random, not zero; its dtype is that of the basis.
    """
    steps = min(iterations, start.size)
    basis = np.zeros((steps, start.size), start.dtype)
    basis[0] = start / np.linalg.norm(start)
    diagonal, beside = [], []
    scale = 0.0
    for i in range(steps):
        w = np.asarray(operator(basis[i]), start.dtype)
        diagonal.append(float(np.dot(basis[i], w)))
        for _ in range(2):
            w = w - basis[: i + 1].T @ (basis[: i + 1] @ w)
        beside.append(float(np.linalg.norm(w)))
        scale = max(scale, abs(diagonal[-1]), beside[-1])
        if i + 1 == steps or beside[-1] <= 10 * np.finfo(start.dtype).eps * scale:
            break
        basis[i + 1] = w / beside[-1]
    side = np.array(beside[: len(diagonal) - 1])
    matrix = np.diag(np.array(diagonal)) + np.diag(side, 1) + np.diag(side, -1)
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-values)
    vectors = vectors[:, order]
    return Ritz(values[order], abs(beside[-1] * vectors[-1]), vectors[0] ** 2)


def trace(
    operator: Operator, size: int, samples: int, rng: np.random.Generator, dtype: type
) -> tuple[float, float]:
    """Hutchinson's estimate of the trace (1990), and its standard error.

    The mean of v^T A v over vectors v of random signs; exact for a diagonal A. The
    error of one sample alone is NaN.
    """
    values = []
    for _ in range(samples):
        signs = rng.choice(np.array([-1, 1], dtype), size)
        values.append(np.vdot(signs, operator(signs)).astype(np.float64))
    spread = np.std(values, ddof=1) if samples > 1 else np.nan
    return float(np.mean(values)), float(spread / np.sqrt(samples))
