"""`resseg runs`: the runs in a folder."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resseg.sweeps.listing import Listed

SUMMARY = "list the runs in a folder"
EPILOG = """\
examples:
  resseg runs sweeps/shortcut_gradient
  resseg runs runs
  resseg runs runs --json

Of a sweep it shows what each run overrides, of any other folder in what each run
differs from the first. stopped = nobody trains it, and it has not reached its last
step; broken off = its process was killed; age = since it last wrote anything; time =
since its beginning, and what took most of it (--json has all: start, compile, data,
step, wait, log, save, evaluate, offline)."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument(
        "folder", metavar="DIR", help="sweep folder, or any folder of run folders"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prints one line per run.

    Raises:
        UserError: the folder holds none.
    """
    from resseg.sweeps.listing import list_runs

    listed = list_runs(arguments.folder)
    if arguments.json:
        import json

        from resseg.config.keys import plain

        print(json.dumps([plain(run._asdict()) for run in listed], indent=2))
        return 0
    _print(listed)
    return 0


def _print(listed: "list[Listed]") -> None:
    from resseg.console import (
        add_row,
        clean,
        columns,
        folded,
        new_table,
        open_console,
        show,
    )
    from resseg.sweeps.listing import described

    out = open_console()
    headers = ("id", "status", "step", "best mIoU", "at step", "age", "time")
    table = new_table(out, *columns(headers, words=2), folded("what"))
    for run in listed:
        cells = (
            run.id,
            run.status,
            "-" if run.step is None else f"{run.step}/{run.steps}",
            "-" if run.best is None else f"{run.best:.4f}",
            "-" if run.best_step is None else str(run.best_step),
            age(run.age),
            _time(run),
            described(run),
        )
        add_row(table, *map(clean, cells))
    show(table, out)


def _time(run: "Listed") -> str:
    """How long it took, and what took most of that."""
    if run.seconds is None or not run.spent:
        return "-"
    most, seconds = max(run.spent.items(), key=lambda each: each[1])
    return f"{age(run.seconds)}, {most} {seconds / max(run.seconds, 1e-9):.0%}"


def age(seconds: float | None) -> str:
    """In its largest unit, rounded down: 7300 -> "2 h"."""
    if seconds is None:
        return "-"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"
