"""`resseg train`."""

import argparse
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resseg.cli import interrupts, options
from resseg.processes.devices import start_jax
from resseg.processes.group import ALONE, Group
from resseg.processes.joining import join
from resseg.processes.membership import find
from resseg.text import shown
from resseg.training.stops import Stop

SUMMARY = "train what a config describes, or resume where it stopped"
EPILOG = """\
examples:
  resseg train --config quickstart --workdir runs/quickstart
  resseg train --config nuclei/unet --workdir runs/no-shortcut \\
      --config.model.shortcut.kind=none --config.seed=1
  resseg train --config nuclei/unet --workdir runs/half-gradient \\
      --config.model.gradient.shortcut 0.5 --config.data.crop=128,128

`resseg config` lists the experiments that have names. Any key that `resseg config FILE`
prints can be set: numbers and names as they are, lists as 128,128, optional keys also
as none. DIR then holds the config, metrics, gradient log, checkpoints and predictions.

The same command run again resumes the run. SIGTERM and Ctrl-C let the step at work end,
save and end with status 0; a second one ends at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="experiment by name or file, stored config.json, or the folder of an "
        "earlier run",
    )
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="run folder, made if missing"
    )
    parser.add_argument(
        "--init-from",
        metavar="RUN",
        help="start from the weights of that run (config.init.variables_from)",
    )
    several = parser.add_argument_group(
        "several processes", "the same for all but the last; Slurm needs none of them"
    )
    several.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="host of process 0, and a port that is free there, as is the next",
    )
    several.add_argument(
        "--processes", type=int, metavar="N", help="how many there are"
    )
    several.add_argument(
        "--process", type=int, metavar="I", help="which this one is, from 0"
    )
    options.add_overrides(parser)


def run(arguments: argparse.Namespace) -> int:
    """Trains; returns 1 where training diverged, 0 also where it was asked to stop.

    Raises:
        UserError: wrong input, before a device is touched.
    """
    began, stop = time.monotonic(), interrupts.stop_in_order()
    overrides = arguments.overrides
    if arguments.init_from:
        overrides = [*overrides, ("init.variables_from", arguments.init_from)]
    config: Any = options.load(arguments.config, overrides)
    # Imports JAX: only once the config is known to be right.
    from resseg.console import say
    from resseg.training.clock import Clock
    from resseg.training.program import Programs
    from resseg.training.run import Diverged, train_and_evaluate
    from resseg.training.stops import Stopped

    with joined(arguments, stop) as group:
        try:
            clock = Clock(time.monotonic() - began)
            programs = Programs(keeps=True)
            train_and_evaluate(config, arguments.workdir, programs, stop, clock, group)
        except Stopped as stopped:
            say(str(stopped))
            return 0
        except Diverged as error:
            print(shown(f"resseg: {error}"), file=sys.stderr)
            return 1
    if not group.leads:
        return 0
    # Figures take long to import: not before the first step.
    from resseg.gradient_log.after_training import draw_flow
    from resseg.runs.ledger import add_row

    folder = Path(arguments.workdir)
    with clock.on("log"):
        for line in draw_flow(folder):
            say(line)
    add_row(folder, config.train.steps, clock.ledger(clock.earlier(folder)))
    return 0


@contextlib.contextmanager
def joined(arguments: argparse.Namespace, stop: Stop) -> Iterator[Group]:
    """The processes that train together while the context lasts; often one alone.

    Raises:
        UserError: not all of them are there.
    """
    given = arguments.coordinator, arguments.processes, arguments.process
    membership = find(*given, os.environ)
    if membership is None:
        yield ALONE
        return
    with join(membership) as group:
        from resseg.console import console

        stop.leave = group.ends_by(stop.leave)
        stop.join(group)
        console.quiet = not group.leads
        start_jax(membership)
        try:
            yield group
        except Exception as error:
            group.hear(error)
            _leave(error, stop)
            raise


def _leave(error: Exception, stop: Stop) -> None:
    """Ends the process: at its own end JAX would wait for all others, which end too."""
    from resseg.cli.main import refusal

    reason = refusal(error)
    if reason is None:
        traceback.print_exc()
    if stop.leave is not None:
        stop.leave(1 if reason is None else 2, f"error: {reason or error}")
