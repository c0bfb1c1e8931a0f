"""`resseg report`: pages and Markdown of runs."""

import argparse
from pathlib import Path

from resseg.errors import UserError, choose

SUMMARY = "write a page that shows a run, a few side by side, or a sweep"
EPILOG = """\
examples:
  resseg report runs/quickstart
  resseg report runs/quickstart --out page.html
  resseg report runs/quickstart --format md
  resseg report --compare runs/quickstart runs/half-gradient
  resseg report sweeps/shortcuts
  resseg report sweeps/shortcuts --metric train_loss --format md

RUN/report.html is one file that needs no server and no network: what stands out first,
then the gradient flow with every fork to click on, curves, classes, predictions, probes
(`resseg probe` beforehand), the config and what differs from the base config. Of a run
that is still being written it shows what there is; write it again later. --format md
writes RUN/report.md and its figures into RUN/report.

SWEEP/report.html has the question, the claims, what `resseg table` says, the difference
of every seed to its baseline, curves, gradients of every variant, what a numeric key
does, costs, and every run that is missing. A run in it that has a report.html of its
own is a link."""
FORMATS = ("html", "md")
_NAME = "report"  # of the file, in the run folder
SWEEP = "sweep.json"  # a folder that holds it is that of a sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
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


def run(arguments: argparse.Namespace) -> int:
    """Writes the page and says where it is.

    Raises:
        UserError: a RUN is missing or no run; the file cannot be written there.
    """
    from resseg.report.page.files import check_out, write
    from resseg.runs import open_run

    choose("--format", arguments.format, FORMATS)
    runs: list[str] = list(arguments.compare)
    if arguments.run is not None:
        runs.insert(0, arguments.run)
    if not runs:
        raise UserError("report: RUN is missing, expected a run folder")
    if arguments.compare and len(runs) == 1:
        raise UserError(f"--compare {runs[0]}: expected two runs or more")
    if arguments.compare and arguments.format != "html":
        raise UserError(f"--format {arguments.format}: runs are compared in html only")
    if not arguments.compare and (Path(runs[0]) / SWEEP).is_file():
        return _write_sweep(arguments, Path(runs[0]))
    if arguments.metric is not None:
        raise UserError(f"--metric {arguments.metric}: {runs[0]} is no sweep folder")
    for run in runs:
        open_run(run)
    name = f"{_NAME}-compare" if arguments.compare else _NAME
    out = check_out(arguments.out, Path(runs[0]) / f"{name}.{arguments.format}")
    if arguments.compare:
        from resseg.report.run import compare

        write(out, compare.render(runs))
    elif arguments.format == "md":
        from resseg.report.run import markdown

        markdown.save(runs[0], out)
    else:
        from resseg.report.run import page

        write(out, page.render(page.read(runs[0])))
    print(f"wrote {out}")
    return 0


def _write_sweep(arguments: argparse.Namespace, folder: Path) -> int:
    from resseg.report.page.files import check_out, write
    from resseg.report.sweep import markdown, page
    from resseg.report.sweep.read import read

    out = check_out(arguments.out, folder / f"{_NAME}.{arguments.format}")
    told = read(folder, arguments.metric or "mean_iou")
    if arguments.format == "md":
        markdown.save(told, out)
    else:
        write(out, page.render(told))
    print(f"wrote {out}")
    return 0
