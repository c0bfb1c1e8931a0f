"""The embedded data set: procedural scenes with an exact mask.

Discs, squares, triangles and rings carry stripes or checks, hide each other and lie on
a blotchy ground under uneven light; thin wires cross them, a small star is rare. What
lacks the texture of its class is a decoy and belongs to the background, so that shape
and texture both count. As `difficulty` rises the colours of the classes run into each
other. Glare, and the outline of some objects, is void.

Each image follows from (seed, split, index) alone, so any part of the data set can be
drawn again, in any order.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from resseg.data.scene import (
    DECOY,
    DISC,
    RING,
    SQUARE,
    STAR,
    TRIANGLE,
    WIRE,
    Scene,
)
from resseg.data.writing import dataset_folder, is_complete, write_dataset
from resseg.errors import UserError

CLASSES = ("background", "disc", "square", "triangle", "ring", "wire", "star")

_REVISION = 1  # one more whenever a scene is drawn differently: old images stay apart
_SPLITS = ("train", "val")

_STAR_SHARE = 0.45  # of the images that hold a star


def prepare(data_config) -> Path:
    """Folder of the data set that `config.data.shapes` describes; drawn on first use.

    Raises:
        UserError: a setting out of range, or a folder that cannot be written.
    """
    settings = _settings(data_config.shapes)
    digest = hashlib.sha256(json.dumps([_REVISION, settings]).encode()).hexdigest()
    folder = dataset_folder(data_config.dir, "shapes", digest[:12])
    if not is_complete(folder):
        counts = (settings["train_images"], settings["val_images"])
        splits = {
            split: lambda split=split, count=count: _split(settings, split, count)
            for split, count in zip(_SPLITS, counts, strict=True)
        }
        print(f"drawing data set shapes into {folder}", file=sys.stderr, flush=True)
        try:
            write_dataset(
                data_config.dir, "shapes", CLASSES, splits, variant=digest[:12]
            )
        except (OSError, UserError):
            # Another process, of the same sweep, may have been quicker.
            if not is_complete(folder):
                raise
    return folder


def draw(shapes_config, split: str, index: int) -> dict:
    """Draws one image.

    Args:
        shapes_config: `config.data.shapes`.
        split: "train" or "val".
        index: position in the split.

    Returns:
        `image` uint8 `[height, width, 3]`, `mask` uint8 `[height, width]`, `name`.
    """
    return _draw(_settings(shapes_config), split, index)


def _split(settings: dict, split: str, count: int) -> Iterator[dict]:
    for index in range(count):
        yield _draw(settings, split, index)


def _settings(shapes_config) -> dict:
    height, width = shapes_config.size
    settings = {
        "train_images": int(shapes_config.train_images),
        "val_images": int(shapes_config.val_images),
        "size": [int(height), int(width)],
        "objects": float(shapes_config.objects),
        "difficulty": float(shapes_config.difficulty),
        "seed": int(shapes_config.seed),
    }
    for key, least, most in (
        ("train_images", 1, 10**7),
        ("val_images", 1, 10**7),
        ("objects", 0, 200),
        ("difficulty", 0, 1),
        ("seed", 0, 2**63),
    ):
        if not least <= settings[key] <= most:
            value = f"config.data.shapes.{key}={settings[key]:g}"
            raise UserError(f"{value}: expected {least} to {most}")
    if min(settings["size"]) < 16:
        raise UserError(
            f"config.data.shapes.size={tuple(settings['size'])}: expected (height, "
            "width) of at least 16 pixels"
        )
    return settings


def _draw(settings: dict, split: str, index: int) -> dict:
    rng = np.random.default_rng([settings["seed"], _SPLITS.index(split), index])
    scene = Scene(rng, settings["size"], settings["difficulty"])
    objects = settings["objects"]
    number = rng.integers(round(0.6 * objects), round(1.4 * objects) + 1)
    decoys = 0.2 * settings["difficulty"]
    kinds = list(
        rng.choice(
            (DECOY, DISC, SQUARE, TRIANGLE, RING, WIRE),
            size=number,
            p=(decoys, *4 * [0.215 * (1 - decoys)], 0.14 * (1 - decoys)),
        )
    )
    if rng.random() < _STAR_SHARE:
        kinds.insert(rng.integers(len(kinds) // 2, len(kinds) + 1), STAR)
    for kind in kinds:
        scene.add(int(kind))
    if rng.random() < 0.4:
        scene.glare()
    image = scene.photograph()
    return {"image": image, "mask": scene.mask, "name": f"{split}-{index:05d}"}
