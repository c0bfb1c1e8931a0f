"""What `resseg inspect` says, for programs: JSON and CSV."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from resseg import text
from resseg.gradient_log.selection import Selected
from resseg.gradient_log.summary import column, summarise
from resseg.gradient_log.timeline import (
    first_events,
    share_by_stage,
    slope_per_block,
    timelines,
)

STDOUT = "-"


def as_dict(selected: Selected) -> dict[str, Any]:
    """One run: means of every path, the profile's slope, events, shares by stage."""
    steps = np.unique(column(selected.recent, "step"))
    recent, whole = timelines(selected.recent), timelines(selected.rows)
    return {
        "run": str(selected.run.path),
        "steps": {
            "first": int(steps[0]),
            "last": int(steps[-1]),
            "logged": len(steps),
        },
        "forks": [
            {
                "fork": fork.name,
                "kind": fork.kind,
                "depth": fork.depth,
                "site": fork.total_site,
                "cosine": fork.cosine,
                "paths": [
                    {
                        "path": path.path,
                        "site": path.site,
                        "share": path.share,
                        "nonfinite": path.nonfinite,
                        "dead_steps": path.dead_steps,
                    }
                    for path in fork.paths
                ],
            }
            for fork in summarise(selected.recent)
        ],
        "log10_site_slope_per_block": slope_per_block(recent),
        "shortcut_share_by_stage": {
            stage: float(np.nanmean(share)) if np.isfinite(share).any() else math.nan
            for stage, share in share_by_stage(recent).items()
        },
        "events": [event._asdict() for event in first_events(whole)],
    }


def write_json(selected: Sequence[Selected], file: str) -> None:
    """A list of runs; NaN and infinity, which JSON does not have, as null."""
    content = json.dumps(_finite([as_dict(each) for each in selected]), indent=1)
    _write(content + "\n", file)


def write_csv(selected: Sequence[Selected], file: str) -> None:
    """The selected rows of the log with all of its columns, the run in front."""
    frames = []
    for each in selected:
        frame = each.recent.copy()
        frame.insert(0, "run", str(each.run.path))
        frames.append(frame)
    _write(pd.concat(frames).to_csv(index=False), file)


def _write(content: str, file: str) -> None:
    if file == STDOUT:
        sys.stdout.write(content)
    else:
        text.write(file, content)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
