"""`resseg report`: pages and Markdown of runs."""

import argparse
from pathlib import Path

from resseg.errors import UserError, choose
from resseg.report.page.files import check_out, write

FORMATS = ("html", "md")
_NAME = "report"  # of the file, in the run folder
SWEEP = "sweep.json"  # a folder that holds it is that of a sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_command` reads."""
    parser.add_argument(
        "run", nargs="?", metavar="RUN|SWEEP", help="run folder, or sweep folder"
    )
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
        help="the file (default: report.html or .md in RUN or SWEEP; of runs compared: "
        "report-compare.html in the first)",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="of a sweep: what its variants are compared by (default: mean_iou)",
    )


def run_command(args: argparse.Namespace) -> int:
    """Writes the page and says where it is.

    Raises:
        UserError: a RUN is missing or no run; the file cannot be written there.
    """
    from resseg.runs import open_run

    choose("--format", args.format, FORMATS)
    runs: list[str] = list(args.compare)
    if args.run is not None:
        runs.insert(0, args.run)
    if not runs:
        raise UserError("report: RUN is missing, expected a run folder")
    if args.compare and len(runs) == 1:
        raise UserError(f"--compare {runs[0]}: expected two runs or more")
    if args.compare and args.format != "html":
        raise UserError(f"--format {args.format}: runs are compared in html only")
    if not args.compare and (Path(runs[0]) / SWEEP).is_file():
        return _write_sweep(args, Path(runs[0]))
    if args.metric is not None:
        raise UserError(f"--metric {args.metric}: {runs[0]} is no sweep folder")
    for run in runs:
        open_run(run)
    name = f"{_NAME}-compare" if args.compare else _NAME
    out = check_out(args.out, Path(runs[0]) / f"{name}.{args.format}")
    if args.compare:
        from resseg.report.run import compare

        write(out, compare.render(runs))
    elif args.format == "md":
        from resseg.report.run import markdown

        markdown.save(runs[0], out)
    else:
        from resseg.report.run import page

        write(out, page.render(page.read(runs[0])))
    print(f"wrote {out}")
    return 0


def _write_sweep(args: argparse.Namespace, folder: Path) -> int:
    from resseg.report.sweep import markdown, page
    from resseg.report.sweep.read import read

    out = check_out(args.out, folder / f"{_NAME}.{args.format}")
    told = read(folder, args.metric or "mean_iou")
    if args.format == "md":
        markdown.save(told, out)
    else:
        write(out, page.render(told))
    print(f"wrote {out}")
    return 0
