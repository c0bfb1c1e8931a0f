"""Tiles lie where they should, and blending them changes nothing that they agree on."""

import math

import jax
import numpy as np
import pytest
from runs_without_training import CLASSES, TINY, drawn
from scipy import stats

from resseg import sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.inference import mosaic
from resseg.inference.averaging import BLENDS, Averaging, stride_of
from resseg.inference.ensemble import Ensemble
from resseg.inference.trained import Trained


def grid_of(side, overlap, blend="hann", multiple=4, reach=math.inf):
    averaging = Averaging(tile=side, overlap=overlap, blend=blend)
    apart = stride_of(averaging, multiple)
    return mosaic.make_grid(side, apart, blend, multiple, reach)


def tiny_trained():
    config = load_config("quickstart", TINY | {"model.head.name": "unet"})
    blueprint = Blueprint.of(config, len(CLASSES))
    return Trained(config, CLASSES, blueprint, drawn(config, 0), step=1)


def whole(image, grid, predict, batch=3):
    """Blended over all blocks."""
    size = image.shape[:2]
    values = None
    for rows, columns in mosaic.blocks(*size, grid, 3):
        block = mosaic.probabilities(
            lambda r, c: image[np.ix_(r, c)], size, rows, columns, grid, predict, batch
        )
        values = np.full((*size, 3), np.nan, np.float32) if values is None else values
        values[rows, columns] = block
    return values


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("size", [(1, 1), (5, 40), (32, 33), (61, 7)])
def test_tiles_that_say_what_they_see_give_the_image(size, overlap, blend):
    image = np.random.default_rng(0).uniform(0.5, 1, (*size, 3)).astype(np.float32)
    grid = grid_of(16, overlap, blend)
    np.testing.assert_allclose(
        whole(image, grid, lambda tiles, _: tiles), image, atol=2e-6
    )


def test_what_a_pixel_becomes_does_not_depend_on_blocks(monkeypatch):
    image = np.random.default_rng(0).normal(size=(70, 53, 3)).astype(np.float32)
    grid = grid_of(16, 0.5)

    def predict(tiles, _):  # what a network might see: not the same at all places
        return np.cumsum(tiles, axis=1)

    once = whole(image, grid, predict)
    monkeypatch.setattr(mosaic, "BLOCK_BYTES", 16 * 16 * 3 * 4)
    assert len(list(mosaic.blocks(70, 53, grid, 3))) > 8
    np.testing.assert_array_equal(whole(image, grid, predict, batch=2), once)


def test_every_pixel_lies_half_an_overlap_inside_of_some_tile():
    for length in (1, 15, 16, 17, 100):
        grid = grid_of(16, 0.5)
        inside = np.zeros(length, int)
        for number in range(grid.count(length)):
            begin = max(grid.start(number) + 4, 0)
            inside[begin : grid.start(number) + 12] += 1
        assert inside.min() == 1 and grid.count(length) == math.ceil((length + 0) / 8)


def test_tiles_begin_at_multiples_of_the_stride():
    for side, overlap in ((16, 0.3), (32, 0.4), (48, 0.6)):
        grid = grid_of(side, overlap)
        assert grid.border % 4 == grid.apart % 4 == 0
        assert side * (1 - overlap) - 4 < grid.apart <= side * (1 - overlap)


def test_what_a_tile_cannot_know_counts_nowhere_if_there_is_room():
    grid = grid_of(16, 0.5, reach=3)
    assert grid.margin == 3 and grid.weights[:3].max() == 0 < grid.weights[3:-3].min()
    assert grid_of(16, 0.5, reach=4).margin == 4
    assert grid_of(16, 0.5, reach=5).margin == 0

    def predict(tiles, _):  # knows nothing of 3 pixels at each border
        tiles = tiles.copy()
        tiles[:, :3] = tiles[:, -3:] = tiles[:, :, :3] = tiles[:, :, -3:] = 1e9
        return tiles

    image = np.random.default_rng(0).normal(size=(41, 30, 3)).astype(np.float32)
    np.testing.assert_allclose(whole(image, grid, predict), image, atol=2e-6)


def test_borders_are_reflected():
    assert mosaic.reflected(-3, 7, 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert mosaic.reflected(-2, 3, 1).tolist() == [0] * 5
    assert mosaic.reflected(-2, 5, 2).tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_interior_scores_are_those_of_the_whole_image():
    trained = tiny_trained()
    ensemble = Ensemble([trained], Averaging(tile=96), sharding.make_mesh(1))
    grid = ensemble.grid
    assert 0 < grid.margin <= 24

    @jax.jit
    def scores(images):
        return trained.model.apply(trained.variables, images, train=False)["logits"]

    image = np.random.default_rng(0).normal(size=(160, 128, 3)).astype(np.float32)
    expected = np.asarray(scores(image[None])[0])
    inside = (slice(grid.margin, -grid.margin),) * 2
    spread = np.ptp(expected)

    def furthest(grid):
        found = whole(image, grid, lambda tiles, _: np.asarray(scores(tiles)))
        return np.abs(found - expected)[inside].max() / spread

    assert furthest(grid) < 1e-5
    # Without the margin they are not.
    everywhere = mosaic.make_grid(96, grid.apart, "hann", 4, math.inf)
    assert furthest(everywhere) > 1e-3


@pytest.mark.parametrize("blend", BLENDS)
def test_no_seam_is_seen_where_tiles_meet(blend):
    """Tiles that disagree, as each sees its own mean: steps at their borders are drawn
    from the distribution of all others (Kolmogorov-Smirnov)."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(256, 512, 3)).astype(np.float32)
    image += np.linspace(0, 4, 512, dtype=np.float32)[None, :, None] ** 2

    def predict(tiles, _):
        return tiles + 4 * (tiles.mean((1, 2), keepdims=True) % 1)

    def p_value(grid):
        steps = np.abs(np.diff(whole(image, grid, predict), axis=1))
        borders = np.zeros(512, bool)
        for number in range(grid.count(512)):
            for border in (grid.start(number), grid.start(number) + grid.side):
                if 0 < border < 512:
                    borders[border] = True
        at = borders[1:]
        return stats.ks_2samp(steps[:, at].ravel(), steps[:, ~at].ravel()).pvalue

    assert p_value(grid_of(64, 0.5, blend)) > 0.01
    assert p_value(grid_of(64, 0.0, blend)) < 1e-6  # the test sees seams
