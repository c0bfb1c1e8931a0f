"""`resseg probe`: one measurement of a run, or of a network as it starts."""

import argparse
from pathlib import Path

from resseg.errors import UserError, choose

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


def add_probe_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_probe` reads."""
    listed = "".join(f"  {name:<16} {text}\n" for name, text in SUMMARIES.items())
    parser.epilog = f"measurements:\n{listed}\n{parser.epilog or ''}"
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


def run_probe(args: argparse.Namespace) -> int:
    """Measures, writes table and figure, prints a short table.

    Raises:
        UserError: wrong input; before anything is computed.
    """
    names = _names(args)
    folder = _folder(args)
    from resseg.config.load import load_config, parse
    from resseg.probes import registry, subject
    from resseg.probes.probe import Options

    if args.at_init:
        overrides = {key: parse(key, text) for key, text in args.overrides}
        config = load_config(args.config, overrides)
        asked = subject.at_init(Path(args.config).stem, config)
    else:
        asked = subject.of_run(args.run, args.step)
    options = Options(
        args.batches,
        args.samples,
        args.iterations,
        args.seed,
        args.reestimate,
        args.by,
        args.images,
        args.longest,
        args.grid,
    )
    for name in names:
        registry.check(registry.PROBES[name], name, asked)
    for name in names:
        registry.run(name, asked, options, folder)
    return 0


def _names(args: argparse.Namespace) -> list[str]:
    if not args.what:
        listed = ", ".join(SUMMARIES)
        raise UserError(f"--what is missing, expected some of {listed}")
    names = [name.strip() for name in args.what.split(",") if name.strip()]
    for name in names:
        choose("--what", name, SUMMARIES)
    for name in ("batches", "samples", "iterations", "longest", "grid"):
        value = getattr(args, name)
        if value < 1:
            raise UserError(f"--{name}={value}: expected 1 or more")
    for name in ("seed", "images"):
        value = getattr(args, name)
        if value < 0:
            raise UserError(f"--{name}={value}: expected 0 or more")
    if args.by:
        choose("--by", args.by, ["class", "boundary"])
    return names


def _folder(args: argparse.Namespace) -> Path:
    if args.at_init:
        if args.run or not args.config or not args.out:
            raise UserError("--at-init takes --config FILE and --out DIR, and no RUN")
        return Path(args.out)
    if args.config:
        raise UserError("--config goes with --at-init; a RUN has its own")
    if args.overrides:
        raise UserError("config keys can be set with --at-init only")
    if not args.run:
        raise UserError("probe: RUN is missing, expected a run folder")
    from resseg.runs import layout

    return Path(args.out) if args.out else Path(args.run) / layout.PROBES
