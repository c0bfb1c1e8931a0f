"""`resseg inspect`: gradient logs of runs, in the terminal and as pictures."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resseg.gradient_log.selection import Selected
    from resseg.gradient_log.terminal import Printer
    from resseg.gradient_log.timeline import Timeline

_PICTURES = (".png", ".pdf", ".svg")


def add_inspect_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_inspect` reads."""
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


def run_inspect(args: argparse.Namespace) -> int:
    """Prints the tables, writes the pictures, says where they are.

    Raises:
        UserError: a RUN is missing, no run, or has no gradient rows; an option names
            what is not there; the runs cannot be compared.
    """
    from resseg.gradient_log.terminal import Printer
    from resseg.runs import layout
    from resseg.runs.gradients_table import BLOCK_COLUMNS, COLUMNS

    printer = Printer()
    if args.columns:
        printer.columns(COLUMNS, f"{layout.GRADIENTS}/")
        printer.columns(BLOCK_COLUMNS, f"{layout.BLOCKS}/")
        return 0
    selected = _select(args)
    picture = _picture(args, selected[0].run.path)
    if len(selected) > 1 and not args.normalized:
        from resseg.gradient_log.comparison import check_comparable

        check_comparable(selected)

    from resseg.gradient_log import structured

    if args.csv is not None:
        structured.write_csv(selected, args.csv)
    if args.json is not None:
        structured.write_json(selected, args.json)
    if structured.STDOUT in (args.csv, args.json):
        return 0
    if len(selected) == 1:
        _show_one(printer, selected[0], picture, args)
    else:
        _show_many(printer, selected, picture, args)
    for file in filter(None, (args.csv, args.json)):
        printer.say(f"wrote {file}")
    return 0


def _select(args: argparse.Namespace) -> "list[Selected]":
    from resseg.errors import UserError
    from resseg.gradient_log.selection import Wanted, select
    from resseg.gradient_log.summary import USED

    if not args.run:
        raise UserError("inspect: RUN is missing, expected a run folder")
    if args.last < 1:
        raise UserError(f"--last={args.last}: expected a number of steps, 1 or more")
    for option in ("csv", "json"):
        file = getattr(args, option)
        if file not in (None, "-") and not Path(file).parent.is_dir():
            raise UserError(
                f"--{option} {file}: there is no folder {Path(file).parent}"
            )
    if args.csv == args.json == "-":
        raise UserError("--csv - --json -: expected one of them on standard output")
    # A log may be long: the CSV alone needs all of its columns.
    columns = None if args.csv else [*USED, "loss_scale"]
    wanted = Wanted(args.fork, args.path, args.steps, args.last)
    return [select(path, wanted, columns) for path in args.run]


def _picture(args: argparse.Namespace, run: Path) -> Path:
    """The picture file, checked before anything is computed for it."""
    from resseg.errors import UserError, choose
    from resseg.runs import layout

    whole = run / layout.HEATMAP
    if args.out is not None:
        path = Path(args.out)
    elif len(args.run) > 1:
        path = whole.with_stem(f"{whole.stem}-compare")
    else:
        # That of a part must not replace the whole picture.
        part = [args.fork, args.path, args.steps]
        words = ["".join(c if c.isalnum() else "_" for c in word) for word in part]
        path = whole.with_stem("-".join([whole.stem, *filter(None, words)]))
    choose("--out: file type", path.suffix, list(_PICTURES))
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}")
    return path


def _show_one(
    printer: "Printer", selected: "Selected", picture: Path, args: argparse.Namespace
) -> None:
    import numpy as np

    from resseg.gradient_log import curves
    from resseg.gradient_log.heatmap import save_heatmap
    from resseg.gradient_log.summary import (
        column,
        first_to_last,
        first_trouble,
        summarise,
        where,
    )
    from resseg.gradient_log.timeline import share_by_stage, timelines

    run, rows = selected.run, selected.rows
    lines = timelines(rows)
    summary = summarise(selected.recent)
    printer.say(f"{run.path}: gradient at each fork, {_means(selected)}")
    printer.forks(summary, {line.name: line for line in lines})
    shares = share_by_stage(lines)
    if shares and not args.path:
        printer.stages(shares)
    if not (args.path or args.fork) and not run.blocks.empty:
        among = np.isin(column(run.blocks, "step"), column(selected.recent, "step"))
        printer.blocks(where(run.blocks, among))
    recent = timelines(selected.recent)
    sentences = [first_to_last(summary), _slope(recent), *_events(lines)]
    for sentence in (*sentences, first_trouble(rows)):
        if sentence is not None:
            printer.say(sentence)
    title = f"Gradient flow in {run.path}"
    save_heatmap(rows, picture, title=title)
    files = [picture]
    if not args.path:
        files += [_beside(picture, word) for word in ("share", "profile")]
        curves.save_shares(lines, files[1], f"Shares over training, {run.path}")
        about = f"Profile over depth, {run.path}"
        curves.save_profiles(lines, files[2], about, selected.listed)
    for file in files:
        printer.say(f"wrote {file}")


def _show_many(
    printer: "Printer",
    selected: "Sequence[Selected]",
    picture: Path,
    args: argparse.Namespace,
) -> None:
    from resseg.gradient_log import comparison, curves
    from resseg.gradient_log.timeline import timelines

    normalized = args.normalized
    labels = comparison.labels(selected)
    printer.say(f"gradient at each fork, run against run, {_means(selected[0])}")
    table = comparison.side_by_side(selected, normalized=normalized)
    table = comparison.ratios(table, len(selected))
    printer.comparison(table, labels, normalized)
    for key, values in comparison.changed_keys(selected).items():
        told = " | ".join(repr(value) for value in values)
        printer.say(f"differs: {key} = {told}")
    for label, each in zip(labels, selected, strict=True):
        sentences = [_slope(timelines(each.recent)), *_events(timelines(each.rows))]
        for sentence in filter(None, sentences):
            printer.say(f"{label}: {sentence}")
    curves.save_comparison(
        [
            (label, timelines(each.recent))
            for label, each in zip(labels, selected, strict=True)
        ],
        picture,
        "Gradient over depth, run against run",
        normalized=normalized,
    )
    printer.say(f"wrote {picture}")


def _means(selected: "Selected") -> str:
    import numpy as np

    steps = np.unique(np.asarray(selected.recent["step"]))
    what = f"{len(steps)} logged steps ({steps[0]} to {steps[-1]})"
    return f"means over {what}" if len(steps) > 1 else f"step {steps[0]}"


def _slope(lines: "Sequence[Timeline]") -> str | None:
    import math

    from resseg.gradient_log.timeline import slope_per_block

    slope = slope_per_block(lines)
    if math.isnan(slope):
        return None
    return (
        f"Profile: the site norm changes x{10**slope:.3g} per block "
        f"(least squares, log10 {slope:+.3f})."
    )


def _events(lines: "Sequence[Timeline]") -> list[str]:
    from resseg.gradient_log.timeline import first_events

    # What is not finite is told with its path, by `first_trouble`.
    return [str(e) for e in first_events(lines) if e.what != "is not finite"]


def _beside(picture: Path, word: str) -> Path:
    return picture.with_stem(f"{picture.stem}-{word}")
