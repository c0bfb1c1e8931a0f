"""`resseg sweep`: the runs of a study."""

import argparse
import fnmatch
from pathlib import Path

from resseg.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_command` reads."""
    parser.add_argument("study", metavar="STUDY", help="study.py, or its folder")
    parser.add_argument("--workdir", metavar="DIR", help="folder of the run folders")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="runs whose id or overrides match, as in '*seed=0*'",
    )
    parser.add_argument(
        "--list", action="store_true", help="validate and list the runs, train nothing"
    )


def run_command(args: argparse.Namespace) -> int:
    """Trains the runs, one after another; those that are finished are skipped.

    Returns:
        0, or 1 if a run failed.

    Raises:
        UserError: wrong input, before the first run starts.
    """
    from resseg.sweeps import local
    from resseg.sweeps.study import load_study

    study = load_study(args.study)
    planned = [run for run in study.runs if _matches(args.only, run.id, run.name)]
    if not planned:
        raise UserError(f"--only {args.only!r}: matches none of {len(study.runs)} runs")
    if args.list:
        for run in planned:
            print(f"{run.id}  {run.name}")
        return 0
    if args.workdir is None:
        raise UserError("--workdir is missing, expected a folder for the run folders")
    return 1 if local.run_all(study, planned, Path(args.workdir)) else 0


def _matches(pattern: str | None, *texts: str) -> bool:
    return pattern is None or any(fnmatch.fnmatch(text, pattern) for text in texts)
