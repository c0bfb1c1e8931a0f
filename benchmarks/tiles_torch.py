"""The peer of `benchmarks.tiles`: MONAI's sliding window over a network of torch.

    python -m benchmarks.tiles_torch WEIGHTS SIDE TILE OUT

It predicts with each memory format and batch of tiles once, then at the fastest when
told, as `benchmarks.torch_side`. OUT are its probabilities of the first tile.
"""

import itertools
import sys
import time

import monai
import numpy as np
import torch
from monai.inferers import sliding_window_inference

from benchmarks.networks import NETWORKS, answer
from benchmarks.torch_side import build

FORMATS = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
BATCHES = (1, 8)  # tiles


def image_of(side: int) -> np.ndarray:
    """As `benchmarks.tiles.image_of`, where JAX is not."""
    draw, image = np.random.default_rng(0), np.zeros((side, side, 3), np.float32)
    for size in (side, side // 8, side // 32):
        noise = draw.normal(size=(size, size, 3)).astype(np.float32)
        image += noise.repeat(side // size, 0).repeat(side // size, 1)
    return image


class Window:
    """The sliding window at one setting."""

    def __init__(self, weights: str, side: int, tile: int, form: str, batch: int):
        model = build(NETWORKS["unet"])
        with np.load(weights) as tensors:
            state = {key: torch.from_numpy(value) for key, value in tensors.items()}
        model.load_state_dict(state)
        self.model = model.eval().to(memory_format=FORMATS[form])
        image = torch.from_numpy(image_of(side)).permute(2, 0, 1)[None]
        self.image, self.form = image.contiguous(), FORMATS[form]
        self.tile, self.batch, self.tiles = tile, batch, 0

    def softmax(self, tiles: torch.Tensor) -> torch.Tensor:
        self.tiles += len(tiles)
        return self.model(tiles.contiguous(memory_format=self.form)).softmax(1)

    def predict(self) -> torch.Tensor:
        """Class of each pixel, `[side, side]`."""
        self.tiles = 0
        with torch.inference_mode():
            mean = sliding_window_inference(
                self.image,
                (self.tile, self.tile),
                self.batch,
                self.softmax,
                overlap=0.5,
                mode="gaussian",
                sigma_scale=0.125,
            )
        return mean[0].argmax(0)

    def seconds(self) -> float:
        self.predict()
        began = time.perf_counter()
        self.predict()
        return time.perf_counter() - began


def main(weights: str, side: str, tile: str, out: str) -> None:
    settings = itertools.product(FORMATS, BATCHES)
    windows = {each: Window(weights, int(side), int(tile), *each) for each in settings}
    best = min(windows, key=lambda each: windows[each].seconds())
    window = windows[best]
    with torch.inference_mode():
        first = window.softmax(window.image[..., : window.tile, : window.tile])
    np.save(out, first[0].permute(1, 2, 0).numpy())
    window.predict()
    version = f"MONAI {monai.__version__}, torch {torch.__version__}, {best[0]}, "
    version += f"{best[1]} tiles at a time"
    said = {"tiles": window.tiles, "version": version}
    answer(lambda: window.predict().sum(), said)


if __name__ == "__main__":
    main(*sys.argv[1:])
