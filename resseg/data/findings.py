"""What a check of a data set found, and how it is told."""

import dataclasses
from collections import Counter

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resseg.console import add_row, columns, new_table, say, show
from resseg.data.spec import VOID

# Every kind of finding, the most important first.
SEVERITY = {
    "layout": "error",  # nothing to read at all
    "binary": "error",  # 0/255 masks
    "unreadable": "error",
    "beyond": "error",  # a value beyond the bits in use
    "pair": "error",  # an image without its mask
    "size": "error",  # image and mask differ in size
    "rule": "error",  # mask values that mean something else than class indices
    "id": "error",  # a mask value that is no class
    "split": "warning",  # nothing to evaluate on
    "unseen": "warning",  # a class that a split never shows
    "duplicate": "warning",  # one picture in two splits
    "unlabelled": "warning",  # a mask that is void throughout
    "stray": "warning",  # a mask value that is no class, read as void
    "turned": "warning",  # an EXIF orientation
    "extra": "warning",  # a file that is not used
}
_LINES_PER_KIND = 5


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or odd, with one file or split."""

    kind: str  # a key of SEVERITY
    file: str
    message: str

    @property
    def severity(self) -> str:
        """`error` or `warning`."""
        return SEVERITY[self.kind]


@dataclasses.dataclass
class SplitReport:
    """Counts over the readable pairs of one split.

    Attributes:
        images: number of pairs.
        sizes: number of images per (height, width).
        pixels: int64 `[256]`, pixels per mask value.
        present: int64 `[256]`, masks that hold a value.
    """

    images: int = 0
    sizes: Counter[tuple[int, int]] = dataclasses.field(default_factory=Counter)
    pixels: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(256, np.int64)
    )
    present: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(256, np.int64)
    )


@dataclasses.dataclass
class Report:
    """What a check found.

    Attributes:
        where: the folder or the data set.
        classes: class names, by index.
        splits: counts per split.
        findings: sorted, the most important first.
        bits: in use by images of more than 8, and 8 where there are none; None where
            nobody recorded it.
        scale: the same for people; empty where there is nothing to say.
        labels: how objects became masks, for people; empty where they did not.
    """

    where: str
    classes: tuple[str, ...]
    splits: dict[str, SplitReport]
    findings: list[Finding]
    bits: int | None = 8
    scale: str = ""
    labels: str = ""

    @property
    def errors(self) -> list[Finding]:
        return [item for item in self.findings if item.severity == "error"]

    @property
    def status(self) -> int:
        """The exit status: 2 with an error, else 0."""
        return 2 if self.errors else 0

    def lines(self, severity: str) -> list[str]:
        """One line per finding; of each kind the first few and the number of others."""
        listed: list[str] = []
        for kind in SEVERITY:
            items = [item for item in self.findings if item.kind == kind]
            if not items or SEVERITY[kind] != severity:
                continue
            listed += [
                f"{item.file}: {item.message}" for item in items[:_LINES_PER_KIND]
            ]
            if len(items) > _LINES_PER_KIND:
                more = len(items) - _LINES_PER_KIND
                listed.append(f"... and {more} more findings of this kind ({kind})")
        return listed


def print_report(report: Report, out: Console) -> None:
    """Prints images and sizes per split, the share of each class, and the findings."""
    total = sum(split.images for split in report.splits.values())
    say(f"{report.where}: {total} pairs, {len(report.classes)} classes", out=out)
    if total:
        show(_table(report, out), out)
    for line in filter(None, (report.scale, report.labels)):
        say(line, out=out)
    for severity, style in (("error", "bold red"), ("warning", "yellow")):
        for line in report.lines(severity):
            say(Text.assemble((severity, style), " ", line), out=out)
    if not report.findings:
        say("nothing wrong", out=out)


def _table(report: Report, out: Console) -> Table:
    splits = report.splits
    table = new_table(out, *columns(["", *splits]))
    add_row(table, "images", *(str(split.images) for split in splits.values()))
    add_row(table, "sizes", *(_sizes(split) for split in splits.values()))
    rows = [*enumerate(report.classes), (VOID, "void")]
    for value, name in rows:
        shares = (_share(split, value) for split in splits.values())
        add_row(table, f"{value} {name}", *shares)
    return table


def _sizes(split: SplitReport) -> str:
    sizes = sorted(split.sizes, key=lambda size: size[0] * size[1])
    if len(sizes) <= 1:
        return "".join(f"{height}x{width}" for height, width in sizes)
    (low, left), (high, right) = sizes[0], sizes[-1]
    return f"{len(sizes)} sizes, {low}x{left} .. {high}x{right}"


def _share(split: SplitReport, value: int) -> str:
    """Share of the pixels, and how many images hold the class."""
    pixels = max(int(split.pixels.sum()), 1)
    return f"{split.pixels[value] / pixels:.2%} in {split.present[value]}"
