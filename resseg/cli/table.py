"""`resseg table`: what came out of a sweep."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from resseg.cli import outputs
from resseg.text import shown

if TYPE_CHECKING:
    from resseg.sweeps.table.table import Table

SUMMARY = "show what came out of a sweep, with intervals"
EPILOG = """\
examples:
  resseg table sweeps/shortcut_gradient
  resseg table sweeps/shortcut_gradient --by data.name,optim.name --metric train_loss
  resseg table sweeps/shortcut_gradient --baseline gradient.shortcut=0.5
  resseg table sweeps/shortcut_gradient --out answer.md
  resseg table sweeps/shortcut_gradient --csv results.csv   (every run, every metric)
  resseg table sweeps/shortcut_gradient --check   (exit status 1 unless claims hold)

One row per variant, the runs that differ in the seed alone: mean and 95 % interval over
seeds, then the mean difference to the baseline run of the same seed with its 95 %
interval; both are Student's. The CSV has the bootstrap's too, from 20 pairs on. Below
stand the runs that are not finished, what else differs between runs, and the claims of
the study. A sweep may still be going on.

metrics:
  mean_iou, mean_dice, mean_boundary_iou, mean_class_accuracy, pixel_accuracy
  train_loss             mean of the last 5 logged steps, of one batch each
  log10_first_over_last  of the gradient at the first block over that at the last
  shortcut_share         of the squared gradient, mean over blocks"""
FORMATS = ("terminal", "markdown", "csv", "latex")
_SUFFIXES = {".md": "markdown", ".csv": "csv", ".tex": "latex"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument("sweep", metavar="DIR", help="sweep folder")
    parser.add_argument(
        "--metric",
        default="mean_iou",
        metavar="NAME",
        help="what is compared (default: mean_iou)",
    )
    parser.add_argument(
        "--by",
        default="",
        metavar="KEY[,KEY]",
        help="group rows by swept keys; their endings will do, as in shortcut.kind",
    )
    parser.add_argument(
        "--baseline",
        metavar="KEY=VALUE,…",
        help="compare with these runs, not with those the study names",
    )
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="runs whose id or overrides match, as in '*kind=none*'",
    )
    parser.add_argument(
        "--format", metavar="F", help=f"{', '.join(FORMATS)} (default: terminal)"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write it there; .md, .csv, .tex name the format"
    )
    parser.add_argument(
        "--csv", metavar="FILE", help="write every run with all its metrics there"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit status 1 unless every claim of the study holds, no seed missing",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints or writes the table.

    Returns:
        0, or 1 under --check if a claim does not hold or lacks a seed.

    Raises:
        UserError: no sweep folder, an unknown metric, key, format or baseline; a file
            that cannot be written.
    """
    from resseg.errors import choose
    from resseg.sweeps.keys import parse_values
    from resseg.sweeps.plan import read_plan
    from resseg.sweeps.scores import METRICS
    from resseg.sweeps.table import formats
    from resseg.sweeps.table.table import load_table
    from resseg.sweeps.table.words import below

    out = None if arguments.out is None else Path(arguments.out)
    csv = None if arguments.csv is None else Path(arguments.csv)
    style = (
        arguments.format or (_SUFFIXES.get(out.suffix, "") if out else "") or "terminal"
    )
    choose("--format", style, FORMATS)
    outputs.check_files({"--out": out, "--csv": csv})
    sweep = read_plan(arguments.sweep)
    given = None
    if arguments.baseline is not None:
        given = parse_values("--baseline", arguments.baseline, sweep.swept)
    table = load_table(
        sweep,
        arguments.metric,
        also=METRICS if csv else (),
        baseline=given,
        by=[name.strip() for name in arguments.by.split(",") if name.strip()],
        only=arguments.only,
    )
    if out is None:
        _print(table, style)
    else:
        _write("--out", out, _text(table, style))
        print(shown("\n".join([*below(table), f"wrote {out}"])))
    if csv is not None:
        _write("--csv", csv, formats.runs_as_csv(table))
        # Standard output may be the table itself, as CSV or LaTeX.
        print(shown(f"wrote {csv}"), file=sys.stderr)
    return 1 if arguments.check and not table.passed else 0


def _print(table: "Table", style: str) -> None:
    from resseg.console import open_console
    from resseg.sweeps.table import formats

    if style == "terminal":
        formats.print_terminal(table, open_console())
        return
    sys.stdout.write(_text(table, style))
    if style == "csv":  # what a reader must know, beside a file for programs
        from resseg.sweeps.table.words import below

        print(shown("\n".join(below(table))), file=sys.stderr)


def _write(option: str, file: Path, content: str) -> None:
    from resseg import text
    from resseg.errors import UserError

    try:
        text.write(file, content)
    except OSError as error:
        words = f"{option} {file} cannot be written: {error.strerror}"
        raise UserError(words) from None


def _text(table: "Table", style: str) -> str:
    from resseg.sweeps.table import formats

    write = {
        "terminal": formats.as_terminal,
        "markdown": formats.as_markdown,
        "csv": formats.as_csv,
        "latex": formats.as_latex,
    }[style]
    return write(table)
