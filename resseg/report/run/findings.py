"""What stands out in a run: the fork, the step and the number, said first."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resseg.gradient_log.timeline import FAR, Timeline, Trouble, first_events
from resseg.report.page import formatting
from resseg.report.run.facts import Facts, config_value
from resseg.report.run.flow import Flow

# A path is nearly dead where the odds of its share are this far below the median of
# the same path in the other forks of its kind.
_ODDS = 1e4
# Steps at the end that a path must be 0 in: dropped paths are so by chance in a few.
_TAIL = 10
_FACTORS = ("model.gradient.", "model.shortcut.", "model.branch.", "model.long_skip.")


class RunFinding(NamedTuple):
    """One thing that a reader must not miss.

    Attributes:
        severity: error or warning.
        before, after: the sentence, but for the name of the first fork between.
        forks: those it is about, the first to look at in front.
        path: the path it is about; "" = all of them.
        step: where it begins; 0 = it holds for all of them.
    """

    severity: str
    before: str
    after: str = ""
    forks: tuple[str, ...] = ()
    path: str = ""
    step: int = 0

    @property
    def name(self) -> str:
        """Of the first fork; "" where it is about none."""
        return self.forks[0] if self.forks else ""

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.before}{self.name}{self.after}"

    def for_scripts(self) -> dict[str, Any]:
        """What the page's scripts know of it."""
        return {
            "severity": self.severity,
            "text": self.text,
            "forks": self.forks,
            "path": self.path,
            "step": self.step,
        }


def find(facts: Facts, flow: Flow | None) -> list[RunFinding]:
    """The findings, the gravest first; [] where nothing stands out."""
    findings: list[RunFinding] = []
    if flow is not None:
        findings += _not_finite(flow)
        dead = _dead(flow, facts.changed)
        findings += dead
        named = {(fork, finding.path) for finding in dead for fork in finding.forks}
        findings += _dying(flow)
        findings += _nearly_dead(flow, named)
        findings += _far(flow)
    if facts.scores and facts.mean_iou is None:
        findings.append(
            RunFinding(
                "warning",
                f"No score at step {facts.scored_at:,}: no pixel of the evaluation "
                "split is labelled.",
            )
        )
    missing = [
        facts.classes[place]
        for place, value in enumerate(facts.scores.get("iou", ()))
        if value == 0 and place < len(facts.classes)
    ]
    if missing:
        findings.append(
            RunFinding(
                "warning",
                f"IoU is exactly 0 at step {facts.scored_at:,} for "
                f"{', '.join(missing)}: the class is predicted nowhere right.",
            )
        )
    findings += [RunFinding("warning", f"{line}.") for line in facts.oddities]
    return sorted(findings, key=lambda finding: finding.severity != "error")


def checked(flow: Flow | None) -> str:
    """What was looked for, in a sentence for those who see no finding."""
    if flow is None:
        return "This run has no gradient log to look into."
    forks = formatting.plural(len(flow.lines), "fork")
    steps = formatting.plural(len(flow.steps), "logged step")
    return (
        f"Checked: {forks} in {steps} for paths whose gradient is exactly 0, becomes "
        f"so or is nearly so, for blocks whose norm is a {FAR:,.0f}th or {FAR:,.0f} "
        "times that of the last block, and for values that are not finite."
    )


def _not_finite(flow: Flow) -> list[RunFinding]:
    bad = flow.nonfinite > 0
    bad |= np.stack([~np.isfinite(line.total) for line in flow.lines])
    steps = np.flatnonzero(bad.any(axis=0))
    if not steps.size:
        return []
    # Backward, the deepest fork comes first.
    origin = flow.lines[int(np.flatnonzero(bad[:, steps[0]])[-1])]
    count = int(flow.nonfinite[flow.fork(origin.name), steps[0]])
    step = int(flow.steps[steps[0]])
    return [
        RunFinding(
            "error",
            "The gradient is not finite in "
            f"{formatting.plural(steps.size, 'logged step')}; first at step {step:,}, "
            "deepest in ",
            f" ({formatting.plural(count, 'value')}).",
            (origin.name,),
            step=step,
        )
    ]


