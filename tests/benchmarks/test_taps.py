"""The benchmark of the taps: that it times what it says; not how fast it is."""

from pathlib import Path

from benchmarks import taps
from resseg.config.load import load_config

FOLDER = Path(taps.__file__).parent


def test_both_sides_train_the_same_network_and_only_one_measures():
    tiny = {
        "model.backbone.depth": 10,
        "model.backbone.width": 4,
        "model.backbone.stage_sizes": (1, 1),
        "model.backbone.stage_strides": (1, 2),
        "data.crop": (32, 32),
        "data.batch_size": 2,
    }
    config = load_config(FOLDER / "unet_resnet18.py", tiny)
    rows = taps.measure("tiny", config, pairs=3, steps=2)
    assert [row.what for row in rows] == [
        "step: tiny, 32², batch 2, float32",
        "step and its log: tiny, 32², batch 2, float32",
    ]
    for row in rows:
        assert len(row.ours) == len(row.theirs) == 3
        assert min(*row.ours, *row.theirs) > 0
        assert row.peer == "no taps" and row.note.startswith("measuring adds")


def test_what_measuring_adds_is_the_median_of_the_ratios_of_pairs():
    said = taps.overhead([1.1, 2.2, 8.0], [1.0, 2.0, 4.0])
    assert said == "measuring adds +10.00 % (+10.00 to +55.00 %)"


def test_the_quoted_network_is_the_one_that_is_named():
    config = load_config(FOLDER / "unet_resnet18.py")
    assert (config.model.backbone.depth, config.model.backbone.width) == (18, 0)
    assert config.model.head.name == "unet"
    assert (config.data.crop, config.data.batch_size) == ((96, 96), 8)
