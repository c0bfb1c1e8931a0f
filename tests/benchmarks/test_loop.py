"""The benchmark of the loop: that it runs what it says; not how fast it is."""

from benchmarks import loop
from resseg.config.load import load_config


def test_the_loop_and_its_evaluation_run_beside_their_programs(tmp_path):
    tiny = {
        "data.dir": str(tmp_path / "data"),
        "data.crop": (32, 32),
        "data.shapes.train_images": 8,
        "data.shapes.val_images": 4,
        "data.shapes.size": (32, 48),
        "model.backbone.depth": 10,
        "model.backbone.width": 4,
        "train.steps": 3,
    }
    config = load_config(str(loop.DEFAULT), loop.SHAPES | tiny)
    rows = loop.measure(config, 1, tmp_path)
    assert [(row.what, row.work) for row in rows] == [
        ("training loop", 8),
        ("evaluation", 4),
    ]
    assert all(min(*row.ours, *row.theirs) > 0 for row in rows)
    assert all(row.note.startswith("processor time x ") for row in rows)
