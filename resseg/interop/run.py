"""`resseg import`: weights of a torch network -> a run folder."""

import argparse
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from resseg import runs, sharding
from resseg.blueprint.network import build_segmenter
from resseg.config.load import load_config
from resseg.console import say
from resseg.data import VOID, folder
from resseg.errors import UserError, choose
from resseg.interop import LAYOUTS, from_torch, read_weights
from resseg.runs import checkpoints, layout

# The 20 of PASCAL VOC behind the background, in the order of torchvision's weights.
VOC = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def run_command(args: argparse.Namespace) -> int:
    """`resseg import --layout L --arch A --weights FILE --workdir RUN`."""
    choose("--layout", args.layout, LAYOUTS)
    choose("--arch", args.arch, LAYOUTS[args.layout].architectures)
    workdir = Path(args.workdir)
    check_free(workdir)
    tensors = read_weights(args.weights)
    try:
        overrides, variables = from_torch(args.layout, tensors, args.arch)
    except UserError as error:
        raise UserError(f"{args.weights}: {error}") from error
    classes = class_names(args, variables["params"])
    if args.data:
        overrides["data.name"] = args.data
    config = load_config("base", overrides)
    source = {
        "layout": args.layout,
        "architecture": args.arch,
        "weights": Path(args.weights).name,
        "sha256": hashlib.sha256(Path(args.weights).read_bytes()).hexdigest(),
    }
    write_run(workdir, config, classes, variables, source)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    say(f"{args.arch} of {args.layout}, {count:,} parameters, in {workdir}")
    if classes:
        say(f"{len(classes)} classes: {', '.join(classes)}")
        say(f"next: resseg predict {workdir} IMAGE_OR_DIR --out DIR")
    else:
        say("a backbone without a segmentation head; next:")
        say(f"  resseg train … --config.init.backbone_from={workdir}")
    return 0


def check_free(workdir: Path) -> None:
    """Raises UserError unless a new run folder can be made of that name."""
    if workdir.is_dir() and any(workdir.iterdir()):
        what = "holds a run" if (workdir / layout.CONFIG).exists() else "is not empty"
        raise UserError(f"--workdir {workdir} {what}: choose another folder")
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir {workdir} is a file, expected a folder")


def class_names(args: argparse.Namespace, params: Mapping[str, Any]) -> list[str]:
    """One name per class score of a segmentation head; none where there is no head.

    Raises:
        UserError: `--classes` gives another number of names, or the scores cannot be
            those of a segmentation here.
    """
    if "head" not in params:
        if args.classes:
            raise UserError(
                f"--classes {args.classes}: {args.arch} has no segmentation head"
            )
        return []
    count = params["head"]["classifier"]["conv"]["bias"].shape[0]
    if not 2 <= count <= VOID:
        raise UserError(
            f"{args.weights}: {count} class scores, expected 2 to {VOID} (one for the "
            "background too)"
        )
    if args.classes:
        names = folder.read_classes(args.classes)
        if len(names) != count:
            raise UserError(
                f"--classes {args.classes}: {len(names)} names, the weights have "
                f"{count} class scores"
            )
        return list(names)
    if args.layout == "torchvision" and count == len(VOC):
        return list(VOC)
    return [f"class{index}" for index in range(count)]


def write_run(
    workdir: Path,
    config: Any,
    classes: list[str],
    variables: Mapping[str, Any],
    source: Mapping[str, Any],
) -> None:
    """Writes a run folder with a checkpoint of step 0, or nothing.

    Args:
        workdir: a new or empty folder.
        config: of the network.
        classes: of a segmentation network; none = `variables` are of a backbone.
        variables: params and batch_stats.
        source: where they are from; stored, and marks the folder as imported.
    """
    workdir.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until all of it is there.
    partial = workdir.parent / f".{workdir.name}.{os.getpid()}.partial"
    partial.mkdir()
    try:
        runs.write_config(partial, config)
        runs.write_dataset(partial, config.data.name, classes, {})
        runs.write_environment(partial, sharding.describe(sharding.make_mesh()))
        runs.write_json(partial / layout.IMPORTED, source)
        paths = coefficients(config, len(classes) or 1)
        if not classes:
            paths = {"backbone": paths["backbone"]}
        checkpoints.save_variables(partial, {**variables, "paths": paths})
        os.replace(partial, workdir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def coefficients(config: Any, num_classes: int) -> dict[str, Any]:
    """The `paths` collection of the network of `config`, on the host."""
    model = build_segmenter(config.model, num_classes)

    @jax.jit
    def init(key: jax.Array) -> Any:
        # The weights that `init` draws are used by nothing, so they are not computed.
        return model.init(key, jnp.zeros((1, 64, 64, 3)))["paths"]

    return jax.device_get(init(jax.random.key(0)))
