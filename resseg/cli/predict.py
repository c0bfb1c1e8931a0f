"""`resseg predict`: images of any size -> class masks, pictures, probabilities."""

import argparse
import sys
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

from resseg.cli import options, outputs, predict_windows
from resseg.errors import UserError, naming
from resseg.text import shown

if TYPE_CHECKING:
    import numpy as np

    from resseg.inference.ensemble import Ensemble

SUMMARY = "segment your images with a trained run"
EPILOG = """\
examples:
  resseg predict runs/cells photo.jpg --out segmented
  resseg predict runs/cells photos --out segmented --probabilities
  resseg predict runs/cells photos --out segmented --scales 0.5,1,1.5 --flip
  resseg predict runs/seed0 runs/seed1 runs/seed2 photos --out segmented
  resseg predict runs/cells photos --out segmented --tile 512 --overlap 0.5
  resseg predict runs/fields scene.tif --out mapped --tile 512   (of any size)

Images may have any size. For each, DIR gets a PNG of class indices and a colour
overlay. The masks of a split's images are, to the last pixel, what `resseg evaluate`
scores. With --tile a TIFF that is too large to be decoded whole, or has a georeference,
becomes a tiled TIFF with the same georeference, in about 1 GB of memory; killed and
started again it goes on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="run folder; of several the probabilities are averaged",
    )
    parser.add_argument(
        "images", metavar="IMAGE_OR_DIR", help="an image, or a folder of images"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also write the probability of every class, as .npy (beside a TIFF of "
        "--tile: as bands of 8 bits)",
    )
    parser.add_argument(
        "--bits",
        type=int,
        metavar="N",
        help="bits in use by images of more than 8 (default: as the run was trained)",
    )
    options.add_averaging(parser)
    options.add_step(parser)


def run(arguments: argparse.Namespace) -> int:
    """Segments each image.

    Images that cannot be read are left out; they are named at the end, and the status
    is 2.

    Raises:
        UserError: there is no such run, checkpoint or image; the folder cannot be made.
    """
    from resseg import sharding
    from resseg.console import say
    from resseg.data import depth
    from resseg.inference.ensemble import Ensemble
    from resseg.inference.members import load_members, require_alike, shared_bits
    from resseg.runs import open_run

    depth.require_bits(arguments.bits)
    averaging = options.averaging(arguments)
    runs = [open_run(path) for path in arguments.runs]
    require_alike(runs)
    recorded = shared_bits(runs) if arguments.bits is None else None
    bits, reason = choose_bits(arguments.bits, recorded, arguments.runs[0])
    images, others = find_images(Path(arguments.images))
    chosen = predict_windows.choose(images, averaging.tile)
    probabilities = arguments.probabilities
    out = make_output(Path(arguments.out), images, chosen.windows, probabilities)
    members = load_members(runs, arguments.step, arguments.average_checkpoints)
    ensemble = Ensemble(members, averaging, sharding.make_mesh())
    done, deep, unreadable = predict_whole(
        chosen.whole, ensemble, bits, out, probabilities
    )
    if done:
        say(
            f"{ensemble.words}, in {out}: NAME.png (class indices, nearly black), "
            "NAME_color.png, NAME_overlay.png"
        )
    unreadable += chosen.wrong
    unreadable += predict_windows.predict_all(
        chosen.windows, ensemble, bits, out, probabilities
    )
    if deep or any(
        each.header.depth > depth.FEWEST for each in chosen.windows.values()
    ):
        say(depth.in_words(bits, reason))
    for line in [*chosen.notes, *others]:
        say(line)
    for error in unreadable:
        print(shown(f"resseg: error: {error}"), file=sys.stderr)
    return 2 if unreadable else 0


def predict_whole(
    images: list[Path],
    ensemble: "Ensemble",
    bits: int,
    out: Path,
    probabilities: bool,
) -> tuple[int, bool, list[UserError]]:
    """Segments images that are decoded whole, and writes what comes of it.

    Returns:
        How many were; whether one had more than 8 bits, of which `bits` are in use; and
        what is wrong with those that cannot be read.

    Raises:
        OSError: a result cannot be written.
    """
    from resseg.console import say
    from resseg.data import depth
    from resseg.data.reading import load_image
    from resseg.inference.predictor import Predictor, write_pictures

    sizes, deep, unreadable = read_sizes(images, bits)
    readable, done, classes = list(sizes), 0, ensemble.classes
    predictor = Predictor(ensemble)

    def load(index: int) -> "np.ndarray":
        return depth.in_8_bits(load_image(readable[index]), bits)

    batches = predictor.plan(list(sizes.values())) if sizes else []
    given = ((planned, [*map(load, planned.indices)]) for planned in batches)
    for batch in predictor.predict(given, probabilities):
        paths = [readable[index] for index in batch.planned.indices]
        for path, image, mask in zip(paths, batch.images, batch.masks, strict=True):
            write_pictures(out, path.stem, image, mask, len(classes))
            done += 1
            shares = list_shares(mask, classes)
            say(f"{done}/{len(readable)}  {path.name}  {shares}")
        if probabilities:
            write_probabilities(out, paths, batch.probabilities)
    return done, deep, unreadable


def read_sizes(
    images: list[Path], bits: int
) -> tuple[dict[Path, tuple[int, int]], bool, list[UserError]]:
    """Height and width of each image, and what is wrong with those not readable.

    The second value is True where an image has more than 8 bits, of which `bits` are
    in use.
    """
    from resseg.data import depth
    from resseg.data.reading import load_image

    sizes: dict[Path, tuple[int, int]] = {}
    deep = False
    unreadable: list[UserError] = []
    for path in images:
        try:
            picture = load_image(path)
            height, width = depth.in_8_bits(picture, bits).shape[:2]
        except UserError as error:
            unreadable.append(error)
        else:
            sizes[path] = (height, width)
            deep |= picture.header.depth > depth.FEWEST
    return sizes, deep, unreadable


def list_shares(mask: "np.ndarray", classes: tuple[str, ...]) -> str:
    """Each class with its share of the pixels."""
    import numpy as np

    pixels = np.bincount(mask.ravel(), minlength=len(classes))
    return "  ".join(
        f"{name} {share:.1%}"
        for name, share in zip(classes, pixels / mask.size, strict=True)
    )


def write_probabilities(
    out: Path, paths: list[Path], probabilities: list["np.ndarray"]
) -> None:
    """Writes `STEM_probabilities.npy`, float16 `[height, width, classes]`."""
    import numpy as np

    for path, values in zip(paths, probabilities, strict=True):
        file = out / f"{path.stem}_probabilities.npy"
        with naming(file):
            np.save(file, values.astype(np.float16))


def choose_bits(given: int | None, recorded: int | None, run: str) -> tuple[int, str]:
    """Bits in use by images of more than 8, and why it is these.

    Args:
        given: by the user.
        recorded: with the run.
        run: its folder, for people.
    """
    if given is not None:
        return given, "--bits"
    if recorded is None:
        return 16, f"{run} does not record it; --bits N says otherwise"
    return recorded, f"as {run} was trained; --bits N says otherwise"


def find_images(path: Path) -> tuple[list[Path], list[str]]:
    """The image itself, or the images of a folder; and, in words, what else it holds.

    Raises:
        UserError: there is none.
    """
    from resseg.data.files import images_and_others
    from resseg.data.reading import IMAGE_SUFFIXES

    if path.is_file():
        return [path], []
    if not path.is_dir():
        raise UserError(
            f"{path}: does not exist; expected an image or a folder of them"
        )
    images, others = images_and_others(path, IMAGE_SUFFIXES)
    if not images:
        kinds = ", ".join(IMAGE_SUFFIXES)
        besides = "".join(f"; {line}" for line in others)
        raise UserError(
            f"{path}: no image in it; expected files ending in {kinds}{besides}"
        )
    return images, others


def make_output(
    out: Path, images: list[Path], windows: Container[Path], probabilities: bool
) -> Path:
    """Makes the folder, once every file that is to go there can.

    Args:
        out: the folder.
        images: all of them.
        windows: those that become a TIFF.
        probabilities: whether they are written.

    Raises:
        UserError: it cannot be written to, or holds the inputs; two images would be
            written to one file; something is in the way.
    """
    from resseg.inference.predictor import file_names
    from resseg.runs.places import make_folder

    if any(image.parent.resolve() == out.resolve() for image in images):
        raise UserError(f"--out {out}: holds the input images; choose another folder")

    def names(image: Path) -> list[str]:
        if image in windows:
            return predict_windows.file_names(image, probabilities)
        return file_names(image.stem, probabilities)

    files = [(image, out / name) for image in images for name in names(image)]
    make_folder("--out", out)
    outputs.check_each_apart("--out", files, images)
    return out
