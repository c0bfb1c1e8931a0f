"""`resseg predict`: images of any size -> class masks, pictures, probabilities."""

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from resseg.architecture import padding_multiple
from resseg.console import say
from resseg.data.colors import overlay, palette
from resseg.data.reading import IMAGE_SUFFIXES, read_image
from resseg.data.transforms import normalize
from resseg.errors import UserError
from resseg.inference.trained import Trained, load_trained
from resseg.runs import open_run


class Predictor:
    """Class probabilities of single images; compiles once per padded size."""

    def __init__(self, trained: Trained):
        self._data = trained.config.data
        self._multiple = padding_multiple(trained.config.model)
        self._variables = jax.device_put(trained.variables)

        @jax.jit
        def probabilities(variables, images):
            outputs: Any = trained.model.apply(variables, images, train=False)
            return jax.nn.softmax(outputs["logits"])

        self._probabilities = probabilities

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB `[height, width, 3]` -> float32 `[height, width, classes]`."""
        height, width = image.shape[:2]
        pixels = normalize(image, self._data.mean, self._data.std)
        padding = ((0, -height % self._multiple), (0, -width % self._multiple), (0, 0))
        padded = jnp.asarray(np.pad(pixels, padding)[None])
        result = jax.device_get(self._probabilities(self._variables, padded))
        return result[0, :height, :width]


def find_images(path: Path) -> list[Path]:
    """The image itself, or the images of a folder in order.

    Raises:
        UserError: there is none.
    """
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


def run_command(args: argparse.Namespace) -> int:
    """`resseg predict RUN IMAGE_OR_DIR --out DIR [--probabilities] [--step N]`.

    Images that cannot be read are left out; they are named at the end, and the status
    is 2.
    """
    run = open_run(args.run)
    count = len(run.classes)
    images = find_images(Path(args.images))
    out = make_output(Path(args.out), images)
    trained = load_trained(run, args.step)
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
        painted = overlay(image, classes, count)
        cv2.imwrite(str(out / f"{path.stem}.png"), classes)
        write_colors(out / f"{path.stem}_color.png", classes, count)
        cv2.imwrite(str(out / f"{path.stem}_overlay.png"), painted[..., ::-1])
        if args.probabilities:
            np.save(
                out / f"{path.stem}_probabilities.npy", probabilities.astype(np.float16)
            )
        shares = np.bincount(classes.ravel(), minlength=count) / classes.size
        listed = "  ".join(
            f"{name} {share:.1%}"
            for name, share in zip(trained.classes, shares, strict=True)
        )
        say(f"{done}/{len(images)}  {path.name}  {listed}")
    if len(unreadable) < len(images):
        say(
            f"step {trained.step}, in {out}: NAME.png (class indices, nearly black), "
            "NAME_color.png, NAME_overlay.png"
        )
    skipped = count_others(Path(args.images), images)
    if skipped:
        say(f"{skipped} files left out: not {', '.join(IMAGE_SUFFIXES)}")
    for error in unreadable:
        print(f"resseg: error: {error}", file=sys.stderr)
    return 2 if unreadable else 0


def count_others(path: Path, images: list[Path]) -> int:
    """How many files of a folder are no images; 0 for an image itself."""
    if not path.is_dir():
        return 0
    files = [p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")]
    return len(set(files) - set(images))


def write_colors(path: Path, classes: np.ndarray, count: int) -> None:
    """A palette PNG: a viewer shows colours, Pillow reads the class indices.

    OpenCV reads the colours of a palette, so this cannot stand for the mask itself.
    """
    height, width = classes.shape
    picture = Image.frombytes("P", (width, height), classes.tobytes())
    picture.putpalette(palette(count).tobytes())
    picture.save(path)


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
