"""`resseg report`: pages and Markdown of runs."""

import argparse
import os
from pathlib import Path

from resseg.errors import UserError, choose

FORMATS = ("html", "md")
_NAME = "report"  # of the file, in the run folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_command` reads."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder")
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="RUN",
        help="a few runs in one page; others are compared with the first",
    )
    parser.add_argument(
        "--format",
        default="html",
        metavar="F",
        help="html, or md: Markdown with figures as PNG (default: html)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the file (default: RUN/report.html or .md; of runs compared: "
        "report-compare.html in the first)",
    )


def run_command(args: argparse.Namespace) -> int:
    """Writes the page and says where it is.

    Raises:
        UserError: a RUN is missing or no run; the file cannot be written there.
    """
    from resseg.runs import open_run

    choose("--format", args.format, FORMATS)
    if args.compare and args.run is not None:
        args.compare.insert(0, args.run)
    if not (args.compare or args.run):
        raise UserError("report: RUN is missing, expected a run folder")
    if len(args.compare) == 1:
        raise UserError(f"--compare {args.compare[0]}: expected two runs or more")
    if args.compare and args.format != "html":
        raise UserError(f"--format {args.format}: runs are compared in html only")
    runs = args.compare or [args.run]
    for run in runs:
        open_run(run)
    name = f"{_NAME}-compare" if args.compare else _NAME
    out = check_out(args.out, Path(runs[0]) / f"{name}.{args.format}")
    if args.compare:
        from resseg.report.page import compare_page

        write(out, compare_page.render(args.compare))
    elif args.format == "md":
        from resseg.report.page import markdown

        markdown.save(args.run, out)
    else:
        from resseg.report.page import run_page

        write(out, run_page.render(run_page.read(args.run)))
    print(f"wrote {out}")
    return 0


def check_out(given: str | None, default: Path) -> Path:
    """The file to write, checked before anything is computed for it.

    Raises:
        UserError: it is a folder, or its folder is missing or cannot be written to.
    """
    path = default if given is None else Path(given)
    if path.is_dir():
        raise UserError(f"--out {path}: it is a folder, expected a file")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"--out {path}: cannot write to {path.parent}")
    return path


def write(path: Path, text: str) -> None:
    """The file, whole or not at all: somebody may be looking at it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
