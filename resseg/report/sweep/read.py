"""Everything that the page of a sweep says, read run by run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resseg import runs
from resseg.config.keys import flatten
from resseg.gradient_log.summary import USED, last_steps
from resseg.gradient_log.timeline import Timeline, timelines
from resseg.report.sweep.bands import Band, band, thin
from resseg.report.sweep.naming import short
from resseg.runs.reader import Run
from resseg.sweeps import plan as plans
from resseg.sweeps.plan import Plan, PlannedRun, read_plan
from resseg.sweeps.scores import EVALUATION, ROWS
from resseg.sweeps.table.rows import Row, identity
from resseg.sweeps.table.table import Table, load_table

PAGE = "report.html"  # of a run, in its folder


class Trail(NamedTuple):
    """One run on its way.

    Attributes:
        loss, score: by step, of the training log and of the evaluations.
        site: by block, log10 of its gradient norm over that of the last block.
        share: by block with a shortcut, the share of the gradient that it carries.
    """

    loss: Mapping[int, float]
    score: Mapping[int, float]
    site: Mapping[str, float]
    share: Mapping[str, float]


class SweepVariant(NamedTuple):
    """A row of the table, with what its runs logged.

    Attributes:
        row: of the table.
        short: its name with less characters, unlike that of any other.
        seeds: by id of a run, its seed.
        loss, score: over the steps, of all runs that have begun.
        site, share: over depth, of the finished runs.
    """

    row: Row
    short: str
    seeds: dict[str, Any]
    loss: Band | None
    score: Band | None
    site: Band | None
    share: Band | None

    @property
    def name(self) -> str:
        return self.row.name


class SweepReport(NamedTuple):
    """A sweep.

    Attributes:
        table: as `resseg table` reads it.
        variants: in the order of its rows.
        curve: name of the score whose curve is drawn.
        pages: ids of the runs that have a page of their own.
    """

    table: Table
    variants: tuple[SweepVariant, ...]
    curve: str
    pages: frozenset[str]

    @property
    def plan(self) -> Plan:
        return self.table.sweep

    @property
    def baselines(self) -> list[int]:
        """The places of the variants that others are compared with."""
        return [at for at, v in enumerate(self.variants) if v.row.difference is None]

    def baseline_of(self, variant: SweepVariant) -> SweepVariant | None:
        """The variant that one is compared with; None for a baseline, or without."""
        values = variant.row.values
        set_ = {k: v for k, v in self.table.baseline.items() if k in values}
        wanted = identity({**values, **set_}, values)
        for at in self.baselines:
            own = self.variants[at]
            if identity(own.row.values, values) == wanted and own is not variant:
                return own
        return None


def read(folder: str | Path, metric: str = "mean_iou") -> SweepReport:
    """Reads a sweep folder, finished or not, one run after the other.

    Raises:
        UserError: it is no sweep folder; there is no such metric; a file is damaged.
    """
    sweep = read_plan(folder)
    table = load_table(sweep, metric)
    curve = metric if metric in EVALUATION else "mean_iou"
    done = set(table.runs["id"][table.runs["state"] == "finished"])
    trails: dict[str, list[Trail]] = {}
    seeds: dict[str, dict[str, Any]] = {}
    for run in sweep.runs:
        stored = runs.read_json(sweep.folder / plans.CONFIGS / f"{run.id}.json")
        config = flatten(stored)
        mine = identity(config, table.keys)
        seeds.setdefault(mine, {})[run.id] = config["seed"]
        trail = read_trail(run, curve, gradients=run.id in done)
        trails.setdefault(mine, []).append(trail)
    names = [row.name for row in table.rows]
    shorts = short([row.values for row in table.rows], names)
    variants = [
        _variant(row, label, seeds, trails)
        for row, label in zip(table.rows, shorts, strict=True)
    ]
    pages = frozenset(run.id for run in sweep.runs if (run.folder / PAGE).is_file())
    return SweepReport(table, tuple(variants), curve, pages)


def read_trail(run: PlannedRun, score: str, *, gradients: bool) -> Trail:
    """What a run logged: curves with few points, gradients of its last steps."""
    rows = runs.read_metrics(run.folder)
    losses = [(r["step"], float(r["loss"])) for r in rows if r["split"] == "train"]
    scores = [
        (row["step"], float(row[score]))
        for row in rows
        if row["split"] == "val" and score in row
    ]
    site, share = _depth(run.folder) if gradients else ({}, {})
    return Trail(thin(losses, run.steps), thin(scores, run.steps), site, share)


def _depth(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    log = Run(folder).read_gradients(list(USED))
    if log.empty:
        return {}, {}
    lines = timelines(last_steps(log, ROWS))
    blocks = [line for line in lines if line.kind == "block"]
    if not blocks:
        return {}, {}
    places = {line.name: line.name.removeprefix("backbone/") for line in blocks}
    with np.errstate(divide="ignore", invalid="ignore"):
        site = {
            places[line.name]: float(np.log10(line.total / blocks[-1].total).mean())
            for line in blocks
        }
    share = {
        places[line.name]: _share(line) for line in blocks if "shortcut" in line.paths
    }
    return site, share


def _share(line: Timeline) -> float:
    return float(line.share[line.paths.index("shortcut")].mean())


def _variant(
    row: Row,
    label: str,
    seeds: Mapping[str, dict[str, Any]],
    trails: Mapping[str, list[Trail]],
) -> SweepVariant:
    mine = identity(row.values, row.values)
    return SweepVariant(
        row,
        label,
        seeds[mine],
        loss=band([trail.loss for trail in trails[mine]]),
        score=band([trail.score for trail in trails[mine]]),
        site=band([trail.site for trail in trails[mine]]),
        share=band([trail.share for trail in trails[mine]]),
    )
