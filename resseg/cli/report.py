"""`resseg report`: pages and Markdown of runs, written once, kept new, or served."""

import argparse
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from resseg.cli import interrupts, outputs
from resseg.errors import UserError, choose
from resseg.text import shown

SUMMARY = "write a page that shows a run, a few side by side, or a sweep"
EPILOG = """\
examples:
  resseg report runs/quickstart
  resseg report runs/quickstart --out page.html
  resseg report runs/quickstart --format md
  resseg report --compare runs/quickstart runs/half-gradient
  resseg report sweeps/shortcuts
  resseg report sweeps/shortcuts --metric train_loss --format md
  resseg report runs/quickstart --watch   (write it again when the run has written)
  resseg report sweeps/shortcuts --watch --serve 8710
  resseg report runs --watch --serve 8710   (a list, with a page for each)

RUN/report.html is one file that needs no server and no network: what stands out first,
then the gradient flow with every fork to click on, curves, classes, predictions, probes
(`resseg probe` beforehand), the config and what differs from the base config. Of a run
that is still being written it shows what there is. --format md writes RUN/report.md and
its figures into RUN/report.

SWEEP/report.html has the question, the claims, what `resseg table` says, the difference
of every seed to its baseline, curves, gradients of every variant, what a numeric key
does, costs, and every run that is missing. A run in it that has a report.html of its
own is a link.

--serve prints an address to open. The page there loads itself again once there is a
newer one; what is chosen on it stays. Only this machine can see it; from another it is
seen through ssh -L 8710:127.0.0.1:8710 HOST. Nothing is written, and nothing but the
pages is served."""
FORMATS = ("html", "md")
_NAME = "report"  # of the file, in the run folder
_METRIC = "mean_iou"


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
        help=f"of a sweep: what its variants are compared by (default: {_METRIC})",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="make the page again when a run has written something, until Ctrl-C",
    )
    parser.add_argument(
        "--serve",
        type=int,
        metavar="PORT",
        help="with --watch: show it in a browser of this machine, and write no file; "
        "0 = any port that is free",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the page and says where it is; with --watch, until Ctrl-C.

    Raises:
        UserError: a RUN is missing or no run; the file cannot be written there; the
            port cannot be had.
    """
    from resseg.report.page.files import write
    from resseg.runs import open_run
    from resseg.sweeps import plan

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
    if arguments.watch or arguments.serve is not None:
        return _watch(arguments)
    if not arguments.compare and (Path(runs[0]) / plan.FILE).is_file():
        return _write_sweep(arguments, Path(runs[0]))
    _refuse_metric(arguments)
    for run in runs:
        open_run(run)
    name = f"{_NAME}-compare" if arguments.compare else _NAME
    out = outputs.check_file(
        "--out", arguments.out or Path(runs[0]) / f"{name}.{arguments.format}"
    )
    if arguments.compare:
        from resseg.report.run import compare

        write(out, compare.render(runs))
    elif arguments.format == "md":
        from resseg.report.run import markdown

        markdown.save(runs[0], out)
    else:
        from resseg.report.run import page

        write(out, page.render(page.read(runs[0])))
    print(shown(f"wrote {out}"))
    return 0


def _refuse_metric(arguments: argparse.Namespace) -> None:
    if arguments.metric is not None:
        folder = arguments.run or arguments.compare[0]
        raise UserError(f"--metric {arguments.metric}: {folder} is no sweep folder")


def _write_sweep(arguments: argparse.Namespace, folder: Path) -> int:
    from resseg.report.page.files import write
    from resseg.report.sweep import markdown, page
    from resseg.report.sweep.read import read

    out = outputs.check_file(
        "--out", arguments.out or folder / f"{_NAME}.{arguments.format}"
    )
    sweep = read(folder, arguments.metric or _METRIC)
    if arguments.format == "md":
        markdown.save(sweep, out)
    else:
        write(out, page.render(sweep))
    print(shown(f"wrote {out}"))
    return 0


def _watch(arguments: argparse.Namespace) -> int:
    from resseg.report.pages import INDEX, SWEEP, scan
    from resseg.report.watch import follow

    if not arguments.watch:
        raise UserError(f"--serve {arguments.serve}: goes with --watch")
    if arguments.compare or arguments.format != "html":
        raise UserError("--watch: expected one RUN or SWEEP, in html")
    if arguments.serve is not None:
        return _serve(arguments)
    folder = Path(arguments.run)
    place = scan(folder)["/"]
    if place.kind == INDEX:
        raise UserError(
            f"{folder}: expected a run or a sweep; to see all in it, add --serve 8710"
        )
    if place.kind != SWEEP:
        _refuse_metric(arguments)
    out = outputs.check_file("--out", arguments.out or folder / f"{_NAME}.html")
    with _until_stopped():
        for line in follow(place, out, arguments.metric or _METRIC):
            print(line, flush=True)
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from resseg.report.serve import Server
    from resseg.report.watch import Pages

    for option in ("out", "metric"):
        if getattr(arguments, option) is not None:
            raise UserError(f"--{option}: not with --serve, which writes no page")
    port = arguments.serve
    if not 0 <= port <= 65535:
        raise UserError(f"--serve {port}: expected 0 to 65535")
    pages = Pages(Path(arguments.run))
    try:
        server = Server(port, pages)
    except OSError as error:
        why = f"{error.strerror} (0 = any port that is free)"
        raise UserError(f"--serve {port}: {why}") from None
    url = f"http://127.0.0.1:{server.server_port}/"
    print(shown(f"{arguments.run} at {url} (Ctrl-C ends it)"), flush=True)
    with server, _until_stopped():
        server.serve_forever(poll_interval=0.2)
    return 0


@contextlib.contextmanager
def _until_stopped() -> Iterator[None]:
    """Ctrl-C and SIGTERM end what stands below it; that is no error."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except KeyboardInterrupt:
        interrupts.ends_in_order()
        print()


def _stop(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
