"""A study of runs of seconds."""

import pytest

STUDY = '''"""Is more width better?"""
from resseg.sweeps import product, seeds
CONFIG = "config.py"
def runs():
    return product({"model.backbone.width": [4, 8]}, seeds(2))
'''
CONFIG = """
from resseg.config import base
def get_config():
    config = base.get_config()
    config.data.dir = {data_dir!r}
    config.data.crop = (32, 32)
    config.data.batch_size = 2
    config.data.shapes.train_images = 4
    config.data.shapes.val_images = 2
    config.data.shapes.size = (32, 32)
    config.model.backbone.depth = 10
    config.model.backbone.width = 4
    config.model.head.name = "fcn"
    config.mesh.data = 1
    config.train.steps = 6
    config.checkpoint.every = 2
    config.log.every = 1
    config.eval.predictions = 0
    config.log.tensorboard = False
    return config
"""


@pytest.fixture
def study(tmp_path, data_dir):
    """`study()` writes a study and returns its folder; `study.text` is what it says."""
    folder = tmp_path / "width"

    def write(text=STUDY):
        folder.mkdir(exist_ok=True)
        (folder / "config.py").write_text(CONFIG.format(data_dir=str(data_dir)))
        (folder / "study.py").write_text(text)
        return folder

    write.text = STUDY
    return write