def _dead(flow: Flow, changed: Mapping[str, tuple[Any, Any]]) -> list[RunFinding]:
    """Paths that send back exactly 0 in every logged step; equal paths together."""
    dead: dict[tuple[str, str], list[Timeline]] = {}
    peers: dict[tuple[str, str], int] = {}
    for line in flow.lines:
        for place, path in enumerate(line.paths):
            key = line.kind, path
            peers[key] = peers.get(key, 0) + 1
            if not line.site[place].any():
                dead.setdefault(key, []).append(line)
    return [
        _dead_path(flow, lines, path, peers[kind, path], changed)
        for (kind, path), lines in dead.items()
    ]


def _dead_path(
    flow: Flow,
    lines: Sequence[Timeline],
    path: str,
    peers: int,
    changed: Mapping[str, tuple[Any, Any]],
) -> RunFinding:
    first, last = int(flow.steps[0]), int(flow.steps[-1])
    names = tuple(line.name for line in lines)
    before, after = f"No gradient comes back over the {path} of ", ""
    if len(names) > 1:
        before, after = f"{before}{len(names)} forks, ", " first"
    after += (
        ": its share is exactly 0 in "
        f"all {formatting.plural(len(flow.steps), 'logged step')} "
        f"({first:,} to {last:,})"
    )
    others = peers - len(names)
    if others:
        kind = lines[0].kind
        word = "block" if kind == "block" else "fork"
        after += f"; the other {formatting.plural(others, word)} receive it"
    asked = [
        f"{key} = {config_value(here)}"
        for key, (here, _) in changed.items()
        if key.startswith(_FACTORS)
    ]
    after += f". The config sets {'; '.join(asked)}." if asked else "."
    return RunFinding("error", before, after, names, path)


def _dying(flow: Flow) -> list[RunFinding]:
    """Paths that send back exactly 0 from some step to the last."""
    findings = []
    count = len(flow.steps)
    for line in flow.lines:
        for place, path in enumerate(line.paths):
            alive = np.flatnonzero(line.site[place] != 0)
            if not alive.size:
                continue
            since = int(alive[-1]) + 1
            if count - since < _TAIL:
                continue
            step = int(flow.steps[since])
            after = (
                " dies: no gradient comes back over it from "
                f"step {step:,} to the last, {int(flow.steps[-1]):,} "
                f"({formatting.plural(count - since, 'logged step')})."
            )
            before = f"The {path} of "
            findings.append(
                RunFinding("error", before, after, (line.name,), path, step)
            )
    return findings


def _nearly_dead(flow: Flow, named: set[tuple[str, str]]) -> list[RunFinding]:
    """Paths whose share is far below that of the same path in forks of the kind."""
    odds: dict[tuple[str, str], list[tuple[Timeline, float, float]]] = {}
    for line in flow.lines:
        for place, path in enumerate(line.paths):
            share = line.share[place]
            share = share[np.isfinite(share) & (share > 0)]
            if share.size and (line.name, path) not in named:
                usual = float(np.median(share))
                ratio = usual / max(1 - usual, 1e-12)
                odds.setdefault((line.kind, path), []).append((line, usual, ratio))
    findings = []
    for (_, path), group in odds.items():
        median = float(np.median([ratio for _, _, ratio in group]))
        peers = median / (1 + median)
        for line, usual, ratio in group:
            if len(group) > 2 and ratio * _ODDS < median:
                findings.append(
                    RunFinding(
                        "warning",
                        f"The {path} of ",
                        " is nearly dead: its share is "
                        f"{formatting.percent(usual)} (median over the steps), where "
                        f"that of its peers is {formatting.percent(peers)}.",
                        (line.name,),
                        path,
                    )
                )
    return findings


def _far(flow: Flow) -> list[RunFinding]:
    """The first block that vanishes and the first that explodes."""
    return [
        RunFinding("error", "", event.deed, (event.fork,), step=event.step)
        for event in first_events(flow.lines)
        if event.what != Trouble.NOT_FINITE
    ]
