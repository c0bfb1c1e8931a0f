"""`resseg evaluate`."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resseg.cli import options
from resseg.cli.scored_data import compare_scales, copy_with_data, list_oddities
from resseg.errors import UserError, choose

if TYPE_CHECKING:
    from resseg.inference.evaluation import Evaluation
    from resseg.inference.trained import Trained
    from resseg.runs import Run

SUMMARY = "score a trained run on a split"
EPILOG = """\
examples:
  resseg evaluate runs/quickstart
  resseg evaluate runs/cells --split test
  resseg evaluate runs/cells --data other_cells   (same classes, other images)
  resseg evaluate runs/cells --data-dir /data   (where its data sets are now)
  resseg evaluate runs/cells --scales 0.5,1,1.5 --flip
  resseg evaluate runs/seed0 runs/seed1 runs/seed2   (the mean of their probabilities)
  resseg evaluate runs/cells --tile 512 --overlap 0.5
  resseg evaluate runs/deeper --against runs/cells   (their difference, with intervals)
  resseg evaluate runs/cells --calibration   (how far its probabilities can be trusted)

Classes are matched by name: a data set with the same ones in another order is scored as
well, one with other classes is refused. Brackets are 95 % intervals over images, paired
in differences; RUN/evaluations keeps what was scored, as JSON."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="run folder; of several the probabilities are averaged",
    )
    parser.add_argument(
        "--split", metavar="S", help="split to score (default: the config's eval_split)"
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
        "--against",
        nargs="+",
        default=[],
        metavar="RUN",
        help="score these as well, and the difference on the same images",
    )
    parser.add_argument(
        "--calibration",
        action="store_true",
        help="score probabilities too: ECE, ACE, MCE, NLL and Brier, of each class and "
        "at boundaries, with reliability diagrams",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write scores and intervals (each is in its run folder too)",
    )
    options.add_averaging(parser)
    options.add_step(parser)


def run(arguments: argparse.Namespace) -> int:
    """Scores a run, or the mean of several, on one split; and others beside it.

    Raises:
        UserError: there is no such run, checkpoint, split or data set, the data set has
            other classes or another scale, or what is to be compared cannot be; or see
            `options.averaging`.
    """
    from resseg.cli import evaluated, outputs
    from resseg.inference.members import require_alike
    from resseg.runs import open_run, write_json

    if arguments.json is not None:
        outputs.check_file("--json", arguments.json)
    options.averaging(arguments)
    runs, others = (
        [open_run(path) for path in paths]
        for paths in (arguments.runs, arguments.against)
    )
    require_alike(runs)
    if others:
        require_alike(others)
        _require_comparable(runs[0], others[0], arguments.data)
    scored = [_evaluate(runs, arguments, arguments.step)]
    if others:
        scored.append(_evaluate(others, arguments, None, runs[0]))
    record = evaluated.records(scored)
    if arguments.json is not None:
        write_json(Path(arguments.json), record)
    return 0


def _require_comparable(run: "Run", other: "Run", data: str | None) -> None:
    """That both can be scored on the same images.

    Raises:
        UserError: they cannot.
    """
    option = f"--against {other.path}"
    if other.classes != run.classes:
        raise UserError(
            f"{option}: classes {', '.join(other.classes)}; expected those of "
            f"{run.path}, {', '.join(run.classes)}, in this order"
        )
    here, there = (
        copy_with_data(each.config, None, None).data.name for each in (run, other)
    )
    if here != there and not data:
        raise UserError(
            f"{option}: trained on {there}, and {run.path} on {here}; say with --data "
            "on which data set both are to be scored"
        )


