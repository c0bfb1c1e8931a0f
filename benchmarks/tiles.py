"""Tiles that overlap against the sliding window of MONAI: megapixels a second.

python -m benchmarks.tiles [--side N] [--tile N] [--pairs N] [--torch-python FILE]

The same U-Net on ResNet-18 with the same weights, the same image, tiles of the same
size, overlap 0.5, Gaussian weights; from normalised pixels to the mean of softmaxes and
its class. The sides are processes of their own and take turns; torch runs at the better
of two memory formats and two batches of tiles. Tiles of ours begin outside of the
image, so there are more of them: what counts is the image. MONAI is in the
extra `bench`.
"""

import argparse
import contextlib
import functools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.networks import CLASSES, NETWORKS, answer
from benchmarks.pairs import Comparison, add_options, interleaved, report
from benchmarks.step import process, surroundings
from resseg import sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.inference.averaging import GAUSSIAN, Averaging
from resseg.inference.ensemble import Ensemble
from resseg.inference.trained import Trained
from resseg.interop.convert import from_torch

NAME = "unet"
AGREE = 1e-3  # difference of probabilities of the first tile


def image_of(side: int) -> np.ndarray:
    """float32 `[side, side, 3]`, what a network is given: noise of many scales."""
    draw, image = np.random.default_rng(0), np.zeros((side, side, 3), np.float32)
    for size in (side, side // 8, side // 32):
        noise = draw.normal(size=(size, size, 3)).astype(np.float32)
        image += noise.repeat(side // size, 0).repeat(side // size, 1)
    return image


def ours(weights: str, side: int, tile: int, out: str) -> None:
    """Our side: a process that predicts the image when told."""
    with np.load(weights) as tensors:
        named, variables = from_torch(NETWORKS[NAME].layout, dict(tensors))
    config = load_config("base", {"data.name": "none", "data.crop": (64, 64)} | named)
    blueprint = Blueprint.of(config, CLASSES)
    variables |= {"paths": blueprint.paths(config)}
    classes = tuple(f"class{index}" for index in range(CLASSES))
    trained = Trained(config, classes, blueprint, variables, step=0)
    averaging = Averaging(tile=tile, blend=GAUSSIAN)
    ensemble = Ensemble([trained], averaging, sharding.make_mesh())
    image = image_of(side)
    whole = slice(0, side), slice(0, side)

    def predict() -> np.ndarray:
        read = lambda rows, columns: image[np.ix_(rows, columns)]  # noqa: E731
        return ensemble.block(read, (side, side), *whole).argmax(-1)

    np.save(out, ensemble.mean(image[None, :tile, :tile])[0])
    predict()
    tiles = ensemble.grid.count(side) ** 2
    said = {"tiles": tiles, "version": f"JAX {jax.__version__}"}
    answer(lambda: predict().sum(), said)


def compare(args: argparse.Namespace) -> Comparison:
    """Both sides, in pairs."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        weights = str(Path(folder) / "weights.npz")
        torch = args.torch_python
        subprocess.run(
            [torch, "-m", "benchmarks.torch_side", NAME, "weights", weights],
            check=True,
            env=surroundings(),
        )
        sizes = str(args.side), str(args.tile)
        mine, theirs = (str(Path(folder) / f"{name}.npy") for name in ("a", "b"))

        def start(*arguments: str) -> Any:
            return stack.enter_context(process(*arguments))

        one = start(sys.executable, "benchmarks.tiles", "--ours", weights, *sizes, mine)
        other = start(torch, "benchmarks.tiles_torch", weights, *sizes, theirs)
        said = one.said, other.said
        check(mine, theirs)
        seconds = interleaved(
            functools.partial(one, 1), functools.partial(other, 1), args.pairs, "tiles"
        )
        return Comparison(
            f"U-Net ResNet-18, {CLASSES} classes, {args.side}², tiles of {args.tile}, "
            "overlap 0.5",
            *seconds,
            peer=said[1]["version"],
            work=args.side**2 / 1e6,
            unit="megapixels",
            note=f"{said[0]['version']}; {said[0]['tiles']} against "
            f"{said[1]['tiles']} tiles",
        )


def check(mine: str, theirs: str) -> None:
    """Both sides give a tile the same probabilities.

    Raises:
        SystemExit: they do not.
    """
    furthest = float(np.abs(np.load(mine) - np.load(theirs)).max())
    if furthest > AGREE:
        raise SystemExit(f"benchmarks.tiles: probabilities differ by {furthest}")


def main(argv: list[str]) -> None:
    if argv[:1] == ["--ours"]:
        weights, side, tile, out = argv[1:]
        ours(weights, int(side), int(tile), out)
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tiles",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, 5)
    parser.add_argument("--side", type=int, default=1024, metavar="N")
    parser.add_argument("--tile", type=int, default=256, metavar="N")
    parser.add_argument(
        "--torch-python", default=sys.executable, metavar="FILE", help="that has torch"
    )
    args = parser.parse_args(argv)
    report("tiles", [compare(args)], ("jax", "jaxlib"), args.out)


if __name__ == "__main__":
    main(sys.argv[1:])
