"""`resseg train`."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from resseg.cli import interrupts, options
from resseg.text import shown

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

    try:
        clock = Clock(time.monotonic() - began)
        programs = Programs(keeps=True)
        train_and_evaluate(config, arguments.workdir, programs, stop, clock)
    except Stopped as stopped:
        say(str(stopped))
        return 0
    except Diverged as error:
        print(shown(f"resseg: {error}"), file=sys.stderr)
        return 1
    # Figures take long to import: not before the first step.
    from resseg.gradient_log.after_training import draw_flow
    from resseg.runs.ledger import add_row

    folder = Path(arguments.workdir)
    with clock.on("log"):
        for line in draw_flow(folder):
            say(line)
    add_row(folder, config.train.steps, clock.ledger(clock.earlier(folder)))
    return 0
