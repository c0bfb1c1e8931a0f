"""The subcommands: the arguments of each, and what each runs.

Each imports what it needs when it is called, so that `--help` costs milliseconds.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="experiment file, stored config.json, or the folder of an earlier run",
    )
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="run folder, made if missing"
    )
    parser.add_argument(
        "--init-from",
        metavar="RUN",
        help="start from the weights of that run (config.init.variables_from)",
    )
    _add_overrides(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "--split", metavar="S", help="split to score (default: the config's eval_split)"
    )
    parser.add_argument(
        "--data", metavar="NAME", help="another data set of the same classes"
    )
    parser.add_argument(
        "--flip",
        action="store_true",
        help="average each image with its mirror image; say so beside the score",
    )
    _add_step(parser)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "images", metavar="IMAGE_OR_DIR", help="an image, or a folder of images"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also write the probability of every class, as .npy",
    )
    _add_step(parser)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    from resseg.gradient_log import show

    show.add_inspect_arguments(parser)


def _add_report(parser: argparse.ArgumentParser) -> None:
    from resseg.report.page import command

    command.add_arguments(parser)


def _add_board(parser: argparse.ArgumentParser) -> None:
    from resseg.report.board import command

    command.add_arguments(parser)


def _add_probe(parser: argparse.ArgumentParser) -> None:
    from resseg.probes import commands

    commands.add_probe_arguments(parser)
    _add_overrides(parser)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    from resseg.sweeps import start

    start.add_arguments(parser)


def _add_table(parser: argparse.ArgumentParser) -> None:
    from resseg.sweeps import table_command

    table_command.add_arguments(parser)


def _add_runs(parser: argparse.ArgumentParser) -> None:
    from resseg.sweeps import listing_command

    listing_command.add_arguments(parser)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="experiment file, config.json or run folder"
    )
    parser.add_argument(
        "--diff", metavar="OTHER", help="print only what differs from this one"
    )
    _add_overrides(parser)


def _add_describe(parser: argparse.ArgumentParser) -> None:
    from resseg import describe_command

    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="experiment file, stored config.json or run folder",
    )
    describe_command.add_arguments(parser)
    _add_overrides(parser)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--layout",
        required=True,
        metavar="L",
        help="library whose names the tensors have: torchvision, timm or smp",
    )
    parser.add_argument(
        "--arch", required=True, metavar="A", help="the network, by that library's name"
    )
    parser.add_argument(
        "--weights",
        required=True,
        metavar="FILE",
        help=".safetensors or .npz; .pth or .pt where torch is installed",
    )
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="run folder, made anew"
    )
    parser.add_argument(
        "--classes",
        metavar="FILE|LIST",
        help="a,b,c or a text file with one name per line (default: VOC's for the 21 "
        "scores of torchvision, else class0, class1, …)",
    )
    parser.add_argument(
        "--data", metavar="NAME", help="data set that `resseg evaluate` is to read"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    from resseg.data import commands

    commands.add_arguments(parser)


def _add_step(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--step",
        type=int,
        metavar="N",
        help="checkpoint of this step (default: the best one, else the latest)",
    )


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    # Only shown: `split_overrides` has taken them out before parsing.
    parser.add_argument_group("config keys").add_argument(
        "--config.KEY",
        metavar="VALUE",
        dest="overrides",
        help="set any key, as in --config.train.steps=500",
    )


def _load(path: str, overrides: Sequence[tuple[str, str]]) -> "ConfigDict":
    from resseg.config.load import load_config, parse

    return load_config(path, {key: parse(key, text) for key, text in overrides})


def _train(arguments: argparse.Namespace) -> int:
    overrides = arguments.overrides
    if arguments.init_from:
        overrides = [*overrides, ("init.variables_from", arguments.init_from)]
    config = _load(arguments.config, overrides)
    from resseg.training import (
        run,  # imports JAX: only once the config is known to be right
    )

    try:
        run.train_and_evaluate(config, arguments.workdir)
    except run.Diverged as error:
        print(f"resseg: {error}", file=sys.stderr)
        return 1
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from resseg.inference import evaluator

    return evaluator.run_command(arguments)


def _predict(arguments: argparse.Namespace) -> int:
    from resseg.inference import predictor

    return predictor.run_command(arguments)


def _inspect(arguments: argparse.Namespace) -> int:
    from resseg.gradient_log import show

    return show.run_inspect(arguments)


def _report(arguments: argparse.Namespace) -> int:
    from resseg.report.page import command

    return command.run_command(arguments)


def _board(arguments: argparse.Namespace) -> int:
    from resseg.report.board import command

    return command.run_command(arguments)


def _probe(arguments: argparse.Namespace) -> int:
    from resseg.probes import commands

    return commands.run_probe(arguments)


def _sweep(arguments: argparse.Namespace) -> int:
    from resseg.sweeps import start

    return start.run_command(arguments)


def _table(arguments: argparse.Namespace) -> int:
    from resseg.sweeps import table_command

    return table_command.run_command(arguments)


def _runs(arguments: argparse.Namespace) -> int:
    from resseg.sweeps import listing_command

    return listing_command.run_command(arguments)


def _config(arguments: argparse.Namespace) -> int:
    from resseg.config.load import describe, diff, load_config

    config = _load(arguments.file, arguments.overrides)
    if arguments.diff is None:
        print(describe(config))
        return 0
    rows = diff(config, load_config(arguments.diff))
    print(f"{arguments.file} | {arguments.diff}: {len(rows)} keys differ")
    width = max((len(key) for key, _, _ in rows), default=0)
    for key, mine, other in rows:
        print(f"{key:{width}} = {mine!r} | {other!r}")
    return 0


def _describe(arguments: argparse.Namespace) -> int:
    from resseg import describe_command

    config = _load(arguments.config, arguments.overrides)
    return describe_command.run_command(arguments, config)


def _import(arguments: argparse.Namespace) -> int:
    from resseg.interop import run

    return run.run_command(arguments)


def _data(arguments: argparse.Namespace) -> int:
    from resseg.data import commands

    return commands.run(arguments)


ADDERS = {
    "train": _add_train,
    "evaluate": _add_evaluate,
    "predict": _add_predict,
    "inspect": _add_inspect,
    "report": _add_report,
    "board": _add_board,
    "probe": _add_probe,
    "sweep": _add_sweep,
    "table": _add_table,
    "runs": _add_runs,
    "config": _add_config,
    "describe": _add_describe,
    "import": _add_import,
    "data": _add_data,
}
RUNNERS = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "inspect": _inspect,
    "report": _report,
    "board": _board,
    "probe": _probe,
    "sweep": _sweep,
    "table": _table,
    "runs": _runs,
    "config": _config,
    "describe": _describe,
    "import": _import,
    "data": _data,
}
