"""What a run is, how far it got and what it scored, from its folder."""

import enum
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from resseg.config.keys import base_config, flatten, whole_path
from resseg.errors import UserError
from resseg.gradient_log.summary import column, where
from resseg.runs import layout, oddities
from resseg.runs.json_files import read_json
from resseg.runs.ledger import Ledger, read_ledger
from resseg.runs.lock import is_locked
from resseg.runs.reader import Run


class RunState(enum.StrEnum):
    """How far a run is."""

    FINISHED = "finished"
    WRITTEN = "being written"
    UNFINISHED = "unfinished"
    IMPORTED = "imported"


_ALWAYS = {
    "train": ("loss", "grad_norm", "learning_rate", "mean_iou"),
    "val": ("mean_iou",),
}


class Facts(NamedTuple):
    """The headline of a run.

    Attributes:
        name: of the folder.
        data, model: in words.
        classes: names, or () where they are not recorded.
        step: the last one that any log knows.
        steps: how many there are to be; None where it is not known.
        state: how far it is.
        scores: of the last evaluation, as the log has them; {} before the first.
        scored_at: step of these.
        best: step and mean IoU of the best evaluation, or None.
        evaluations: how many there were.
        seconds: of training steps, without evaluation and compilation; None = unknown.
        images_per_second: median over the log; None = unknown.
        params, macs, macs_size: numbers of the network; None = not recorded.
        seed: of the run.
        changed: config keys that differ from the base, with both values.
        environment: as recorded, or {}.
        oddities: what of its scores looks too good, or too odd.
        ledger: where all its time went; None where it kept none.
    """

    name: str
    data: str
    model: str
    classes: tuple[str, ...]
    step: int
    steps: int | None
    state: RunState
    scores: Mapping[str, Any]
    scored_at: int
    best: tuple[int, float] | None
    evaluations: int
    seconds: float | None
    images_per_second: float | None
    params: int | None
    macs: int | None
    macs_size: str
    seed: int | None
    changed: dict[str, tuple[Any, Any]]
    environment: Mapping[str, Any]
    oddities: tuple[str, ...]
    ledger: Ledger | None

    @property
    def mean_iou(self) -> float | None:
        return self.scores.get("mean_iou")


def gather(run: Run) -> Facts:
    """Reads what the folder says; what it does not say is None or empty."""
    config = flatten(run.config)
    dataset = _optional(run, layout.DATASET)
    network = _optional(run, layout.NETWORK)
    rows = run.metrics.to_dict("records")
    evaluations = [row for row in rows if row["split"] == "val"]
    step = _last_step(run, rows)
    imported = (run.path / layout.IMPORTED).exists()
    steps = None if imported else config.get("train.steps")
    seconds, speed = _clock(run)
    image = network.get("image")
    return Facts(
        name=run.path.resolve().name,
        data=_data(config, dataset),
        model=network.get("title") or _model(config),
        classes=tuple(dataset.get("classes", ())),
        step=step,
        steps=steps,
        state=RunState.IMPORTED if imported else _state(run, steps, evaluations),
        scores=_present(evaluations[-1]) if evaluations else {},
        scored_at=int(evaluations[-1]["step"]) if evaluations else 0,
        best=_best(evaluations),
        evaluations=len(evaluations),
        seconds=seconds,
        images_per_second=speed,
        params=network.get("parameters") or run.parameter_count,
        macs=network.get("macs"),
        macs_size="×".join(map(str, image[:2])) if image else "",
        seed=config.get("seed"),
        changed=changed_from_base(config),
        environment=_optional(run, layout.ENVIRONMENT),
        oddities=(
            *oddities.in_data(run.path),
            *_oddities(config, dataset, evaluations),
        ),
        ledger=read_ledger(run.path),
    )


def _oddities(
    config: Mapping[str, Any],
    dataset: Mapping[str, Any],
    evaluations: list[dict[str, Any]],
) -> list[str]:
    if not evaluations:
        return []
    split = config.get("data.eval_split", "validation")
    best = _best(evaluations)
    lines = oddities.in_scores(evaluations[-1], dataset.get("classes", ()), split)
    images = dataset.get("splits", {}).get(split, 0)
    lines += oddities.in_split(
        split, config.get("data.split", ""), images, dataset.get("shared", 0)
    )
    steps = [row["step"] for row in evaluations]
    return lines + oddities.in_best(best[0] if best else None, steps)


