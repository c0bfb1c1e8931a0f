"""Signal propagation: how the forward signal grows, block by block (M5, M6).

The three curves of Brock et al. 2021 (section 3): per block output the mean over
channels of the squared channel mean, the mean channel variance, and the variance at the
end of the branch; and at the join the size of both addends and their cosine.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.gradients.joins import COMPUTED, AddendMoments, moments, with_addends
from resseg.probes.probe import Options, Probe, Rows, rows_from, slope
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

COLUMNS = (
    Column("depth", "int64", "blocks", "position of the block in depth order, 0 first"),
    Column("fork", "str", "", "module path of the block"),
    Column("mean_squared", "float64", "activation^2", "mean of squared channel means"),
    Column("variance", "float64", "activation^2", "mean channel variance of the sum"),
    Column("branch_variance", "float64", "activation^2", "the same of W_r h(x) alone"),
    Column("shortcut_rms", "float64", "activation", "root mean square of W_c x"),
    Column("branch_rms", "float64", "activation", "root mean square of W_r h(x)"),
    Column("fraction", "float64", "1", "branch_rms / shortcut_rms"),
    Column("cosine", "float64", "1", "of the angle between both addends"),
)


def measure(subject: Subject, options: Options) -> Rows:
    """Means over `options.batches` training batches; norms use batch statistics."""

    @jax.jit
    def of_batch(variables, images):
        def apply():
            return subject.model.apply(
                variables,
                images,
                train=True,
                rngs={"dropout": jax.random.key(options.seed)},
                mutable=["batch_stats"],
            )

        _, addends = with_addends(apply)
        return {name: _statistics(parts) for name, parts in addends.items()}

    sums: dict[str, _Signal] | None = None
    for batch in subject.batches(options.batches):
        found = of_batch(subject.variables, batch["image"])
        found = jax.tree.map(lambda value: np.asarray(value, np.float64), found)
        sums = found if sums is None else jax.tree.map(np.add, sums, found)
    means = jax.tree.map(lambda value: value / options.batches, sums)
    order = [fork.name for fork in subject.forks if fork.kind == "block"]
    records = [_record(depth, name, means[name]) for depth, name in enumerate(order)]
    return rows_from(records, COLUMNS)


class _Signal(NamedTuple):
    """Of the sum of a block: `mean_squared`, `variance`; of its branch; of both."""

    mean_squared: jax.Array
    variance: jax.Array
    branch_variance: jax.Array
    addends: AddendMoments


def _statistics(addends: dict[str, jax.Array]) -> _Signal:
    total = functools.reduce(jnp.add, addends.values())
    _, branch_variance = _channels(addends[COMPUTED])
    return _Signal(*_channels(total), branch_variance, moments(addends))


def _channels(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean squared channel mean, mean channel variance."""
    x = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return jnp.mean(mean * mean), jnp.mean(x.var(axes))


def _record(depth: int, name: str, signal: _Signal) -> dict:
    carried, computed = signal.addends.shortcut, signal.addends.branch
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "depth": depth,
            "fork": name,
            "mean_squared": signal.mean_squared,
            "variance": signal.variance,
            "branch_variance": signal.branch_variance,
            "shortcut_rms": np.sqrt(carried),
            "branch_rms": np.sqrt(computed),
            "fraction": np.sqrt(computed / carried),
            "cosine": signal.addends.product / np.sqrt(carried * computed),
        }


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Variances over depth, and the share of the branch."""
    left, right = figure.subplots(1, 2)
    lines = (
        ("variance", "-", "o"),
        ("branch_variance", "--", "s"),
        ("mean_squared", ":", "^"),
    )
    for name, style, marker in lines:
        left.plot(
            table["depth"],
            table[name],
            style,
            marker=marker,
            label=name.replace("_", " "),
        )
    left.set_yscale("log")
    left.set_ylabel("activation²")
    left.legend()
    right.plot(
        table["depth"],
        table["fraction"],
        "-",
        marker="o",
        label="|branch| / |shortcut|",
    )
    right.plot(table["depth"], table["cosine"], "--", marker="s", label="cosine")
    right.axhline(0, color="0.7", linewidth=0.8)
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("block, shallow to deep")
        axes.xaxis.get_major_locator().set_params(integer=True)


def conclude(table: pd.DataFrame) -> list[str]:
    """How fast the variance grows."""
    rate = slope(table["depth"].to_numpy(), np.log(table["variance"].to_numpy()))
    return [
        f"the variance of the sum grows by a factor of {np.exp(rate):.3g} per block"
    ]


PROBE = Probe(
    "mean and variance of shortcut and branch at every join (M5, M6)",
    COLUMNS,
    ("fork", "variance", "branch_variance", "shortcut_rms", "branch_rms", "cosine"),
    measure,
    draw,
    conclude,
)
