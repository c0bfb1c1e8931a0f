"""Recipes as published, on miniatures of the trees that the official archives have."""

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from resseg.cli.main import main
from resseg.config.load import load_config
from resseg.data import sources

ROOT = Path(__file__).parents[2]
SIZE = (40, 56)


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, path.stem))
    values = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3))
    Image.fromarray(values.astype(np.uint8)).save(path)


def mask(path, values, palette=False):
    """Stripes of these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.array(values)[np.arange(SIZE[1]) * len(values) // SIZE[1]]
    picture = Image.fromarray(np.tile(stripes.astype(np.uint8), (SIZE[0], 1)))
    if palette:
        picture = picture.convert("P")
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    picture.save(path)


def pets(root):
    for name in "abcd":
        image(root / f"images/{name}.jpg")
        mask(root / f"annotations/trimaps/{name}.png", (1, 2, 3))
        (root / f"annotations/trimaps/._{name}.png").write_text("of a Mac")
    (root / "annotations/list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n")
    (root / "annotations/trainval.txt").write_text("a 1 1 1\nb 2 1 1\nc 2 1 1\n")
    (root / "annotations/test.txt").write_text("d 1 1 1\n")
    return [1, 0, 1]


def cityscapes(root):
    for split, name in (("train", "a_0"), ("train", "a_1"), ("val", "b_0")):
        folder = f"{split}/{name[0]}/{name}"
        image(root / f"leftImg8bit/{folder}_leftImg8bit.png")
        mask(root / f"gtFine/{folder}_gtFine_labelIds.png", (7, 0, 33))
    return [0, 255, 18]


def voc(root):
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for name in "abcd":
        image(root / f"JPEGImages/{name}.jpg")
        mask(root / f"SegmentationClass/{name}.png", (0, 20, 255), palette=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    (lists / "train_aug.txt").write_text("a\nb\nd\n")
    return [0, 20, 255]


def ade20k(root):
    for part, name in (("training", "a"), ("training", "b"), ("validation", "c")):
        image(root / f"images/{part}/{name}.jpg")
        mask(root / f"annotations/{part}/{name}.png", (0, 1, 150))
    return [255, 0, 149]


def coco_stuff(root):
    for part, name in (("train2017", "1"), ("train2017", "2"), ("val2017", "3")):
        image(root / f"images/{part}/{name:0>12}.jpg")
        mask(root / f"annotations/{part}/{name:0>12}.png", (0, 12, 181, 255))
    return [0, 11, 170, 255]


def camvid(root):
    for split, name in (("train", "a"), ("train", "b"), ("val", "c"), ("test", "d")):
        image(root / f"{split}/{name}.png")
        mask(root / f"{split}annot/{name}.png", (0, 10, 11))
    return [0, 10, 255]


RECIPES = {
    "pets/fpn": (pets, 2),
    "cityscapes/deeplab": (cityscapes, 19),
    "voc/deeplab": (voc, 21),
    "ade20k/deeplab": (ade20k, 150),
    "coco_stuff/deeplab": (coco_stuff, 171),
    "camvid/fpn": (camvid, 11),
}


def masks_of(data, name):
    """Every mask of a data set."""
    config = ConfigDict({"name": name, "dir": str(data)})
    for split in sources.dataset_spec(config).splits:
        source = sources.open_split(config, split)
        yield from (source[index]["mask"] for index in range(len(source)))


def prepared(name, folder):
    """The data set of a recipe by the command in its docstring; classes expected."""
    make, count = RECIPES[name]
    said = ast.get_docstring(ast.parse((ROOT / f"configs/{name}.py").read_text()))
    (line,) = re.findall(r"^resseg (data prepare .*)$", said, re.M)
    words = shlex.split(line)
    place = words.index("--folder") + 1
    words[place] = str(folder / words[place])
    expected = make(Path(words[place]))
    assert main([*words, "--dir", str(folder / "data")]) == 0
    return words[2], count, expected


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_of_a_recipe_prepares_what_it_trains_on(name, tmp_path, capsys):
    prepared_name, count, expected = prepared(name, tmp_path)
    config = load_config(name, {"data.dir": str(tmp_path / "data")})
    assert config.data.name == prepared_name
    spec = sources.dataset_spec(config.data)
    assert spec.num_classes == count and len(set(spec.classes)) == count
    assert {config.data.split, config.data.eval_split} <= set(spec.splits)
    for labels in masks_of(tmp_path / "data", prepared_name):
        middles = SIZE[1] * (2 * np.arange(len(expected)) + 1) // (2 * len(expected))
        stripes = labels[0, middles]
        assert stripes.tolist() == expected


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_its_number_and_source(name):
    said = ast.get_docstring(ast.parse((ROOT / f"configs/{name}.py").read_text()))
    assert re.search(r"Published: (\d\d\.\d\d mIoU|IoU 0\.\d{4})", said)
    assert re.search(r"MMSegmentation|segmentation_models\.pytorch", said)
    assert "As there, except" in said


def test_pets_have_three_classes_where_the_border_is_one(tmp_path):
    pets(tmp_path / "tree")
    words = ["data", "prepare", "pets3", "--layout", "pets", "--dir", str(tmp_path)]
    assert main([*words, "--folder", str(tmp_path / "tree")]) == 0
    for labels in masks_of(tmp_path, "pets3"):
        assert np.unique(labels).tolist() == [0, 1, 2]
    (tmp_path / "tree/annotations/test.txt").unlink()
    words[2] = "again"
    assert main([*words, "--folder", str(tmp_path / "tree")]) == 2


# One of each library every day: all six take minutes.
EVERYDAY = ("pets/fpn", "voc/deeplab")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in EVERYDAY else pytest.mark.slow)
        for name in RECIPES
    ],
)
def test_a_recipe_trains_on_its_miniature(name, tmp_path):
    prepared(name, tmp_path)
    changes = {
        **{
            "data.dir": tmp_path / "data",
            "data.batch_size": 2,
            "mesh.data": 1,
            "data.crop": "32,32",
        },
        **{"model.backbone.width": 16, "model.head.width": 8, "train.steps": 1},
        **{"model.backbone.stage_sizes": "1,1,1,1", "eval.predictions": 0},
    }
    words = [f"--config.{key}={value}" for key, value in changes.items()]
    run = tmp_path / "run"
    assert main(["train", "--config", name, "--workdir", str(run), *words]) == 0
    assert any(run.iterdir())
