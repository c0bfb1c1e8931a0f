"""`resseg import`: weights of a torch network -> a run folder."""

import argparse
import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resseg.errors import UserError, choose

SUMMARY = "make a run of the weights of a torch network"
EPILOG = """\
examples:
  resseg import --layout torchvision --arch deeplabv3_resnet50 \\
      --weights deeplabv3_resnet50_coco.pth --workdir runs/voc
  resseg predict runs/voc photos --out segmented

  resseg import --layout smp --arch Unet_resnet34 --weights unet.safetensors \\
      --workdir runs/cells --classes background,cell --data cells
  resseg evaluate runs/cells

  resseg import --layout timm --arch resnet50d --weights resnet50d.safetensors \\
      --workdir runs/backbone

architectures:
  torchvision  resnet18 34 50 101 152, resnext50_32x4d, resnext101_32x8d and _64x4d,
               wide_resnet50_2 and 101_2; fcn_ and deeplabv3_ with resnet50 or 101
  timm         resnet18 34 50 101 152, resnet50d, seresnet50, resnetv2_50
  smp          Unet_, DeepLabV3_ and DeepLabV3Plus_ with resnet18, 34, 50 or 101

Every tensor must be there with its shape, and none left over. Training goes on from
such a run with --config RUN --init-from RUN. A classification network has no head: put
one on it with --config.init.backbone_from=RUN. A .pth file is read with torch
(pip install 'resseg[interop]'), the others without."""
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
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


def run(arguments: argparse.Namespace) -> int:
    """Writes a run folder with the weights of a file.

    Raises:
        UserError: wrong input; nothing has been written.
    """
    import jax

    from resseg.config.load import load_config
    from resseg.console import say
    from resseg.interop import LAYOUTS, from_torch, read_weights
    from resseg.interop.run import write_run

    choose("--layout", arguments.layout, LAYOUTS)
    choose("--arch", arguments.arch, LAYOUTS[arguments.layout].architectures)
    workdir = Path(arguments.workdir)
    _check_free(workdir)
    tensors = read_weights(arguments.weights)
    try:
        overrides, variables = from_torch(arguments.layout, tensors, arguments.arch)
    except UserError as error:
        raise UserError(f"{arguments.weights}: {error}") from error
    classes = _class_names(arguments, variables["params"])
    if arguments.data:
        overrides["data.name"] = arguments.data
    config = load_config("base", overrides)
    source = {
        "layout": arguments.layout,
        "architecture": arguments.arch,
        "weights": Path(arguments.weights).name,
        "sha256": hashlib.sha256(Path(arguments.weights).read_bytes()).hexdigest(),
    }
    write_run(workdir, config, classes, variables, source)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    say(f"{arguments.arch} of {arguments.layout}, {count:,} parameters, in {workdir}")
    if classes:
        say(f"{len(classes)} classes: {', '.join(classes)}")
        say(f"next: resseg predict {shlex.quote(str(workdir))} IMAGE_OR_DIR --out DIR")
    else:
        say("a backbone without a segmentation head; next:")
        key = shlex.quote(f"--config.init.backbone_from={workdir}")
        say(f"  resseg train … {key}")
    return 0


def _check_free(workdir: Path) -> None:
    """Raises UserError unless a new run folder can be made of that name."""
    from resseg.runs import layout

    if workdir.is_dir() and any(workdir.iterdir()):
        what = "holds a run" if (workdir / layout.CONFIG).exists() else "is not empty"
        raise UserError(f"--workdir {workdir} {what}: choose another folder")
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir {workdir} is a file, expected a folder")


def _class_names(arguments: argparse.Namespace, params: Mapping[str, Any]) -> list[str]:
    """One name per class score of a segmentation head; none where there is no head.

    Raises:
        UserError: `--classes` gives another number of names, or the scores cannot be
            those of a segmentation here.
    """
    from resseg.data import VOID, class_names
    from resseg.runs.dataset import unnamed

    if "head" not in params:
        if arguments.classes:
            raise UserError(
                f"--classes {arguments.classes}: {arguments.arch} has no segmentation "
                "head"
            )
        return []
    count = params["head"]["classifier"]["conv"]["bias"].shape[0]
    if not 2 <= count <= VOID:
        raise UserError(
            f"{arguments.weights}: {count} class scores, expected 2 to {VOID} (one for "
            "the background too)"
        )
    if arguments.classes:
        names = class_names.read_classes(arguments.classes)
        if len(names) != count:
            raise UserError(
                f"--classes {arguments.classes}: {len(names)} names, the weights have "
                f"{count} class scores"
            )
        return list(names)
    if arguments.layout == "torchvision" and count == len(VOC):
        return list(VOC)
    return unnamed(count)
