"""`resseg inspect`: gradient logs of runs, in the terminal and as pictures."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from resseg.cli import outputs
from resseg.errors import UserError, choose

if TYPE_CHECKING:
    from resseg.gradient_log.selection import Selected, Wanted

SUMMARY = "show the gradient flow of a run"
EPILOG = """\
examples:
  resseg inspect runs/quickstart
  resseg inspect runs/quickstart --steps 1,50,300   (profiles at these steps)
  resseg inspect runs/quickstart --fork stage1 --steps 100: --csv rows.csv
  resseg inspect runs/quickstart runs/half-gradient   (run against run)
  resseg inspect --columns   (what each column means)

Little lines show how a norm (log scale of its own, a decade at least) or a share (0 to
1) went over the steps: x = not finite, _ = exactly 0, ? = not defined. A block vanishes
or explodes where its norm is a thousandth or a thousand times that of the last block.
Runs whose norms mean different things (resolution, batch, loss, clipping) are compared
with --normalized only."""
_PICTURES = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument("run", nargs="*", metavar="RUN", help="run folders")
    parser.add_argument(
        "--fork",
        default="",
        metavar="NAME",
        help="these forks alone, as stage1 or '*/block1'",
    )
    parser.add_argument(
        "--path", default="", help="this path alone, such as shortcut or skip"
    )
    parser.add_argument(
        "--steps",
        default="",
        metavar="WHICH",
        help="steps 100:200, 100: or :50; or 1,50,300, whose profiles are drawn",
    )
    parser.add_argument(
        "--last",
        type=int,
        default=50,
        metavar="N",
        help="means are over the last N logged steps (default: 50)",
    )
    parser.add_argument(
        "--normalized",
        action="store_true",
        help="compare runs of other resolution, loss or clipping: each norm over that "
        "of the run's last block",
    )
    parser.add_argument(
        "--csv", metavar="FILE", help="write the log's rows that means are taken over"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write what the tables say; - = to standard out"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the picture (default: RUN/gradients.png, or gradients-PATH.png; of runs "
        "compared: gradients-compare.png in the first); others get its name and a word",
    )
    parser.add_argument(
        "--columns", action="store_true", help="say what the columns mean, and stop"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables, writes the pictures, says where they are.

    Raises:
        UserError: a RUN is missing, no run, or has no gradient rows; an option names
            what is not there; the runs cannot be compared.
    """
    from resseg.gradient_log import show
    from resseg.gradient_log.terminal import LogPrinter
    from resseg.runs import layout
    from resseg.runs.gradients_table import BLOCK_COLUMNS, COLUMNS

    printer = LogPrinter()
    if arguments.columns:
        printer.columns(COLUMNS, f"{layout.GRADIENTS}/")
        printer.columns(BLOCK_COLUMNS, f"{layout.BLOCKS}/")
        return 0
    wanted, selected = _select(arguments)
    picture = _picture(arguments, selected[0].run.path)
    if len(selected) > 1 and not arguments.normalized:
        from resseg.gradient_log.comparison import check_comparable

        check_comparable(selected)

    from resseg.gradient_log import structured

    if arguments.csv is not None:
        structured.write_csv(selected, arguments.csv)
    if arguments.json is not None:
        structured.write_json(selected, arguments.json)
    if structured.STDOUT in (arguments.csv, arguments.json):
        return 0
    if len(selected) == 1:
        show.show_one(printer, selected[0], picture, wanted)
    else:
        show.show_many(printer, selected, picture, arguments.normalized)
    for file in filter(None, (arguments.csv, arguments.json)):
        printer.say(f"wrote {file}")
    return 0


def _select(arguments: argparse.Namespace) -> "tuple[Wanted, list[Selected]]":
    from resseg.gradient_log.selection import Wanted, select
    from resseg.gradient_log.summary import USED

    if not arguments.run:
        raise UserError("inspect: RUN is missing, expected a run folder")
    if arguments.last < 1:
        raise UserError(
            f"--last={arguments.last}: expected a number of steps, 1 or more"
        )
    named = {f"--{name}": getattr(arguments, name) for name in ("csv", "json", "out")}
    outputs.check_files(
        {option: named[option] for option in named if named[option] != "-"}
    )
    if arguments.csv == arguments.json == "-":
        raise UserError("--csv - --json -: expected one of them on standard output")
    # A log may be long: the CSV alone needs all of its columns.
    columns = None if arguments.csv else list(USED)
    wanted = Wanted(arguments.fork, arguments.path, arguments.steps, arguments.last)
    return wanted, [select(path, wanted, columns) for path in arguments.run]


def _picture(arguments: argparse.Namespace, run: Path) -> Path:
    """The picture file, checked before anything is computed for it."""
    from resseg.runs import layout

    whole = run / layout.HEATMAP
    if arguments.out is not None:
        path = Path(arguments.out)
    elif len(arguments.run) > 1:
        path = whole.with_stem(f"{whole.stem}-compare")
    else:
        # That of a part must not replace the whole picture.
        part = [arguments.fork, arguments.path, arguments.steps]
        words = ["".join(c if c.isalnum() else "_" for c in word) for word in part]
        path = whole.with_stem("-".join([whole.stem, *filter(None, words)]))
    choose("--out: file type", path.suffix, list(_PICTURES))
    return outputs.check_file("--out", path)
