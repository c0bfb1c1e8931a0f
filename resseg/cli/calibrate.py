"""`resseg calibrate`: a temperature for the probabilities of a run."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from resseg.cli import options
from resseg.errors import UserError, choose

if TYPE_CHECKING:
    from resseg.inference.calibrating import Fitted
    from resseg.runs import Run

SUMMARY = "make the probabilities of a run as sure as they are right"
EPILOG = """\
examples:
  resseg calibrate runs/cells
  resseg calibrate runs/cells --split calibration   (images that nothing else has used)
  resseg calibrate runs/cells --data other_cells   (same classes, other images)
  resseg calibrate runs/cells --reset   (and logits are taken as they are again)

One number, the temperature, is fitted to the negative log-likelihood of a split (Guo et
al. 2017) and kept in RUN/calibration.json, for one checkpoint. predict, evaluate and
export divide logits by it. Masks stay as they are, but where several predictions are
averaged, as with --flip. Scores on the split that it was fitted to look too good: keep
one for it, or score another."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "--split",
        metavar="S",
        help="split to fit to (default: the config's eval_split)",
    )
    parser.add_argument(
        "--data", metavar="NAME", help="another data set of the same classes"
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where prepared data sets live (default: where they were in training)",
    )
    parser.add_argument(
        "--reset",
        action="store_true",
        help="forget the temperature, of all checkpoints or that of --step",
    )
    options.add_step(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fits a temperature and stores it, or forgets it.

    Raises:
        UserError: there is no such run, checkpoint, split or data set; the data set has
            other classes or another scale; no temperature is best.
    """
    from resseg import sharding
    from resseg.cli.scored_data import compare_scales, copy_with_data
    from resseg.config.load import load_config
    from resseg.console import say
    from resseg.data import sources
    from resseg.inference.calibrating import fit
    from resseg.inference.classes import match_labels
    from resseg.inference.trained import load_trained
    from resseg.runs import open_run
    from resseg.runs.calibration import (
        Calibration,
        read_calibrations,
        write_calibrations,
    )

    run = open_run(arguments.run)
    if arguments.reset:
        return _reset(run, arguments)
    known = read_calibrations(run.path)
    config = copy_with_data(load_config(run.path), arguments.data, arguments.data_dir)
    spec = sources.dataset_spec(config.data)
    where = f"--data {spec.name}" if arguments.data else f"data set {spec.name}"
    labels = match_labels(run.classes, spec.classes, where)
    if labels is not None:
        spec = dataclasses.replace(spec, classes=run.classes)
    if scale := compare_scales(spec.bits, run.bits, spec.name, arguments.run):
        say(scale)
    split = arguments.split or config.data.eval_split
    choose("--split", split, spec.splits)
    trained = load_trained(run, arguments.step)
    fitted = fit(trained, config, spec, split, sharding.make_mesh(), labels)
    images = spec.splits[split]
    new = Calibration(trained.step, fitted.temperature, spec.name, split, images)
    others = [each for each in known if each.step != trained.step]
    write_calibrations(run.path, [*others, new])
    say(
        f"temperature {fitted.temperature:.4f} for the {trained.weights}, fitted to "
        f"{spec.name}/{split}, {images} images"
    )
    for line in _table(fitted, run.classes):
        say(line)
    if lacking := _lacking(fitted, run.classes):
        say(f"note: no pixel of {', '.join(lacking)} in {spec.name}/{split}")
    say("Scores are of the images that it was fitted to: others come out worse.")
    return 0


def _reset(run: "Run", arguments: argparse.Namespace) -> int:
    from resseg.console import say
    from resseg.runs.calibration import read_calibrations, write_calibrations

    for name in ("split", "data", "data_dir"):
        if getattr(arguments, name) is not None:
            option = name.replace("_", "-")
            raise UserError(f"--{option}: means nothing with --reset; leave it out")
    known = read_calibrations(run.path)
    if arguments.step is not None:
        choose("--step", arguments.step, [each.step for each in known])
    kept = [each for each in known if arguments.step not in (None, each.step)]
    write_calibrations(run.path, kept)
    gone = [f"{each.temperature:.4f} (step {each.step})" for each in known]
    gone = [text for text, each in zip(gone, known, strict=True) if each not in kept]
    say(f"forgotten: {', '.join(gone)}" if gone else "there was no temperature")
    return 0


def _table(fitted: "Fitted", classes: tuple[str, ...]) -> list[str]:
    from resseg.inference import intervals
    from resseg.inference.score_lines import change_lines, interval_note

    sums = fitted.before.sums(), fitted.after.sums()
    known = [*map(intervals.intervals, sums), intervals.differences(*sums)]
    scores = fitted.before.scores(), fitted.after.scores()
    note = interval_note(len(fitted.before.images), known[0])
    return [*change_lines(*scores, known, classes), note]


def _lacking(fitted: "Fitted", classes: tuple[str, ...]) -> list[str]:
    true = fitted.before.sums()["pixels"].sum((0, 2))
    return [name for name, pixels in zip(classes, true, strict=True) if not pixels]
