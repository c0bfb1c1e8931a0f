"""A picture of what training will see: augmented images with their masks."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resseg.data import pipeline, sources
from resseg.data.colors import overlay, palette
from resseg.data.spec import VOID, DatasetSpec
from resseg.data.transforms import make_train_transform
from resseg.errors import UserError, naming

_GAP = 8  # pixels between tiles
_LINE = 18  # height of a line of text, pixels
_WIDTH = 2100  # of the sheet, pixels, about
_TILE = 192  # crops smaller than this are enlarged
_INK = (20, 20, 20)
_PAPER = (255, 255, 255)


def write_contact_sheet(
    data_config, path: str | Path, batches: int = 1, seed: int = 0
) -> Path:
    """Writes `batches * data.batch_size` training crops, each beside its overlay.

    The crops pass through the augmentation of training, in an order of their own.

    Args:
        data_config: the `data` section of a config.
        path: of the PNG; its folder is made.
        batches: how many batches to draw.
        seed: of the choice of images and of the augmentation.

    Returns:
        The path.

    Raises:
        UserError: the data set is not prepared, or `batches` is not positive.
    """
    if batches < 1:
        raise UserError(f"--batches {batches}: expected 1 or more")
    spec = sources.dataset_spec(data_config)
    examples = _draw(data_config, spec, batches * data_config.batch_size, seed)
    height, width = data_config.crop
    title = (
        f"{spec.name}, split {data_config.split}: {len(examples)} training crops of "
        f"{height}x{width} (height x width), void is darkened"
    )
    sheet = _sheet(title, spec, examples)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        sheet.save(path, format="PNG")
    return path


def _draw(
    data_config, spec: DatasetSpec, count: int, seed: int
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, uint8 image and int label of each example, after augmentation."""
    source = sources.open_split(data_config, data_config.split)
    transform = make_train_transform(data_config, pipeline.rare_classes(data_config))
    rng = np.random.default_rng(seed)
    epochs = math.ceil(count / len(source))
    order = np.concatenate([rng.permutation(len(source)) for _ in range(epochs)])
    mean, std = np.array(data_config.mean), np.array(data_config.std)
    examples = []
    for index in order[:count].tolist():
        record = source[index]
        example = transform(record, rng)
        image = np.rint(255 * (example["image"] * std + mean)).clip(0, 255)
        examples.append((record["name"], image.astype(np.uint8), example["label"]))
    return examples


def _sheet(
    title: str, spec: DatasetSpec, examples: list[tuple[str, np.ndarray, np.ndarray]]
) -> Image.Image:
    height, width = examples[0][2].shape
    zoom = max(1, round(_TILE / max(height, width)))
    height, width = zoom * height, zoom * width
    cell_width, cell_height = 2 * width + _GAP // 4, height + _LINE
    columns = max(1, min(len(examples), _WIDTH // (cell_width + _GAP)))
    rows = math.ceil(len(examples) / columns)
    full_width = max(columns * (cell_width + _GAP) + _GAP, 700)
    shares = _shares(spec.num_classes, [label for _, _, label in examples])
    legend = _legend(spec, shares, full_width)
    top = _GAP + _LINE + legend.height + _GAP
    sheet = Image.new("RGB", (full_width, top + rows * (cell_height + _GAP)), _PAPER)
    ink = ImageDraw.Draw(sheet)
    ink.text((_GAP, _GAP // 2), title, _INK, ImageFont.load_default(15))
    sheet.paste(legend, (0, _GAP + _LINE))
    font = ImageFont.load_default(12)
    for number, (name, image, label) in enumerate(examples):
        row, column = divmod(number, columns)
        x = _GAP + column * (cell_width + _GAP)
        y = top + row * (cell_height + _GAP)
        painted = overlay(image, label.astype(np.uint8), spec.num_classes)
        for part, left in ((image, x), (painted, x + cell_width - width)):
            tile = np.kron(part, np.ones((zoom, zoom, 1), np.uint8))
            sheet.paste(Image.fromarray(tile), (left, y))
        ink.text((x, y + height + 1), _fit(name, cell_width, font), _INK, font)
    return sheet


def _shares(num_classes: int, labels: list[np.ndarray]) -> np.ndarray:
    """Share of the labelled pixels per class, `[num_classes]`."""
    pixels = np.zeros(256, np.int64)
    for label in labels:
        pixels += np.bincount(label.ravel(), minlength=256)
    pixels[VOID] = 0
    return pixels[:num_classes] / max(int(pixels.sum()), 1)


def _legend(spec: DatasetSpec, shares: np.ndarray, width: int) -> Image.Image:
    """A coloured square, the name and the share of every class, wrapped to `width`."""
    font = ImageFont.load_default(13)
    placed, x, y = [], _GAP, 0
    for index, name in enumerate(spec.classes):
        text = f"{index} {name} {shares[index]:.1%}"
        needed = _LINE + int(font.getlength(text)) + 2 * _GAP
        if x + needed > width and x > _GAP:
            x, y = _GAP, y + _LINE
        placed.append((x, y, index, text))
        x += needed
    legend = Image.new("RGB", (width, y + _LINE), _PAPER)
    ink = ImageDraw.Draw(legend)
    colors = palette(spec.num_classes)
    for x, y, index, text in placed:
        square = (x, y + 2, x + _LINE - 6, y + _LINE - 4)
        ink.rectangle(square, tuple(colors[index].tolist()), _INK)
        ink.text((x + _LINE, y), text, _INK, font)
    return legend


def _fit(text: str, width: int, font) -> str:
    """The text, shortened in the middle until it is no wider than `width` pixels."""
    short, kept = text, len(text)
    while font.getlength(short) > width and kept > 2:
        kept -= 1
        short = f"{text[: kept // 2]}...{text[len(text) - kept // 2 :]}"
    return short
