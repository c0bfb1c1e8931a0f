"""Eight numeric variants: one sweep against eight `resseg train`, side by side.

python -m benchmarks.sweep [--steps N] [--jobs N] [--vectorize N] [--pairs N]

Both train the same configs, each time from empty caches: `resseg sweep`, and processes
of `resseg train` one by one, with a folder of programs that they share.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.pairs import Comparison, Side, add_options, interleaved, report
from resseg import runs
from resseg.programs import place
from resseg.sweeps.study import Study, load_study

STUDY = '''"""What do eight numeric variants cost?"""
CONFIG = "config.py"
def runs():
    return [
        {},
        {"model.gradient.shortcut": 0.5},
        {"model.gradient.shortcut": 0.0},
        {"model.shortcut.scale": 0.8},
        {"model.branch.scale": 0.5},
        {"optim.learning_rate": 5e-3},
        {"optim.weight_decay": 1e-2, "optim.schedule": "poly"},
        {"seed": 1},
    ]
'''
CONFIG = """from resseg.config import builtin
def get_config():
    config = builtin.get_config("quickstart")
    config.data.dir = DATA
    config.data.crop = (64, 64)
    config.data.batch_size = 8
    config.data.shapes.train_images = 64
    config.data.shapes.val_images = 16
    config.model.backbone.width = 8
    config.eval.predictions = 0
    config.log.tensorboard = False
    config.train.steps = STEPS
    return config
"""


def write_study(folder: Path, steps: int) -> Study:
    """The study on the procedural data set, which is drawn before any clock runs."""
    data = folder / "data"
    text = CONFIG.replace("DATA", repr(str(data))).replace("STEPS", str(steps))
    (folder / "config.py").write_text(text)
    (folder / "study.py").write_text(STUDY)
    study = load_study(folder)
    from resseg.data import sources

    sources.dataset_spec(study.runs[0].config.data)
    return study


def separate(study: Study, folder: Path) -> float:
    """Seconds that one `resseg train` after the other takes."""
    began = time.monotonic()
    for run in study.runs:
        config = folder / f"{run.id}.json"
        runs.write_json(config, run.config.to_dict())
        _run("train", "--config", config, "--workdir", folder / run.id, folder=folder)
    return time.monotonic() - began


def swept(study: Study, folder: Path, jobs: int, together: int) -> float:
    """Seconds of the sweep."""
    began = time.monotonic()
    options = ("--jobs", jobs, "--vectorize", together)
    _run("sweep", study.path, "--workdir", folder / "sweep", *options, folder=folder)
    return time.monotonic() - began


def _run(*arguments: object, folder: Path) -> None:
    """A command of resseg, which keeps its programs in `folder`."""
    kept = {place.FOLDER: str(folder / "programs"), place.SWITCH: "1"}
    done = subprocess.run(
        [sys.executable, "-m", "resseg", *map(str, arguments)],
        env=os.environ | kept,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{arguments[0]} failed:\n{done.stdout}{done.stderr}")


def pair(study: Study, folder: Path, args: argparse.Namespace) -> tuple[Side, Side]:
    """The sweep and the separate trainings, each in a new folder every time."""
    fresh = (Path(tempfile.mkdtemp(dir=folder)) for _ in itertools.count())
    return (
        lambda: swept(study, next(fresh), args.jobs, args.vectorize),
        lambda: separate(study, next(fresh)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, pairs=3)
    parser.add_argument("--steps", type=int, default=50, metavar="N")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--vectorize", type=int, default=1, metavar="N")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="resseg-sweep-") as name:
        study = write_study(Path(name), args.steps)
        seconds = interleaved(*pair(study, Path(name), args), args.pairs, "sweeps")
    what = (
        f"8 numeric variants of {args.steps} steps, --jobs {args.jobs} "
        f"--vectorize {args.vectorize}"
    )
    row = Comparison(what, *seconds, peer="8 x resseg train, programs shared")
    report("sweep", [row], ("jax", "jaxlib", "flax"), args.out)


if __name__ == "__main__":
    main()
