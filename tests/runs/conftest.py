import numpy as np
import pytest

from resseg.gradients.statistics import TapStatistics
from resseg.runs.gradients_table import block_rows, rows


class Fork:
    def __init__(self, name, kind, paths, shape):
        self.name, self.kind, self.paths, self.shape = name, kind, paths, shape


FORKS = (
    Fork("stage1/block1", "block", ("shortcut", "branch"), (2, 8, 8, 4)),
    Fork("stage2/block1", "block", ("shortcut", "branch"), (2, 4, 4, 8)),
    Fork("head/pyramid", "pyramid", ("1x1", "rate6", "image"), (2, 4, 4, 8)),
)


def _log_step(writer, step):
    """What a trainer logs at a step: a function of the step alone."""
    rng = np.random.default_rng(step)
    writer.write_metrics(step, "train", {"loss": float(rng.normal()), "lr": 0.1 / step})
    writer.write_timing(step, {"images_per_second": 100.0 + step})
    taps = {f.name: rng.random((len(f.paths) + 1, 3)) * [1, 0, 1] for f in FORKS}
    if step == 3:
        taps["stage1/block1"][0] = np.nan, 5, np.nan
    taps = {name: TapStatistics(array) for name, array in taps.items()}
    writer.write_gradients(step, rows(step, FORKS, taps, loss_pixels=100 + step))
    squares = [{"stage2": rng.random(), "stage1": rng.random()} for _ in range(3)]
    writer.write_blocks(step, block_rows(step, *squares))


@pytest.fixture(scope="session")
def forks():
    return FORKS


@pytest.fixture(scope="session")
def log_step():
    return _log_step
