"""`resseg import`: weights of a torch network, or of an export -> a run folder."""

import argparse
import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resseg.cli.outputs import check_free
from resseg.cli.parser import UsageError
from resseg.errors import UserError, choose

SUMMARY = "make a run of the weights of a torch network, or of an export"
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

  resseg import exported/model.safetensors --workdir runs/again

architectures:
  torchvision  resnet18 34 50 101 152, mobilenet_v2, efficientnet_b0,
               resnext50_32x4d, resnext101_32x8d and _64x4d,
               wide_resnet50_2 and 101_2; fcn_ and deeplabv3_ with resnet50 or 101
  timm         resnet18 34 50 101 152, resnet50d, seresnet50, resnetv2_50
  smp          Unet_, DeepLabV3_ and DeepLabV3Plus_ with resnet18, 34, 50 or 101

What `resseg export --format safetensors` wrote says itself what it is of: the run has
its weights to the bit, its config, classes and temperature.

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
        "file",
        nargs="?",
        metavar="FILE",
        help=".safetensors of `resseg export`; needs none of the options below but "
        "--workdir",
    )
    parser.add_argument(
        "--layout",
        metavar="L",
        help="library whose names the tensors have: torchvision, timm or smp",
    )
    parser.add_argument(
        "--arch", metavar="A", help="the network, by that library's name"
    )
    parser.add_argument(
        "--weights",
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
    _check_asked(arguments)
    workdir = Path(arguments.workdir)
    check_free(workdir)
    if arguments.file:
        return _run_of_export(arguments, workdir)
    return _run_of_torch(arguments, workdir)


def _check_asked(arguments: argparse.Namespace) -> None:
    """That it is one of the two: a file of an export, or one of torch's names."""
    of_torch = ("layout", "arch", "weights")
    given = [f"--{name}" for name in of_torch if getattr(arguments, name)]
    if not arguments.file and len(given) < len(of_torch):
        missing = [f"--{name}" for name in of_torch if f"--{name}" not in given]
        raise UsageError(
            f"expected {', '.join(missing)}, or the FILE of an export",
            arguments.parser,
        )
    if not arguments.file:
        return
    for name in (*of_torch, "classes", "data"):
        if getattr(arguments, name):
            raise UsageError(
                f"--{name} is of torch's weights; {arguments.file} says itself what it "
                "is of",
                arguments.parser,
            )


def _run_of_export(arguments: argparse.Namespace, workdir: Path) -> int:
    from resseg.console import say
    from resseg.interop.files import read_notes
    from resseg.interop.own import FORMAT, read_own
    from resseg.interop.run import write_run

    file = Path(arguments.file)
    if read_notes(file).get("format") != FORMAT:
        raise UserError(
            f"{file}: not of `resseg export`; weights of torch networks need --layout, "
            "--arch and --weights FILE"
        )
    weights = read_own(file)
    trained, calibration = weights.trained, weights.calibration
    source = {
        "layout": FORMAT,
        "weights": file.name,
        "step": trained.step,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    write_run(
        workdir,
        trained.config,
        list(trained.classes),
        trained.variables,
        source,
        dataset=weights.dataset,
        calibration=calibration and calibration._replace(step=0),
    )
    say(
        f"{trained.blueprint.title}, {trained.blueprint.params:,} parameters of step "
        f"{trained.step}, in {workdir}"
    )
    say(f"next: resseg predict {shlex.quote(str(workdir))} IMAGE_OR_DIR --out DIR")
    say(
        f"      resseg evaluate {shlex.quote(str(workdir))} --data-dir DIR   "
        "(where its data sets are)"
    )
    return 0


def _run_of_torch(arguments: argparse.Namespace, workdir: Path) -> int:
    import jax

    from resseg.config.load import load_config
    from resseg.console import say
    from resseg.interop import LAYOUTS, from_torch, read_weights
    from resseg.interop.run import write_run

    choose("--layout", arguments.layout, LAYOUTS)
    choose("--arch", arguments.arch, LAYOUTS[arguments.layout].architectures)
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
