import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from resseg.runs import RunWriter, prepare, write_config
from resseg.runs.gradients_table import block_rows, rows


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "browser: in headless Chromium; see tools/setup_browser.sh"
    )


def _fork(name, kind, *paths):
    return SimpleNamespace(name=name, kind=kind, paths=paths, shape=(1, 2, 2, 1))


FORKS = (
    _fork("stage1/block1", "block", "shortcut", "branch"),
    _fork("head/skip1", "long_skip", "skip", "deeper"),
    _fork("stage2/block1", "block", "shortcut", "branch"),
    _fork("stage3/block1", "block", "shortcut", "branch"),
    _fork("aux", "auxiliary", "aux", "deeper"),
    _fork("head/pyramid", "pyramid", "1x1", "rate6", "image"),
)


def _with_inner(squares):
    """Adds the inner product that the squares of two paths and of their sum imply."""
    squares = np.array(squares, float)
    inner = np.zeros((len(squares), 1))
    if len(squares) == 3:
        with np.errstate(invalid="ignore"):
            inner[:2] = (squares[2, 0] - squares[0, 0] - squares[1, 0]) / 2
    return np.hstack([squares, inner])


def _fake_run(folder, steps=6, config=None, loss_pixels=2):
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
            taps = {name: _with_inner(value) for name, value in taps.items()}
            writer.write_gradients(step, rows(step, FORKS, taps, loss_pixels))
            squares = [{"stage1": value} for value in (4.0, 1.0, 1e-4)]
            writer.write_blocks(step, block_rows(step, *squares))
    return folder


@pytest.fixture(scope="session")
def fake_run():
    return _fake_run


@pytest.fixture(scope="session")
def browser():
    from browsing import launch

    yield from launch()


HOSTILE = "</script><script>alert(1)</script>\"'&<b>ü漢\u2028${x}|`" + "x" * 300
PAGE_CLASSES = ("background", HOSTILE, "cell")
PAGE_FORKS = (
    _fork("backbone/long_skip_stem", "long_skip", "skip", "deeper"),
    *[
        _fork(f"backbone/stage{stage}/block{block}", "block", "shortcut", "branch")
        for stage in (1, 2, 3)
        for block in (1, 2)
    ],
    _fork("backbone/auxiliary_stage3", "auxiliary", "aux", "deeper"),
    _fork("head/pyramid", "pyramid", "1x1", "rate6", "image"),
)


def _page_squares(step, number, fork, dead):
    """Sums of squares whose shares are known: 1 : 3 of two paths, else equal."""
    scale = (1 + number) / step
    if len(fork.paths) == 2:
        parts = [0.0 if (fork.name, path) == dead else 1.0 for path in fork.paths]
        parts = [parts[0] * scale, 3 * parts[1] * scale]
    else:
        parts = [scale] * len(fork.paths)
    return [*parts, sum(parts)]


def _page_run(
    folder, steps=12, logged=None, dead=None, classes=PAGE_CLASSES, config=None
):
    """A run as training leaves it, without training: logs, scores, predictions.

    Args:
        steps: that the config asks for.
        logged: that were done, all unless given.
        dead: (fork, path) of which no gradient ever comes.
        classes: their names.
        config: keys of `resseg.config.base` to set.
    """
    from resseg.config.keys import base_config
    from resseg.data import DatasetSpec
    from resseg.inference.gallery import Gallery
    from resseg.runs import write_dataset, write_environment

    logged = steps if logged is None else logged
    folder = prepare(folder)
    whole = base_config()
    whole.train.steps = steps
    whole.data.name = HOSTILE
    with whole.unlocked():
        whole.update_from_flattened_dict(config or {})
    write_config(folder, whole)
    spec = DatasetSpec(HOSTILE, classes, {"train": 8, "val": 4})
    write_dataset(folder, spec.name, spec.classes, spec.splits)
    write_environment(folder, {"count": 1, "kind": HOSTILE, "platform": "cpu"})
    with RunWriter(folder, tensorboard=False, resume_step=None) as writer:
        for step in range(1, logged + 1):
            taps = {
                fork.name: _with_inner(
                    [[v, 0] for v in _page_squares(step, number, fork, dead)]
                )
                for number, fork in enumerate(PAGE_FORKS)
            }
            writer.write_gradients(step, rows(step, PAGE_FORKS, taps, 100.0))
            values = {"loss": 2 / step, "cross_entropy": 1 / step, "grad_norm": 3.0}
            values |= {"learning_rate": 0.1, "clip_factor": 1.0, "mean_iou": 0.1}
            writer.write_metrics(step, "train", values)
            writer.write_timing(
                step, {"seconds_per_step": 0.5, "images_per_second": 16.0}
            )
            if step % 4 == 0 or step == steps:
                iou = [0.9, 0.25, 0.5][: len(classes)]
                iou += [0.5] * (len(classes) - len(iou))
                scores = {"mean_iou": 0.01 * step, "pixel_accuracy": 0.9, "iou": iou}
                writer.write_metrics(step, "val", scores)
    if logged == steps:
        gallery = Gallery(folder / "predictions", spec, "val", 1)
        for number in range(4):
            label = np.zeros((24, 32), np.int32)
            label[:, ::2] = 1
            label[0] = 255
            guess = np.where(np.arange(24)[:, None] < 6 * number, label, 0)
            guess = np.where(guess == 255, 0, guess).astype(np.uint8)
            image = np.full((24, 32, 3), 40 * number, np.uint8)
            name = f"{number}{HOSTILE}"[:80].replace("/", "_")
            with warnings.catch_warnings():  # matplotlib has no glyph for some names
                warnings.filterwarnings("ignore", "Glyph .* missing")
                gallery(image, label, guess, name)
    return folder


@pytest.fixture(scope="session")
def page_run():
    return _page_run


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory):
    """A finished run in which the shortcut of one block sends nothing back."""
    folder = tmp_path_factory.mktemp("page") / "planted"
    return _page_run(folder, dead=("backbone/stage2/block1", "shortcut"))
