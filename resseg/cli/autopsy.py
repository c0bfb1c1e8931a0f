"""`resseg autopsy`."""

import argparse

SUMMARY = "say why a training stopped: what was not finite first"
EPILOG = """\
examples:
  resseg autopsy runs/cells

A training stops where its loss or gradient is not finite, with status 1. It then takes
that step once more, from the last checkpoint, and leaves RUN/autopsy: the batch, the
state before the step, and a page. This command takes the step again from there; the run
and its data may have changed since. It names, in the order of the signal, the first
that is not finite:

  image, label       of the batch, counted from 0; with several devices, on which
  parameter          of the state: the step was given it
  coefficient        of a fork: a shortcut's or branch's factor
  statistic          of a norm, over earlier batches
  forward            a module, or the shortcut or branch that a block adds
  loss               its terms
  backward           from the loss down: a path of a fork, or a parameter's gradient
  optimizer, average of the state
  update             of a parameter

What to do: a learning rate that is too high shows in `update`, or in `forward` some
steps later; a batch that is broken, in `image` or `label`. The training goes on without
the batch with

  resseg train --config nuclei/unet --workdir runs/cells \\
      --config.train.on_nonfinite=rollback"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument("run", metavar="RUN", help="folder of a run that stopped")


def run(arguments: argparse.Namespace) -> int:
    """Takes the step again.

    Raises:
        UserError: there is no such run, or it has no autopsy.
    """
    from resseg.console import say
    from resseg.runs import open_run
    from resseg.runs.autopsy import read_facts

    opened = open_run(arguments.run)
    read_facts(opened.path)  # before JAX is there
    from resseg.training.autopsy import replay

    for line in replay(opened):
        say(line)
    return 0
