"""`resseg predict`: images of any size -> class masks, pictures, probabilities."""

import argparse
import sys
from pathlib import Path

from resseg.cli import options
from resseg.errors import UserError

SUMMARY = "segment your images with a trained run"
EPILOG = """\
examples:
  resseg predict runs/cells photo.jpg --out segmented
  resseg predict runs/cells photos --out segmented --probabilities

Images may have any size. For each, DIR gets a PNG of class indices and a colour
overlay."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
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
    options.add_step(parser)


def run(arguments: argparse.Namespace) -> int:
    """Segments each image.

    Images that cannot be read are left out; they are named at the end, and the status
    is 2.

    Raises:
        UserError: there is no such run, checkpoint or image; the folder cannot be made.
    """
    import numpy as np

    from resseg.console import say
    from resseg.data.reading import IMAGE_SUFFIXES, read_image
    from resseg.inference.predictor import Predictor, write_pictures
    from resseg.inference.trained import load_trained
    from resseg.runs import open_run

    run = open_run(arguments.run)
    count = len(run.classes)
    images = find_images(Path(arguments.images))
    out = make_output(Path(arguments.out), images)
    trained = load_trained(run, arguments.step)
    predict = Predictor(trained)
    unreadable: list[UserError] = []
    for done, path in enumerate(images, 1):
        try:
            image = read_image(path)
        except UserError as error:
            unreadable.append(error)
            continue
        probabilities = predict(image)
        classes = probabilities.argmax(-1).astype(np.uint8)
        write_pictures(out / path.stem, image, classes, count)
        if arguments.probabilities:
            np.save(
                out / f"{path.stem}_probabilities.npy", probabilities.astype(np.float16)
            )
        pixels = np.bincount(classes.ravel(), minlength=count)
        listed = "  ".join(
            f"{name} {share:.1%}"
            for name, share in zip(trained.classes, pixels / classes.size, strict=True)
        )
        say(f"{done}/{len(images)}  {path.name}  {listed}")
    if len(unreadable) < len(images):
        say(
            f"step {trained.step}, in {out}: NAME.png (class indices, nearly black), "
            "NAME_color.png, NAME_overlay.png"
        )
    skipped = count_others(Path(arguments.images), images)
    if skipped:
        say(f"{skipped} files left out: not {', '.join(IMAGE_SUFFIXES)}")
    for error in unreadable:
        print(f"resseg: error: {error}", file=sys.stderr)
    return 2 if unreadable else 0


def find_images(path: Path) -> list[Path]:
    """The image itself, or the images of a folder in order.

    Raises:
        UserError: there is none.
    """
    from resseg.data.reading import IMAGE_SUFFIXES

    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(
            f"{path}: does not exist; expected an image or a folder of them"
        )
    images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise UserError(f"{path}: no image in it; expected files ending in {kinds}")
    stems: dict[str, Path] = {}
    for image in images:
        if image.stem in stems:
            raise UserError(
                f"{image}: {stems[image.stem].name} would be written to the same "
                "files; rename one"
            )
        stems[image.stem] = image
    return images


def count_others(path: Path, images: list[Path]) -> int:
    """How many files of a folder are no images; 0 for an image itself."""
    if not path.is_dir():
        return 0
    files = [p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")]
    return len(set(files) - set(images))


def make_output(out: Path, images: list[Path]) -> Path:
    """Makes the folder; refuses one where an input image would be overwritten.

    Raises:
        UserError: it cannot be written to, or holds the inputs.
    """
    if any(image.parent.resolve() == out.resolve() for image in images):
        raise UserError(f"--out {out}: holds the input images; choose another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made ({error.strerror})") from error
    return out
