"""What the folders of a sweep say: of every run its state, scores and costs."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resseg import runs
from resseg.config.keys import flatten
from resseg.runs import layout
from resseg.runs.ledger import read_pace
from resseg.sweeps import attempts, plan
from resseg.sweeps.scores import measure


class Cost(NamedTuple):
    """What a run, or some runs together, took. NaN or None where nothing is recorded.

    Attributes:
        params: learned numbers.
        macs: multiply-accumulates of one image.
        image: height, width, channels of that image.
        peak_memory: bytes; the largest of the runs.
        images_per_second: median over the logged steps, then over runs.
        programs: compiled.
        train_steps: those of them that are train steps.
        compile_seconds: sum over attempts and runs, as are the counts; runs that were
            trained together share what that took.
        wall_seconds: likewise, from start to end of each attempt.
        partial: an attempt has no end, so the wall time is that at least.
    """

    params: int | None = None
    macs: int | None = None
    image: tuple[int, ...] | None = None
    peak_memory: float = math.nan
    images_per_second: float = math.nan
    programs: float = 0.0
    train_steps: float = 0.0
    compile_seconds: float = math.nan
    wall_seconds: float = math.nan
    partial: bool = False


class MeasuredRun(NamedTuple):
    """One run of a sweep.

    Attributes:
        run: as planned.
        state: as its folder says.
        config: the planned config, flat, in plain values.
        stored: that in its run folder; None before it starts.
        scores: by name of metric; {} unless finished.
        cost: so far.
        starts: its environments, one per start, the last one first.
        dataset: what its data set was, see `resseg.runs.dataset`.
    """

    run: plan.PlannedRun
    state: attempts.State
    config: dict[str, Any]
    stored: dict[str, Any] | None
    scores: dict[str, float]
    cost: Cost
    starts: list[dict[str, Any]]
    dataset: dict[str, Any]

    @property
    def finished(self) -> bool:
        return self.state.word == attempts.FINISHED


def read_measured(sweep: plan.Plan, metrics: Collection[str]) -> list[MeasuredRun]:
    """Every run of a sweep, in the order of the study.

    Raises:
        UserError: a file of a run is damaged; the message names it.
    """
    return [_read(sweep, run, metrics) for run in sweep.runs]


def _read(
    sweep: plan.Plan, run: plan.PlannedRun, metrics: Collection[str]
) -> MeasuredRun:
    state = run.state()
    done = state.word == attempts.FINISHED
    planned = runs.read_json(sweep.folder / plan.CONFIGS / f"{run.id}.json")
    begun = (run.folder / layout.CONFIG).exists()
    stored = runs.read_json(run.folder / layout.CONFIG) if begun else None
    return MeasuredRun(
        run,
        state,
        flatten(planned),
        None if stored is None else flatten(stored),
        measure(run.folder, metrics) if done else {},
        read_cost(run.folder),
        _starts(run.folder),
        runs.read_dataset(run.folder),
    )


def read_cost(folder: Path) -> Cost:
    """What a run took, from its folder."""
    network = _optional(folder / layout.NETWORK)
    speeds = [row["images_per_second"] for row in read_pace(folder)]
    tried = attempts.list_attempts(folder)
    ended = [each for each in tried if each["ended"] is not None]
    walls = [(each["ended"] - each["started"]) * _share(each) for each in ended]
    compiled = {
        name: [
            each["compilations"][name] * _share(each)
            for each in ended
            if "compilations" in each
        ]
        for name in ("programs", "train_steps", "seconds")
    }
    memory = tried[-1].get("peak_memory") if tried else None
    return Cost(
        params=network.get("parameters"),
        macs=network.get("macs"),
        image=tuple(network["image"]) if "image" in network else None,
        peak_memory=math.nan if memory is None else memory,
        images_per_second=float(np.median(speeds)) if speeds else math.nan,
        programs=math.fsum(compiled["programs"]),
        train_steps=math.fsum(compiled["train_steps"]),
        compile_seconds=total(compiled["seconds"]),
        wall_seconds=total(walls),
        partial=len(ended) < len(tried),
    )


def _share(attempt: dict[str, Any]) -> float:
    return 1 / attempt["together"] if "together" in attempt else 1.0


def add_costs(costs: Sequence[Cost]) -> Cost:
    """The cost of runs together; what describes a network is that of the first."""
    networks = [cost for cost in costs if cost.params is not None]
    first = networks[0] if networks else Cost()
    speeds = _known(cost.images_per_second for cost in costs)
    return Cost(
        params=first.params,
        macs=first.macs,
        image=first.image,
        peak_memory=max(_known(cost.peak_memory for cost in costs), default=math.nan),
        images_per_second=float(np.median(speeds)) if speeds else math.nan,
        programs=math.fsum(cost.programs for cost in costs),
        train_steps=math.fsum(cost.train_steps for cost in costs),
        compile_seconds=total(_known(cost.compile_seconds for cost in costs)),
        wall_seconds=total(_known(cost.wall_seconds for cost in costs)),
        partial=any(cost.partial for cost in costs),
    )


def total(values: Sequence[float]) -> float:
    """Their sum; NaN of none."""
    return math.fsum(values) if values else math.nan


def _known(values: Any) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _optional(file: Path) -> dict[str, Any]:
    return runs.read_json(file) if file.exists() else {}


def _starts(folder: Path) -> list[dict[str, Any]]:
    environment = _optional(folder / layout.ENVIRONMENT)
    return [environment, *environment["earlier_starts"]] if environment else []
