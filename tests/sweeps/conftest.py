"""A study of runs of seconds."""

import pytest
from tiny_study import tiny_config

STUDY = '''"""Is more width better?"""
from resseg.sweeps import product, seeds
CONFIG = "config.py"
def runs():
    return product({"model.backbone.width": [4, 8]}, seeds(2))
'''


@pytest.fixture
def study(tmp_path, data_dir):
    """`study()` writes a study and returns its folder; `study.text` is what it says.

    Of its runs each has a checkpoint after `every` steps.
    """
    folder = tmp_path / "width"

    def write(text=STUDY, every=2):
        folder.mkdir(exist_ok=True)
        (folder / "config.py").write_text(tiny_config(data_dir, every))
        (folder / "study.py").write_text(text)
        return folder

    write.text = STUDY
    return write
