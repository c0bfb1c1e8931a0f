"""Workers of a script that would train again in each of them: one line."""

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from resseg.config import base
from resseg.data import sources, workers
from resseg.data.pipeline import TrainLoader
from resseg.errors import UserError

# It has a guard, below which it does not read: what the workers import starts workers.
SCRIPT = """
import sys
from resseg.config import base
from resseg.data.pipeline import TrainLoader
from resseg.errors import UserError

data = base.get_config().data
data.update({"name": "mixed", "dir": sys.argv[1], "batch_size": 4, "workers": 2})
try:
    next(TrainLoader(data, 0))
except UserError as error:
    print(error)
if __name__ == "__main__":
    print("end")
"""


@pytest.fixture
def script(tmp_path):
    def write(source):
        module = ModuleType("__main__")
        module.__file__ = str(tmp_path / "script.py")
        (tmp_path / "script.py").write_text(source)
        return module

    return write


def test_a_script_without_a_guard_is_refused_before_anything_starts(
    script, monkeypatch
):
    main = script("from resseg import training\ntraining.run()\n")
    message = rf"config\.data\.workers=3: {main.__file__}: a script that trains .*:`"
    with pytest.raises(UserError, match=message):
        workers.check_script(3, main)
    monkeypatch.setitem(sys.modules, "__main__", main)
    data = base.get_config().data
    data.workers = 1
    with pytest.raises(UserError, match=r"config\.data\.workers=1: "):
        TrainLoader(data, 0)  # nor is the data set looked for, which is not there


def test_scripts_that_workers_may_import(script, tmp_path):
    bare = script("training.run()\n")
    workers.check_script(0, bare)
    workers.check_script(2, script(SCRIPT))
    bare.__file__ = str(tmp_path / "<stdin>")
    workers.check_script(2, bare)
    workers.check_script(2, ModuleType("__main__"))  # a notebook, or `python -c`


def test_a_worker_that_trains_while_it_imports_its_script_ends_in_one_line(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    record = {"image": mask[..., None].repeat(3, axis=2), "mask": mask}
    splits = {"train": lambda: (record | {"name": f"n{i}"} for i in range(4))}
    sources.write_dataset(tmp_path, "mixed", ("a", "b"), splits)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    line, end = done.stdout.splitlines()
    assert end == "end" and done.returncode == 0
    assert line.startswith("config.data.workers=2: Worker process was terminated")
    assert "exit code 1; a script that trains has to do so below `if" in line
