"""A network of seconds for the probes, as it starts."""

import pytest
from tiny import tiny_shapes

from resseg.config.load import load_config
from resseg.probes import subject
from resseg.probes.figures import figure_of
from resseg.runs.tables import write_table


@pytest.fixture(scope="session")
def probed_overrides(data_dir):
    """Keys that make `configs/quickstart.py` two stages of five blocks in all."""
    return {
        **tiny_shapes(data_dir),
        "data.shapes.val_images": 6,
        "model.backbone.width": 4,
        "model.backbone.depth": 18,
        "model.backbone.stage_sizes": (3, 2),
        "model.backbone.stage_strides": (2, 2),
        "model.backbone.output_stride": 4,
    }


@pytest.fixture(scope="session")
def probed_config(probed_overrides):
    return load_config("configs/quickstart.py", probed_overrides)


@pytest.fixture(scope="session")
def probed(probed_config):
    """The subject of that config, at its initialisation."""
    return subject.at_init("tiny", probed_config)


@pytest.fixture(scope="session")
def smallest_overrides(probed_overrides):
    """Keys of three blocks and two long skips, for what compiles much."""
    return probed_overrides | {
        "data.batch_size": 2,
        "data.crop": (16, 16),
        "model.backbone.stem": "3x3",
        "model.backbone.stage_sizes": (2, 1),
        "model.backbone.stage_strides": (1, 2),
        "model.backbone.output_stride": 2,
    }


@pytest.fixture(scope="session")
def smallest(smallest_overrides):
    """The subject of these, at its initialisation."""
    config = load_config("configs/quickstart.py", smallest_overrides)
    return subject.at_init("smallest", config)


@pytest.fixture
def shown(tmp_path):
    """Called as shown(probe, rows): writes and draws them as `resseg probe` does, and
    returns the table.
    """

    def show(probe, rows):
        table = write_table(tmp_path / "probe.parquet", probe.columns, rows)
        figure = figure_of(probe, table)
        figure.savefig(tmp_path / "probe.png")
        assert len(probe.short(table)) and set(probe.printed) <= set(table.columns)
        assert all(isinstance(sentence, str) for sentence in probe.conclude(table))
        return table

    return show
