import dataclasses
import warnings

import numpy as np
import pytest
from fake_run import fork, with_inner

from resseg.runs import RunWriter, prepare, write_config
from resseg.runs.gradients_table import rows


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "browser: in headless Chromium; see tools/setup_browser.sh"
    )


@pytest.fixture(scope="session")
def browser():
    from browsing import launch

    yield from launch()


@pytest.fixture
def opened(browser, page_file):
    """The module's `page_file` in a browser, which must not complain of anything."""
    from browsing import Opened

    made = Opened(browser, page_file)
    yield made
    made.context.close()
    assert made.wrong == []


HOSTILE = "</script><script>alert(1)</script>\"'&<b>ü漢\u2028${x}|`" + "x" * 300
PAGE_CLASSES = ("background", HOSTILE, "cell")
PAGE_FORKS = (
    fork("backbone/long_skip_stem", "long_skip", "skip", "deeper"),
    *[
        fork(f"backbone/stage{stage}/block{block}", "block", "shortcut", "branch")
        for stage in (1, 2, 3)
        for block in (1, 2)
    ],
    fork("backbone/auxiliary_stage3", "auxiliary", "aux", "deeper"),
    fork("head/pyramid", "pyramid", "1x1", "rate6", "image"),
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
    write_dataset(folder, dataclasses.asdict(spec))
    write_environment(folder, {"count": 1, "kind": HOSTILE, "platform": "cpu"})
    with RunWriter(folder, tensorboard=False, resume_step=None) as writer:
        for step in range(1, logged + 1):
            taps = {
                fork.name: with_inner(
                    [[v, 0] for v in _page_squares(step, number, fork, dead)]
                )
                for number, fork in enumerate(PAGE_FORKS)
            }
            writer.write_gradients(step, rows(step, PAGE_FORKS, taps, 100.0))
            values = {"loss": 2 / step, "cross_entropy": 1 / step, "grad_norm": 3.0}
            values |= {"learning_rate": 0.1, "clip_factor": 1.0, "mean_iou": 0.1}
            seen = {"batch_hash": f"{step:08x}"}
            writer.write_metrics(step, "train", values | seen)
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