def changed_from_base(config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys of a flat config that differ from `resseg.config.base`: (here, there)."""
    base = flatten(base_config())
    return {
        key: (value, base.get(key))
        for key, value in config.items()
        if _listed(whole_path(key, value)) != _listed(whole_path(key, base.get(key)))
    }


def config_value(value: Any) -> str:
    """A config value as it is typed on a command line."""
    value = _listed(value)
    if isinstance(value, list):
        return ", ".join(map(config_value, value)) or "()"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value) if value != "" else "“”"


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value.to_dict() if hasattr(value, "to_dict") else value


def _optional(run: Run, name: str) -> dict[str, Any]:
    if not (run.path / name).is_file():
        return {}
    try:
        values = read_json(run.path / name)
    except UserError:  # it may be half written by another program
        return {}
    return values if isinstance(values, dict) else {}


def _data(config: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    name = dataset.get("name") or config.get("data.name") or "unknown data"
    words = [str(name)]
    if dataset.get("classes"):
        words.append(f"{len(dataset['classes'])} classes")
    if dataset.get("splits"):
        train, held = config.get("data.split"), config.get("data.eval_split")
        for split in dict.fromkeys((train, held)):
            images = dataset["splits"].get(split)
            if images is not None:
                words.append(f"{images:,} {split} images")
    if dataset:
        bits = dataset.get("bits")
        words.append(f"{bits} bits" if bits else "bits not recorded")
    return ", ".join(words)


def _model(config: Mapping[str, Any]) -> str:
    head = config.get("model.head.name", "unknown head")
    depth = config.get("model.backbone.depth", "?")
    words = f"{head} on ResNet-{depth}"
    sizes = config.get("model.backbone.stage_sizes")
    if sizes:
        words = f"{head} on {'+'.join(map(str, sizes))} blocks"
    width = config.get("model.backbone.width")
    variant = config.get("model.backbone.variant")
    words += f" {variant}" if variant else ""
    return words + (f", width {width}" if width else "")


def _last_step(run: Run, rows: list[dict[str, Any]]) -> int:
    steps = [int(row["step"]) for row in rows]
    logged = run.read_gradients(["step"])
    if not logged.empty:
        steps.append(int(column(logged, "step").max()))
    return max([*steps, *run.steps], default=0)


def _state(run: Run, steps: int | None, evaluations: list) -> RunState:
    if is_locked(run.path):
        return RunState.WRITTEN
    done = steps is not None and any(row["step"] >= steps for row in evaluations)
    return RunState.FINISHED if done else RunState.UNFINISHED


def _best(evaluations: list[dict[str, Any]]) -> tuple[int, float] | None:
    known = [row for row in evaluations if not math.isnan(row["mean_iou"])]
    if not known:
        return None
    row = max(known, key=lambda each: each["mean_iou"])
    return int(row["step"]), float(row["mean_iou"])


def _clock(run: Run) -> tuple[float | None, float | None]:
    timing = run.timing
    if timing.empty or "seconds_per_step" not in timing:
        return None, None
    steps = column(timing, "step").astype(float)
    each = column(timing, "seconds_per_step").astype(float)
    seconds = float(np.nansum(each * np.diff(steps, prepend=0.0)))
    return seconds, float(np.nanmedian(column(timing, "images_per_second")))


def _present(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without the columns that only other lines of the log have."""
    return {
        key: value
        for key, value in row.items()
        if not (isinstance(value, float) and math.isnan(value))
    }


def rows_of(run: Run, split: str) -> Any:
    """The lines of one split, and only the columns that they have.

    A column that every line of a split has is there even if no value in it is a number.
    """
    metrics = run.metrics
    if metrics.empty:
        return metrics
    rows = where(metrics, column(metrics, "split") == split)
    kept = rows.notna().any() | rows.columns.isin(_ALWAYS.get(split, ()))
    return rows.loc[:, kept]
