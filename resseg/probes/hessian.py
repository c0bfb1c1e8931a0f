"""Curvature of the loss in the parameters: largest eigenvalues and trace (M16).

The function is that whose gradient training follows: norms use the statistics of the
batch and are differentiated through, dropout draws one mask. Its mean over the batches
has a Hessian H, of which only products H v are formed. ReLU and max-pooling are
differentiated where they are smooth, as they are almost everywhere.
"""

from collections.abc import Callable

import jax
import numpy as np
import pandas as pd
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.gradients.analysis.curvature import (
    hessian_vector_product,
    require_true_gradient,
)
from resseg.gradients.analysis.lanczos import lanczos, trace
from resseg.probes.probe import Options, Probe, Rows, rows_from
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

COLUMNS = (
    Column("place", "int64", "", "of the Ritz value, 0 = the largest"),
    Column("eigenvalue", "float64", "loss / weight^2", "Ritz value of the Hessian"),
    Column("residual", "float64", "loss / weight^2", "an eigenvalue is that close"),
    Column("weight", "float64", "1", "of the value in the spectral density; sums to 1"),
    Column("trace", "float64", "loss / weight^2", "sum of all eigenvalues, estimated"),
    Column("trace_error", "float64", "loss / weight^2", "its standard error"),
    Column("loss", "float64", "", "the loss there"),
    Column("gradient", "float64", "loss / weight", "norm of its gradient"),
    Column("parameters", "int64", "", "number of weights"),
)
_ENDS = 5  # eigenvalues from each end of the spectrum
_CONVERGED = 0.01  # residual over the largest magnitude


def measure(subject: Subject, options: Options) -> Rows:
    """`options.iterations` of Lanczos and `options.samples` random vectors for the
    trace, over `options.batches` training batches.

    Raises:
        UserError: a backward factor is not 1.
    """
    require_true_gradient(subject.variables["paths"])
    batches = list(subject.batches(options.batches))
    flat, unravel = ravel_pytree(subject.variables["params"])
    rng = np.random.default_rng(options.seed)

    def loss_on(batch) -> Callable:
        def loss(params, paths):
            variables = {**subject.variables, "params": params, "paths": paths}
            return subject.total_loss(variables, batch, train=True)

        return loss

    @jax.jit
    def first_order(params, batch):
        paths = subject.variables["paths"]
        value, gradient = jax.value_and_grad(loss_on(batch))(unravel(params), paths)
        return value, ravel_pytree(gradient)[0]

    @jax.jit
    def product(params, batch, v):
        paths = subject.variables["paths"]
        turned = hessian_vector_product(
            loss_on(batch), unravel(params), paths, unravel(v)
        )
        return ravel_pytree(turned)[0]

    def mean(terms):
        return np.mean([np.asarray(term, np.float64) for term in terms], axis=0)

    work = len(batches) * (options.iterations + options.samples)
    with counting("hessian", work) as done:

        def operator(v):
            turned = mean(product(flat, batch, v) for batch in batches)
            done(len(batches))
            return turned.astype(np.float32)

        first = [first_order(flat, batch) for batch in batches]
        start = rng.standard_normal(flat.size).astype(np.float32)
        ritz = lanczos(operator, start, options.iterations)
        total, error = trace(operator, flat.size, options.samples, rng, np.float32)
    same = {
        "trace": total,
        "trace_error": error,
        "loss": mean(value for value, _ in first),
        "gradient": np.linalg.norm(mean(gradient for _, gradient in first)),
        "parameters": flat.size,
    }
    rows = enumerate(zip(*ritz, strict=True))
    records = [
        {"place": i, "eigenvalue": value, "residual": near, "weight": weight, **same}
        for i, (value, near, weight) in rows
    ]
    return rows_from(records, COLUMNS)


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The largest and the smallest Ritz values."""
    if len(table) <= 2 * _ENDS:
        return table
    return pd.concat([table.head(_ENDS), table.tail(_ENDS)])


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Ritz values with their residuals, and the spectral density that they make."""
    left, right = figure.subplots(1, 2)
    values, near = (np.asarray(table[name]) for name in ("eigenvalue", "residual"))
    left.set_yscale("symlog", linthresh=max(1e-2 * np.abs(values).max(), 1e-12))
    left.errorbar(table["place"], values, near, fmt="o", markersize=4, capsize=3)
    left.axhline(0, color="0.6", linewidth=0.8)
    left.set_xlabel("place, largest first")
    left.set_ylabel("Ritz value ± residual, loss / weight²")
    spread = max((values.max() - values.min()) / 100, 1e-12)
    grid = np.linspace(values.min() - 5 * spread, values.max() + 5 * spread, 800)
    bumps = np.exp(-(((grid[:, None] - values) / spread) ** 2) / 2)
    density = bumps @ np.asarray(table["weight"]) / (spread * np.sqrt(2 * np.pi))
    right.semilogy(grid, density)
    right.set_ylim(1e-8 * density.max(), 3 * density.max())
    right.set_xlabel("eigenvalue, loss / weight²")
    right.set_ylabel("density, one start vector")


def conclude(table: pd.DataFrame) -> list[str]:
    """The sharpest direction, and how curved the loss is downwards."""
    first, last = table.iloc[0], table.iloc[-1]
    size = max(abs(first["eigenvalue"]), abs(last["eigenvalue"]))
    sentences = [
        f"largest eigenvalue {first['eigenvalue']:.4g}: gradient descent is stable "
        f"there up to a learning rate of {2 / first['eigenvalue']:.3g}"
        if first["eigenvalue"] > 0
        else "no direction curves upwards",
        f"smallest Ritz value {last['eigenvalue']:.4g}; trace {first['trace']:.4g} "
        f"± {first['trace_error']:.2g}, over {first['parameters']:.0f} weights",
    ]
    if first["residual"] > _CONVERGED * size:
        sentences.append("the largest has not converged; more --iterations raise it")
    return sentences


PROBE = Probe(
    "curvature: largest eigenvalues by Lanczos, trace by Hutchinson (M16)",
    COLUMNS,
    ("place", "eigenvalue", "residual", "weight", "trace", "trace_error"),
    measure,
    draw,
    conclude,
    second_order=True,
    short=ends,
)
