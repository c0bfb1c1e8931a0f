"""Paired differences to the baseline, as a forest plot."""

from typing import Any

from resseg.report.page import formatting
from resseg.report.page.document import Plot
from resseg.report.sweep.read import SweepReport, SweepVariant
from resseg.sweeps.table.statistics import BOOTSTRAP, Estimate

_ROW, _FRAME = 30, 90  # pixels


def compared(report: SweepReport) -> list[tuple[int, SweepVariant]]:
    """The variants that have a pair, with their places."""
    return [(at, v) for at, v in enumerate(report.variants) if v.row.pairs]


def student(variant: SweepVariant) -> Estimate:
    """The mean difference of a variant that has pairs."""
    assert variant.row.difference is not None  # a baseline has no pairs
    return variant.row.difference


def forest(report: SweepReport) -> tuple[Plot, dict[str, Any], dict[str, Any]] | None:
    """The figure, what its script draws, and its data; None without any pair."""
    rows = compared(report)
    if not rows:
        return None
    lines, dots = [], []
    for at, variant in rows:
        own, boot = student(variant), variant.row.bootstrap
        assert boot is not None  # a baseline has no pairs
        lines.append(
            {
                "variant": at,
                "mean": own.mean,
                "student": None if own.why else [own.low, own.high],
                "bootstrap": None if boot.why else [boot.low, boot.high],
                "why": own.why,
                "count": own.count,
            }
        )
        for name, value in variant.row.pairs.items():
            dots.append([at, variant.seeds[name], name, value])
    plot = Plot(
        "forest",
        f"{report.table.metric} minus that of the baseline, seed by seed",
        caption(report),
        _alternative(report),
        "differences",
        _FRAME + _ROW * len(rows),
    )
    table = {
        "columns": ["variant", "seed", "run", "difference"],
        "rows": dots,
    }
    return plot, {"rows": lines, "metric": report.table.metric}, table


def caption(report: SweepReport) -> str:
    """What dots and intervals are, and how far they can be trusted."""
    counts = [len(v.row.pairs) for _, v in compared(report)]
    fewest, most = min(counts), max(counts)
    pairs = str(fewest) if fewest == most else f"{fewest} to {most}"
    parts = [
        f"Every circle is one seed: a run minus the baseline run of the same seed; "
        f"{pairs} {'pair' if most == 1 else 'pairs'} per row. Diamond: their mean. "
        "Thick line: Student's t 95 % interval of the mean, which supposes normal "
        "differences."
    ]
    if most >= BOOTSTRAP:
        parts.append(
            f"Dotted line below it, from {BOOTSTRAP} pairs on: 95 % BCa bootstrap "
            "interval."
        )
    if len(counts) > 1:
        parts.append(
            f"{len(counts)} rows are {len(counts)} comparisons: of 20 variants that "
            "do nothing, one is expected to miss 0."
        )
    without = [
        v.short
        for v in report.variants
        if v.row.difference is not None and not v.row.pairs
    ]
    if without:
        parts.append(f"Without a pair so far: {'; '.join(without)}.")
    return " ".join(parts)


def _alternative(report: SweepReport) -> str:
    texts = []
    for _, variant in compared(report)[:12]:
        own = student(variant)
        ends = (
            own.why or f"{formatting.number(own.low)} to {formatting.number(own.high)}"
        )
        texts.append(f"{variant.short}: {formatting.number(own.mean)} ({ends})")
    more = len(compared(report)) - len(texts)
    rest = f"; {more} more in the table" if more else ""
    return f"Mean differences with Student's interval: {'; '.join(texts)}{rest}."
