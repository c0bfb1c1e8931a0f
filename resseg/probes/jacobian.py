"""The Jacobian of every block and stage, and of the network (M12).

The operator takes the whole input of a batch to the whole output, as the backward pass
of training sees it: norms use the statistics of the batch, dropout draws one mask,
backward factors scale. The largest singular value comes from power iteration on J^T J
(jvp, then vjp), the Frobenius norm from Hutchinson's estimator.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.gradients.analysis.singular_values import (
    largest_singular_value,
    normal_product,
    random_pull,
    recorded_parts,
)
from resseg.models.blocks import Block
from resseg.models.resnet import Stage
from resseg.probes.probe import (
    Options,
    Probe,
    Rows,
    require_linear_backward,
    rows_from,
)
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

BLOCK, STAGE, NET = "block", "stage", "net"
_KINDS = {Block: BLOCK, Stage: STAGE}

COLUMNS = (
    Column("part", "str", "", "block, stage, or net: images -> logits"),
    Column("depth", "int64", "parts", "position among the parts of its kind, 0 first"),
    Column("module", "str", "", "module path"),
    Column("inputs", "int64", "entries", "of the part's input, whole batch"),
    Column("outputs", "int64", "entries", "of its output"),
    Column(
        "sigma_max", "float64", "output / input", "largest singular value, from below"
    ),
    Column("residual", "float64", "1", "|J^T J v - s^2 v| / s^2 when iteration ended"),
    Column("frobenius", "float64", "output / input", "root of the sum of squares"),
    Column("error", "float64", "1", "standard error of frobenius, relative"),
    Column(
        "gain", "float64", "1", "frobenius / sqrt(outputs): rms |J^T v| / |v|, v random"
    ),
)


def measure(subject: Subject, options: Options) -> Rows:
    """On one training batch: `options.iterations` of power iteration and
    `options.samples` random cotangents for each part.

    Raises:
        UserError: the backward pass is not linear.
    """
    require_linear_backward(subject, "jacobian")
    (batch,) = subject.batches(1)
    modules, inputs = _parts(subject, batch["image"])
    keys = jax.random.split(jax.random.key(options.seed), len(modules))
    records: list[dict[str, Any]] = []
    seen: dict[str, int] = {BLOCK: 0, STAGE: 0, NET: 0}
    with counting("jacobian", len(modules)) as done:
        for (path, module), key in zip(modules.items(), keys, strict=True):
            kind = next((k for c, k in _KINDS.items() if isinstance(module, c)), NET)
            variables = _below(subject.variables, path)
            record = _singular_values(module, variables, inputs[path], key, options)
            records.append(
                {"part": kind, "depth": seen[kind], "module": path or NET, **record}
            )
            seen[kind] += 1
            done(1)
    order = [BLOCK, STAGE, NET]
    records.sort(key=lambda record: (order.index(record["part"]), record["depth"]))
    return rows_from(records, COLUMNS)


def _parts(
    subject: Subject, images: np.ndarray
) -> tuple[dict[str, nn.Module], dict[str, jax.Array]]:
    modules: dict[str, nn.Module] = {}

    @jax.jit
    def inputs_of(variables, images):
        forward = functools.partial(_forward, subject.model)
        parts, inputs = recorded_parts(forward, tuple(_KINDS), variables, images)
        modules.update(parts)
        return inputs

    inputs = inputs_of(subject.variables, images)
    inputs = {path: inputs[path] for path in modules}
    return modules | {"": subject.model}, inputs | {"": jax.numpy.asarray(images)}


def _below(variables: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The collections of the module at `path`."""
    chosen = {}
    for collection, tree in variables.items():
        for name in path.split("/") if path else ():
            tree = tree.get(name, {})
        chosen[collection] = tree
    return chosen


def _forward(module: nn.Module, variables: Mapping, x: jax.Array) -> jax.Array:
    y, _ = module.apply(
        variables, x, True, rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"]
    )
    return y["logits"] if isinstance(y, dict) else y


@functools.partial(jax.jit, static_argnums=0)
def _product(module, variables, x, v):
    return normal_product(functools.partial(_forward, module, variables), x, v)


@functools.partial(jax.jit, static_argnums=0)
def _pull(module, variables, x, key):
    return random_pull(functools.partial(_forward, module, variables), x, key)


def _singular_values(
    module: nn.Module,
    variables: Mapping,
    x: jax.Array,
    key: jax.Array,
    options: Options,
) -> dict[str, float]:
    first, *others = jax.random.split(key, options.samples + 1)
    start = jax.random.normal(first, x.shape, x.dtype)
    product = functools.partial(_product, module, variables, x)
    sigma, residual = largest_singular_value(product, start, options.iterations)
    squares = np.array([_pull(module, variables, x, k) for k in others], np.float64)
    square = squares.mean()
    spread = squares.std(ddof=1) if len(squares) > 1 else math.nan
    shape = jax.eval_shape(functools.partial(_forward, module), variables, x).shape
    outputs = math.prod(shape)
    return {
        "inputs": x.size,
        "outputs": outputs,
        "sigma_max": sigma,
        "residual": residual,
        "frobenius": math.sqrt(square),
        "error": spread / math.sqrt(len(squares)) / square / 2 if square else 0.0,
        "gain": math.sqrt(square / outputs),
    }


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Largest and mean singular values of blocks and stages, shallow to deep."""
    parts = [kind for kind in (BLOCK, STAGE) if kind in set(table["part"])]
    panels = figure.subplots(1, len(parts), squeeze=False, sharey=True)[0]
    net = table[table["part"] == NET].iloc[0]
    for axes, part in zip(panels, parts, strict=True):
        rows = table[table["part"] == part]
        names = (
            ("sigma_max", "largest singular value", "-", "o"),
            (*("gain", "rms gain of a random cotangent", "--", "s"),),
        )
        for name, label, style, marker in names:
            axes.plot(rows["depth"], rows[name], style, marker=marker, label=label)
        axes.axhline(1, color="0.6", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_xlabel(f"{part}, shallow to deep")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("output / input")
    panels[0].legend(fontsize="small")
    whole = f"largest, images to logits: {net['sigma_max']:.3g}"
    panels[-1].set_title(whole, fontsize="medium")


def conclude(table: pd.DataFrame) -> list[str]:
    """The block that stretches most, and how far the iteration got."""
    blocks = table[table["part"] == BLOCK].reset_index(drop=True)
    sentences = []
    if len(blocks):
        worst = blocks.iloc[int(np.argmax(blocks["sigma_max"]))]
        gain = math.exp(float(np.mean(np.log(blocks["gain"]))))
        sentences.append(
            f"{worst['module']} stretches most, {worst['sigma_max']:.3g}-fold; "
            f"a random cotangent grows {gain:.3g}-fold in the mean of the blocks"
        )
    open_ended = int(np.sum(table["residual"] > 0.1))
    if open_ended:
        sentences.append(
            f"{open_ended} of {len(table)} iterations ended with a residual above 0.1; "
            "their sigma_max is a lower bound, and more --iterations raise it"
        )
    return sentences


PROBE = Probe(
    "largest singular value and Frobenius norm, by block, stage and net (M12)",
    COLUMNS,
    ("part", "module", "sigma_max", "residual", "frobenius", "gain"),
    measure,
    draw,
    conclude,
)
