"""The benchmark of the taps: that it times what it says; not how fast it is."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from resseg.config.load import load_config

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location(
        "taps_overhead", FOLDER / "taps_overhead.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_both_sides_train_the_same_network_and_only_one_measures(benchmark):
    tiny = {
        "model.backbone.depth": 10,
        "model.backbone.width": 4,
        "data.crop": (32, 32),
        "data.batch_size": 2,
    }
    config = load_config(FOLDER / "unet_resnet18.py", tiny)
    results = benchmark.measure(config, pairs=3, steps=1)
    assert {name: times.shape for name, times in results.items()} == {
        "step": (2, 3),
        "step and its log": (2, 3),
    }
    assert all((times > 0).all() for times in results.values())
    assert len(benchmark.report(results)) == 2


def test_the_ratio_is_the_median_of_the_pairs_in_turns(benchmark):
    calls = []

    def timed(name, times):
        times = iter(times)

        def call():
            calls.append(name)
            return next(times)

        return call

    on, off = timed("on", [1.1, 2.2, 8.0]), timed("off", [1.0, 2.0, 4.0])
    with_taps, plain = benchmark.ratios(on, off, 3)
    assert calls == ["on", "off", "off", "on", "on", "off"]
    np.testing.assert_allclose(with_taps / plain, [1.1, 1.1, 2.0])
    (line,) = benchmark.report({"step": np.stack([with_taps, plain])})
    assert "overhead +10.00 % (median of 3 pairs" in line


def test_the_quoted_network_is_the_one_that_is_named():
    config = load_config(FOLDER / "unet_resnet18.py")
    assert (config.model.backbone.depth, config.model.backbone.width) == (18, 0)
    assert config.model.head.name == "unet"
    assert (config.data.crop, config.data.batch_size) == ((96, 96), 8)
