"""40 images to train on and 60 others, all 256 x 256, of a folder of nuclei.

python experiments/few_images/prepare.py NUCLEI [DATA_DIR]

NUCLEI has train/images and train/masks; the data set is `nuclei_few`. The draw is that
of a fixed seed.
"""

import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, TRAIN, VAL = 256, 40, 60


def main(nuclei: str, data_dir: str = "data") -> None:
    images = sorted((Path(nuclei) / "train" / "images").iterdir())
    sized = [path for path in images if Image.open(path).size == (SIDE, SIDE)]
    drawn = np.random.default_rng(0).permutation(len(sized))[: TRAIN + VAL]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for kind in ("images", "masks"):
            (root / kind).mkdir()
        rows = []
        for rank, index in enumerate(drawn):
            image = sized[index]
            shutil.copy(image, root / "images")
            mask = Path(nuclei) / "train" / "masks" / f"{image.stem}.png"
            shutil.copy(mask, root / "masks")
            rows.append(("train" if rank < TRAIN else "val", image.stem))
        with (root / "split.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("split", "name"), *rows])
        command = [sys.executable, "-m", "resseg", "data", "prepare", "nuclei_few"]
        command += ["--images", str(root / "images"), "--masks", str(root / "masks")]
        command += ["--classes", "background,nucleus,border"]
        command += ["--split-file", str(root / "split.csv"), "--dir", data_dir]
        raise SystemExit(subprocess.run(command).returncode)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("prepare.py: expected NUCLEI [DATA_DIR]")
    main(*sys.argv[1:])
