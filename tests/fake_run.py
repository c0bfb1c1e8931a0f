"""A run folder whose gradient norms are known."""

from types import SimpleNamespace

import numpy as np

from resseg.gradients.statistics import TapStatistics
from resseg.runs import RunWriter, prepare, write_config
from resseg.runs.gradients_table import block_rows, rows


def fork(name, kind, *paths):
    return SimpleNamespace(name=name, kind=kind, paths=paths, shape=(1, 2, 2, 1))


FORKS = (
    fork("stage1/block1", "block", "shortcut", "branch"),
    fork("head/skip1", "long_skip", "skip", "deeper"),
    fork("stage2/block1", "block", "shortcut", "branch"),
    fork("stage3/block1", "block", "shortcut", "branch"),
    fork("aux", "auxiliary", "aux", "deeper"),
    fork("head/pyramid", "pyramid", "1x1", "rate6", "image"),
)


def with_inner(squares):
    """Adds the inner product that the squares of two paths and of their sum imply."""
    squares = np.array(squares, float)
    inner = np.zeros((len(squares), 1))
    if len(squares) == 3:
        with np.errstate(invalid="ignore"):
            inner[:2] = (squares[2, 0] - squares[0, 0] - squares[1, 0]) / 2
    return TapStatistics(np.hstack([squares, inner]))


def write_fake_run(folder, steps=6, config=None, loss_pixels=2):
    """A run whose gradient norms are known: stage1 1, stage2 dead, stage3 4.

    Step 2 is not finite in the long skip and in stage1.
    """
    from ml_collections import ConfigDict

    folder = prepare(folder)
    write_config(folder, ConfigDict(config or {"seed": 0}))
    with RunWriter(folder, tensorboard=False, resume_step=None) as writer:
        for step in range(1, steps + 1):
            # Sums of squares per path and of the sum; site norm = sqrt / 2 * 2.
            taps = {
                "stage1/block1": [[0.75, 0], [0.25, 0], [1, 0]],
                "head/skip1": [[1, 0], [1, 0], [4, 0]],
                "stage2/block1": [[0, 0], [9, 0], [9, 0]],
                "stage3/block1": [[12, 0], [4, 0], [16, 0]],
                "aux": [[1, 0], [99, 0], [100, 0]],
                "head/pyramid": [[2, 0], [1, 0], [1, 0], [4, 0]],
            }
            if step == 2:
                taps["stage1/block1"] = [[np.nan, 3], [np.nan, 3], [np.nan, 3]]
                taps["head/skip1"] = [[np.inf, 1], [1, 0], [np.inf, 1]]
            taps = {name: with_inner(value) for name, value in taps.items()}
            writer.write_gradients(step, rows(step, FORKS, taps, loss_pixels))
            squares = [{"stage1": value} for value in (4.0, 1.0, 1e-4)]
            writer.write_blocks(step, block_rows(step, *squares))
    return folder
