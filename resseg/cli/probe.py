"""`resseg probe`: one measurement of a run, or of a network as it starts."""

import argparse
from pathlib import Path

from resseg.cli import options
from resseg.errors import UserError, choose

SUMMARY = "measure a run, or a network as it starts, on demand"
SUMMARIES = {
    "signal": "mean and variance of shortcut and branch at every join (M5, M6)",
    "profile": "gradient of every path at every fork, --by pixel (M1, M2, M7, M22)",
    "paths": "lengths of the paths that the gradient came by (M8, M9)",
    "jacobian": "singular values of blocks, stages and network (M12)",
    "hessian": "curvature: largest eigenvalues and trace (M16)",
    "landscape": "the loss on a filter-normalised plane (M15)",
    "shattering": "correlation of input gradients between images (M10)",
    "noise-scale": "gradient noise scale per block (M13, M11)",
    "lesion": "mIoU and loss without the branch of a block, of several (M14)",
    "reorder": "mIoU and loss with equal blocks of a stage exchanged (M14)",
    "receptive-field": "effective receptive field of stages and logits (M17)",
    "rank": "effective rank of features, dead units (M18, M19)",
    "underflow": "what half precision would lose of the gradient (M23)",
}
EPILOG = """\
measurements:
""" + "".join(f"  {name:<16} {text}\n" for name, text in SUMMARIES.items())
EPILOG += """
examples:
  resseg probe runs/quickstart --what signal
  resseg probe runs/quickstart --what profile,jacobian --step 300 --batches 4
  resseg probe --at-init --config quickstart --out probes/plain \\
      --what signal --config.model.shortcut.kind=none

Each writes a table, DIR/NAME.parquet, and a figure, DIR/NAME.png."""

_MOST = 100_000  # of anything that is averaged over, drawn or gone through
_ENDINGS = (".parquet", ".png")  # of what a probe writes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder")
    parser.add_argument(
        "--what", metavar="NAME[,NAME]", help="measurements, by name: see below"
    )
    parser.add_argument("--step", type=int, metavar="N", help="checkpoint of that step")
    parser.add_argument(
        "--at-init", action="store_true", help="the network as it starts, of --config"
    )
    parser.add_argument("--config", metavar="FILE", help="with --at-init")
    parser.add_argument(
        "--out", metavar="DIR", help="folder for table and figure (default RUN/probes)"
    )
    numbers = {
        "batches": (2, "training batches to average over"),
        "samples": (8, "random vectors, orders, pairs or directions to draw"),
        "iterations": (20, "of power iteration or Lanczos"),
        "longest": (16, "paths: branches up to which paths are told apart"),
        "grid": (5, "landscape: points to each side of the weights"),
        "seed": (0, "of what is drawn"),
    }
    for name, (default, meaning) in numbers.items():
        parser.add_argument(
            f"--{name}",
            type=int,
            default=default,
            metavar="N",
            help=f"{meaning} (default: {default})",
        )
    parser.add_argument(
        "--images",
        type=int,
        default=0,
        metavar="N",
        help="lesion, reorder: score N images of the evaluation split (default: all)",
    )
    parser.add_argument(
        "--reestimate",
        action="store_true",
        help="lesion, reorder: re-estimate batch-norm statistics after each change",
    )
    parser.add_argument(
        "--by",
        default="",
        metavar="class|boundary",
        help="profile: take the loss apart by class, or by boundary and interior",
    )
    options.add_overrides(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures, writes table and figure, prints a short table.

    Raises:
        UserError: wrong input; before anything is computed.
    """
    names = _names(arguments)
    folder = _folder(arguments)
    for file in (folder / f"{name}{end}" for name in names for end in _ENDINGS):
        if file.is_dir():
            raise UserError(f"{file}: it is a folder, where a file is to go")
    from resseg.probes import registry, subject
    from resseg.probes.probe import Options
    from resseg.runs.places import make_folder

    if arguments.out:
        make_folder("--out", folder)

    if arguments.at_init:
        config = options.load(arguments.config, arguments.overrides)
        asked = subject.at_init(Path(arguments.config).stem, config)
    else:
        asked = subject.of_run(arguments.run, arguments.step)
    how = Options(
        arguments.batches,
        arguments.samples,
        arguments.iterations,
        arguments.seed,
        arguments.reestimate,
        arguments.by,
        arguments.images,
        arguments.longest,
        arguments.grid,
    )
    for name in names:
        registry.check(registry.PROBES[name], name, asked)
    for name in names:
        registry.run(name, asked, how, folder)
    return 0


def _names(arguments: argparse.Namespace) -> list[str]:
    if not arguments.what:
        listed = ", ".join(SUMMARIES)
        raise UserError(f"--what is missing, expected some of {listed}")
    names = [name.strip() for name in arguments.what.split(",") if name.strip()]
    for name in names:
        choose("--what", name, SUMMARIES)
    for name in ("batches", "samples", "iterations", "longest", "grid"):
        value = getattr(arguments, name)
        if not 1 <= value <= _MOST:
            raise UserError(f"--{name}={value}: expected 1 to {_MOST:,}")
    for name in ("seed", "images"):
        value = getattr(arguments, name)
        if value < 0:
            raise UserError(f"--{name}={value}: expected 0 or more")
    if arguments.by:
        choose("--by", arguments.by, ["class", "boundary"])
    return names


def _folder(arguments: argparse.Namespace) -> Path:
    if arguments.at_init:
        if arguments.run or not arguments.config or not arguments.out:
            raise UserError("--at-init takes --config FILE and --out DIR, and no RUN")
        return Path(arguments.out)
    if arguments.config:
        raise UserError("--config goes with --at-init; a RUN has its own")
    if arguments.overrides:
        raise UserError("config keys can be set with --at-init only")
    if not arguments.run:
        raise UserError("probe: RUN is missing, expected a run folder")
    from resseg.runs import layout

    return Path(arguments.out) if arguments.out else Path(arguments.run) / layout.PROBES
