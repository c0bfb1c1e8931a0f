"""`resseg probe`: one measurement of a run, or of a network as it starts."""

import argparse
from pathlib import Path

from resseg.errors import UserError, choose

SUMMARIES = {
    "signal": "mean and variance of shortcut and branch at every join (M5, M6)",
}


def add_probe_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_probe` reads."""
    listed = "".join(f"\n  {name:<16} {text}" for name, text in SUMMARIES.items())
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder")
    parser.add_argument(
        "--what", metavar="NAME[,NAME]", help=f"measurements, by name:{listed}"
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
    from resseg.config import load_config, parse
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
    for name in ("batches", "samples", "iterations"):
        value = getattr(args, name)
        if value < 1:
            raise UserError(f"--{name}={value}: expected 1 or more")
    if args.seed < 0:
        raise UserError(f"--seed={args.seed}: expected 0 or more")
    choose("--by", args.by, ["", "class", "boundary"])
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
