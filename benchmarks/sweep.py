"""Eight numeric variants: one sweep against eight `resseg train`, side by side.

python -m benchmarks.sweep [--steps N] [--jobs N] [--vectorize N]

Both train the same configs, begun with empty caches, one after the other:
first the processes of `resseg train` one by one, each with a persistent compilation
cache that they share, then `resseg sweep`. Printed are both wall times, their ratio and
how many train steps the sweep compiled.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

from resseg import runs
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
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    began = time.monotonic()
    for run in study.runs:
        config = folder / f"{run.id}.json"
        runs.write_json(config, run.config.to_dict())
        _run("train", "--config", config, "--workdir", folder / run.id, **cache)
    return time.monotonic() - began


def swept(study: Study, folder: Path, jobs: int, together: int) -> tuple[float, int]:
    """Seconds of the sweep, and how many train steps it compiled."""
    began = time.monotonic()
    arguments = ("--jobs", jobs, "--vectorize", together)
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    text = _run("sweep", study.path, "--workdir", folder, *arguments, **cache)
    seconds = time.monotonic() - began
    match = re.search(r"compiled (\d+) train steps", text)
    assert match, text
    return seconds, int(match[1])


def _run(*arguments: object, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "resseg", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=50, metavar="N")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--vectorize", type=int, default=1, metavar="N")
    args = parser.parse_args()
    device = jax.devices()[0]
    print(
        f"{device.device_kind}, {os.cpu_count()} cores, JAX {jax.__version__}, "
        f"Python {sys.version.split()[0]}; 8 runs of {args.steps} steps"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = write_study(folder, args.steps)
        for part in ("alone", "sweep"):
            (folder / part).mkdir()
        alone = separate(study, folder / "alone")
        print(f"resseg train, 8 times: {alone:.0f} s", flush=True)
        seconds, steps = swept(study, folder / "sweep", args.jobs, args.vectorize)
        print(
            f"resseg sweep --jobs {args.jobs} --vectorize {args.vectorize}: "
            f"{seconds:.0f} s, {steps} compiled train step(s), "
            f"{alone / seconds:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
