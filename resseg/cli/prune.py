"""`resseg prune`: a trained network with fewer channels inside its blocks."""

import argparse
import math
import shlex
from pathlib import Path

from resseg.cli import options
from resseg.cli.outputs import check_free
from resseg.errors import UserError, choose

SUMMARY = "make a smaller network of a trained one"
EPILOG = """\
examples:
  resseg prune runs/cells --keep 0.5 --workdir runs/half
  resseg evaluate runs/half                       (what it costs, before fine-tuning)
  resseg prune runs/cells --keep 0.5 --by gradient --workdir runs/half

Channels go that lie inside the branches of the backbone's blocks, between two of their
convolutions. What blocks put out stays: shortcuts tie it, and so they carry what they
did. Of a branch those channels stay that weigh most: the norm of the weights that read
them times the scale of their norm layer (without one, times the norm of the weights
that write them).

  --by norm      every block keeps the same share
  --by gradient  blocks whose branch carries more of their gradient keep more: the share
                 of the branch in the log of gradients, over the last quarter of it

Then train it again, with --config DIR --init-from DIR and a smaller learning rate. The
decoder is as it was. What is left stands in config.model.backbone.inner."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "--keep",
        type=float,
        required=True,
        metavar="SHARE",
        help="of the channels inside all blocks together, above 0 and below 1",
    )
    parser.add_argument(
        "--by", default="norm", metavar="HOW", help="norm (default) or gradient"
    )
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="run folder, made anew"
    )
    options.add_step(parser)


def run(arguments: argparse.Namespace) -> int:
    """Writes a run folder with the smaller network and its weights.

    Raises:
        UserError: wrong input; nothing has been written.
    """
    if not (math.isfinite(arguments.keep) and 0 < arguments.keep < 1):
        raise UserError(f"--keep {arguments.keep:g}: expected above 0 and below 1")
    choose("--by", arguments.by, ("norm", "gradient"))
    workdir = Path(arguments.workdir)
    check_free(workdir)

    from resseg.blueprint.blueprint import Blueprint
    from resseg.config.load import load_config
    from resseg.console import say
    from resseg.inference.trained import load_trained
    from resseg.interop.run import write_run
    from resseg.pruning.prune import branch_shares, prune
    from resseg.runs import open_run

    opened = open_run(arguments.run)
    shares = None
    if arguments.by == "gradient":
        try:
            shares = branch_shares(opened.gradients)
        except UserError as error:
            raise UserError(f"{arguments.run}: {error}") from error
    trained = load_trained(opened, arguments.step)
    try:
        pruned = prune(trained, arguments.keep, shares)
    except UserError as error:
        raise UserError(f"{arguments.run}: {error}") from error
    source = {
        "layout": "pruned",
        "run": Path(arguments.run).resolve().name,
        "step": trained.step,
        "keep": arguments.keep,
        "by": arguments.by,
    }
    write_run(workdir, pruned.config, list(trained.classes), pruned.variables, source)
    rows = zip(pruned.blocks, pruned.before, pruned.after, strict=True)
    for name, before, after in rows:
        say(f"{name:<28} {before:>5} -> {after:>5} channels inside")
    smaller = Blueprint.of(load_config(workdir), len(trained.classes))
    for what, before, after in (
        ("parameters", trained.blueprint.params, smaller.params),
        ("multiply-adds", trained.blueprint.macs, smaller.macs),
    ):
        say(f"{what}: {before:,} -> {after:,}, {100 * after / before:.0f} %")
    place = shlex.quote(str(workdir))
    say(f"written to {workdir}; it forgot a part of what it knew, so train it again:")
    say(f"  resseg train --config {place} --init-from {place} --workdir {place}-tuned")
    return 0