def _evaluate(
    runs: Sequence["Run"],
    arguments: argparse.Namespace,
    step: int | None,
    like: "Run | None" = None,
) -> "Evaluation":
    """Scores the mean of runs, says so, and stores it.

    Args:
        runs: whose probabilities are averaged.
        arguments: of the command.
        step: of their weights; None = the best, or else the latest.
        like: whose split, and whose width of boundaries, are meant; None = their own.
    """
    from resseg import sharding
    from resseg.cli import evaluated
    from resseg.config.load import load_config
    from resseg.console import say
    from resseg.data import sources
    from resseg.inference.averaging import Averaging
    from resseg.inference.calibration import counting
    from resseg.inference.classes import match_labels
    from resseg.inference.ensemble import Ensemble
    from resseg.inference.evaluation import Evaluation
    from resseg.inference.evaluator import Evaluator
    from resseg.inference.members import load_members
    from resseg.inference.per_image import PerImage
    from resseg.runs.dataset import changes

    run, averaging = runs[0], options.averaging(arguments)
    config = copy_with_data(load_config(run.path), arguments.data, arguments.data_dir)
    if like is not None:
        first: Any = load_config(like.path)
        config.eval.boundary = first.eval.boundary
        config.data.eval_split = first.data.eval_split
    classes = run.classes
    spec = sources.dataset_spec(config.data)
    where = f"--data {spec.name}" if arguments.data else f"data set {spec.name}"
    labels = match_labels(classes, spec.classes, where)
    if labels is not None:
        say(f"{where}: classes in another order than in training, matched by name")
        spec = dataclasses.replace(spec, classes=classes)
    if scale := compare_scales(spec.bits, run.bits, spec.name, str(run.path)):
        say(scale)
    split = arguments.split or config.data.eval_split
    choose("--split", split, spec.splits)
    members = load_members(runs, step, arguments.average_checkpoints)
    ensemble = Ensemble(members, averaging, sharding.make_mesh())
    config.data.eval_batch_size = ensemble.batch_size(config.data.eval_batch_size)
    one = len(runs) == arguments.average_checkpoints == 1
    images = PerImage(spec.num_classes, calibrated=arguments.calibration)
    predict: Any = ensemble.run
    if images.calibration is not None:
        predict = counting(predict, images.calibration, config.eval.boundary)
    evaluator = Evaluator(
        config,
        members[0].model,
        spec,
        ensemble.mesh,
        predict=predict,
        multiple=ensemble.multiple,
        labels=labels,
    )
    scores = evaluator(members[0].variables, split, images=images)
    if images.calibration is not None:
        scores |= images.calibration.scores()
    evaluation = Evaluation(
        runs=tuple(str(each.path) for each in runs),
        step=members[0].step,
        data=spec.name,
        split=split,
        classes=classes,
        words=ensemble.words,
        plain=one and averaging == Averaging(),
        temperatures=tuple(each.temperature for each in members),
        scores=scores,
        images=images,
    )
    evaluated.show(evaluation)
    for line in temperature_lines(runs, members, spec.name, split):
        say(line)
    evaluated.store(evaluation)
    if not arguments.data:
        then, now = run.dataset, sources.fingerprint(config.data, (split,))
        for change in changes(then, {**now, "classes": run.classes}):
            say(f"{where} has changed since the run was trained: {change}")
    for line in list_oddities(run, config.data, split, members[0].step, scores):
        say(f"note: {line}")
    return evaluation


def temperature_lines(
    runs: Sequence["Run"], members: Sequence["Trained"], data: str, split: str
) -> list[str]:
    """What there is to say of temperatures when a split is scored.

    Args:
        runs: that are scored.
        members: their weights.
        data: the data set.
        split: of it.
    """
    from resseg.runs.calibration import read_calibrations

    lines = []
    for run, member in zip(runs, members, strict=True):
        fitted = {each.step: each for each in read_calibrations(run.path)}
        own = fitted.get(member.step)
        if own is not None and member.temperature == own.temperature:
            same = (own.data, own.split) == (data, split)
            where = (
                "this very split, where it looks too good"
                if same
                else (f"{own.data}/{own.split}")
            )
            lines.append(
                f"{run.path}: temperature {own.temperature:.4f}, fitted to {where}"
            )
        elif fitted:
            steps = ", ".join(map(str, fitted))
            lines.append(
                f"note: {run.path} has a temperature for step {steps}, not for these "
                "weights: logits are taken as they are"
            )
    return lines
