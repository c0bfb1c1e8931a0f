"""`resseg inspect`: the gradient log of a run, in the terminal and as a picture."""

import argparse
from pathlib import Path
from typing import Any


def add_inspect_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_inspect` reads."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder")
    parser.add_argument("--path", help="this path alone, such as shortcut or skip")
    parser.add_argument(
        "--last",
        type=int,
        default=50,
        metavar="N",
        help="average the tables over the last N logged steps (default: 50)",
    )
    parser.add_argument(
        "--columns", action="store_true", help="say what the columns mean, and stop"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the picture (default: RUN/gradients.png, or gradients-PATH.png)",
    )


def run_inspect(args: argparse.Namespace) -> int:
    """Prints the tables, writes the heat map, says where it is.

    Raises:
        UserError: RUN is missing, no run, or has no gradient rows; `--path` is in no
            row; `--last` or `--out` cannot be used.
    """
    import numpy as np

    from resseg.errors import UserError, choose
    from resseg.report.profile import (
        USED,
        column,
        first_to_last,
        first_trouble,
        last_steps,
        summarise,
        where,
    )
    from resseg.report.terminal import Printer
    from resseg.runs import layout
    from resseg.runs.gradients_table import BLOCK_COLUMNS, COLUMNS
    from resseg.runs.reader import open_run

    printer = Printer()
    if args.columns:
        printer.columns(COLUMNS, f"{layout.GRADIENTS}/")
        printer.columns(BLOCK_COLUMNS, f"{layout.BLOCKS}/")
        return 0
    if args.run is None:
        raise UserError("inspect: RUN is missing, expected a run folder")
    if args.last < 1:
        raise UserError(f"--last={args.last}: expected a number of steps, 1 or more")
    run = open_run(args.run)
    gradients = run.read_gradients(USED)
    if gradients.empty:
        config: Any = run.config
        if config.log.gradients.every:
            raise UserError(
                f"{run.path} holds no gradient rows yet: they are written with each "
                "checkpoint and when training ends"
            )
        raise UserError(
            f"{run.path} holds no gradient rows: train with log.gradients.every > 0"
        )
    if args.path is not None:
        paths = column(gradients, "path")
        choose("--path", args.path, dict.fromkeys(paths))
        gradients = where(gradients, paths == args.path)
    whole = run.path / layout.HEATMAP
    # That of one path alone must not replace the whole picture.
    usual = whole if args.path is None else whole.with_stem(f"gradients-{args.path}")
    picture = _picture(usual if args.out is None else args.out)

    recent = last_steps(gradients, args.last)
    summary = summarise(recent)
    steps = np.unique(column(recent, "step"))
    printer.say(
        f"{run.path}: gradient at each fork, means over the last {len(steps)} logged "
        f"steps ({steps[0]} to {steps[-1]})"
    )
    printer.forks(summary)
    if args.path is None and not run.blocks.empty:
        printer.blocks(last_steps(run.blocks, args.last))
    for sentence in (first_to_last(summary), first_trouble(gradients)):
        if sentence is not None:
            printer.say(sentence)

    from resseg.report.gradient_heatmap import save_heatmap

    save_heatmap(gradients, picture, title=f"Gradient flow in {run.path}")
    printer.say(f"wrote {picture}")
    return 0


def _picture(out: str | Path) -> Path:
    """The picture file, checked before anything is computed for it."""
    from resseg.errors import UserError, choose

    path = Path(out)
    choose("--out: file type", path.suffix, [".png", ".pdf", ".svg"])
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}")
    return path
