"""The probes by name, and what running one leaves behind."""

import time
from pathlib import Path

import pandas as pd

from resseg.console import add_row, columns, new_table, open_console, say, show
from resseg.errors import UserError
from resseg.figures import save
from resseg.probes import (
    hessian,
    jacobian,
    landscape,
    lesion,
    noise_scale,
    paths,
    profile,
    rank,
    receptive_field,
    reorder,
    shattering,
    signal,
    underflow,
)
from resseg.probes.figures import figure_of
from resseg.probes.probe import Options, Probe
from resseg.probes.subject import Subject
from resseg.runs.tables import write_table

PROBES: dict[str, Probe] = {
    "signal": signal.PROBE,
    "profile": profile.PROBE,
    "paths": paths.PROBE,
    "jacobian": jacobian.PROBE,
    "hessian": hessian.PROBE,
    "landscape": landscape.PROBE,
    "shattering": shattering.PROBE,
    "noise-scale": noise_scale.PROBE,
    "lesion": lesion.PROBE,
    "reorder": reorder.PROBE,
    "receptive-field": receptive_field.PROBE,
    "rank": rank.PROBE,
    "underflow": underflow.PROBE,
}


def check(probe: Probe, name: str, subject: Subject) -> None:
    """Refuses what has no answer.

    Raises:
        UserError: a probe of second derivatives on a network whose backward pass is
            scaled: its update field is the gradient of no function.
    """
    scaled = subject.scaled_backward() if probe.second_order else []
    if scaled:
        raise UserError(
            f"--what {name}: the network has {scaled[0]}, so its gradient field is the "
            "gradient of no function and a Hessian of it would be plausible and wrong; "
            "expected every backward factor to be 1"
        )


def run(name: str, subject: Subject, options: Options, folder: Path) -> None:
    """Measures, writes `FOLDER/NAME.parquet` and `.png`, prints the table."""
    probe = PROBES[name]
    began = time.monotonic()
    rows = probe.measure(subject, options)
    table = write_table(folder / f"{name}.parquet", probe.columns, rows)
    figure = figure_of(probe, table)
    figure.suptitle(f"{name}: {subject.name}, step {subject.step}")
    save(figure, folder / f"{name}.png")
    seconds = time.monotonic() - began
    short = probe.short(table)
    _print_table(
        short.loc[:, [column for column in probe.printed if column in short]],
        f"{name} of {subject.name}, step {subject.step} ({seconds:.0f} s)",
    )
    for sentence in probe.conclude(table):
        say(sentence)
    say(f"wrote {folder / name}.parquet and {folder / name}.png")


def _print_table(frame: pd.DataFrame, title: str) -> None:
    """Names as they are, in front; numbers to three digits."""
    out = open_console()
    words = sum(not pd.api.types.is_numeric_dtype(frame[name]) for name in frame)
    headers = [str(name).replace("_", "\n") for name in frame]
    table = new_table(out, *columns(headers, words))
    for row in frame.itertuples(index=False):
        add_row(table, *map(_cell, row))
    show(table, out, title)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
