"""Shattering: how gradients at different inputs resemble each other."""

import numpy as np


def overlap(gradients: np.ndarray) -> tuple[float, float]:
    """Mean <g(x), g(x')> over pairs of different inputs, and mean |g(x)|^2.

    Averages of the first over averages of the second are the scalar correlation
    E<g(x), g(x')> / E|g|^2 of independent inputs (Balduzzi 2017): 1 for a linear
    function, 0 where gradients are white noise.

    Args:
        gradients: `[inputs, features]`, two inputs or more.
    """
    g = np.asarray(gradients, np.float64)
    count = len(g)
    squares = np.sum(g * g)
    cross = np.sum(np.square(g.sum(axis=0))) - squares
    return float(cross / (count * (count - 1))), float(squares / count)


def autocorrelation(gradients: np.ndarray, *, periodic: bool) -> np.ndarray:
    """Mean over t of <g(t), g(t + lag)>, over that at lag 0: `[points // 2 + 1]`.

    Args:
        gradients: `[points, features]`, at equal distances along a walk.
        periodic: the walk is closed: every lag has as many pairs as points.
    """
    g = np.asarray(gradients, np.float64)
    products = g @ g.T
    lags = range(len(g) // 2 + 1)
    if periodic:
        rolled = np.arange(len(g))
        sums = [products[rolled, np.roll(rolled, -lag)].mean() for lag in lags]
    else:
        sums = [np.diagonal(products, lag).mean() for lag in lags]
    squares = np.diagonal(products).mean()
    return np.asarray(sums) / squares if squares > 0 else np.full(len(sums), np.nan)


def line(first: np.ndarray, last: np.ndarray, points: int) -> np.ndarray:
    """`[points, …]`: from `first` to `last` in equal steps, both ends included."""
    t = _column(np.linspace(0, 1, points), first)
    return (1 - t) * first + t * last


def circle(first: np.ndarray, second: np.ndarray, points: int) -> np.ndarray:
    """`[points, …]`: cos(t) `first` + sin(t) `second`, once around.

    For independent inputs of mean 0 every point has their variance.
    """
    t = _column(2 * np.pi * np.arange(points) / points, first)
    return np.cos(t) * first + np.sin(t) * second


def _column(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return values.reshape((-1,) + (1,) * like.ndim).astype(like.dtype)


def random_pairs(count: int, wanted: int, seed: int) -> list[tuple[int, int]]:
    """`wanted` pairs of different numbers below `count`, at random; each pair once.

    Fewer where there are not so many.
    """
    first, second = np.triu_indices(count, 1)
    order = np.random.default_rng(seed).permutation(len(first))[:wanted]
    return [(int(first[i]), int(second[i])) for i in order]
