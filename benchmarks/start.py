"""From the command to the first step: whole processes, beside a script in PyTorch.

python -m benchmarks.start [--pairs N] [--torch PYTHON] [--out DIR]

The U-Net on ResNet-18 of segmentation_models_pytorch, 128 x 128, batch 8. Ours is
`resseg train` until its first step has been computed, with its data set, logs and
checks: once with no program kept (cold), once with those of an earlier process (warm).
The peer is a script that trains the same network on one random batch, its fastest case.
Neither has to read its libraries from the disk: a start of each comes before, and
counts nowhere. Seconds are those of a clock, and those that the process computed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.pairs import Comparison, add_options, interleaved, report
from resseg.programs import place

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "benchmarks" / "unet_resnet18.py"
PACKAGES = ("jax", "jaxlib", "flax")
PEER = "PyTorch {}, smp, channels last"
# Ends where the loop has waited for its first step.
OURS = """
import os, sys
from resseg.programs import place
place.settle()
from resseg.cli.main import main
from resseg.training import run
class Progress(run.TrainingProgress):
    def restart(self, step):
        os._exit(0)
run.TrainingProgress = Progress
main()
sys.exit("there was no step")
"""
THEIRS = """
import segmentation_models_pytorch as smp
import torch
torch.manual_seed(0)
last = torch.channels_last
model = smp.Unet("resnet18", encoder_weights=None, classes=7).to(memory_format=last)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
images = torch.rand(8, 3, 128, 128).to(memory_format=last)
labels = torch.randint(0, 7, (8, 128, 128))
loss = torch.nn.functional.cross_entropy(model(images), labels)
loss.backward()
optimizer.step()
"""


class Started:
    """Starts a command again and again.

    Attributes:
        computed: seconds that each process computed, all threads together.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        before: Callable[[], None] = lambda: None,
    ):
        self._command, self._environment = command, environment
        self._before, self.computed = before, []

    def __call__(self) -> float:
        """Seconds of the clock from the command to the end of its process."""
        self._before()
        began = time.monotonic()
        process = subprocess.Popen(
            self._command,
            env=os.environ | self._environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"a start ended with status {process.returncode}")
        self.computed.append(used.ru_utime + used.ru_stime)
        return seconds


def ours(folder: Path, *, cold: bool) -> Started:
    """Our command; cold, it finds no program."""
    programs, workdir = folder / f"programs-{cold}", folder / "run"
    command = [sys.executable, "-c", OURS, "train", "--config", str(CONFIG)]
    command += ["--workdir", str(workdir), "--config.data.name=shapes"]
    command += ["--config.data.crop=128,128", f"--config.data.dir={folder / 'data'}"]

    def before() -> None:
        shutil.rmtree(workdir, ignore_errors=True)
        if cold:
            shutil.rmtree(programs, ignore_errors=True)

    return Started(command, {place.FOLDER: str(programs), place.SWITCH: "1"}, before)


def compared(folder: Path, pairs: int, peer: str) -> list[Comparison]:
    """Four rows: cold and warm, by the clock and by what was computed."""
    said = [peer, "-c", "import torch; print(torch.__version__)"]
    version = subprocess.run(said, capture_output=True, text=True, check=True).stdout
    rows = []
    for kind in ("cold", "warm"):
        sides = ours(folder, cold=kind == "cold"), Started([peer, "-c", THEIRS], {})
        for side in sides:
            side()  # writes the data set, and what is warm
            side.computed.clear()
        clock = interleaved(*sides, pairs, f"{kind} starts")
        measured = {"clock": clock, "computed": [side.computed for side in sides]}
        for name, (mine, theirs) in measured.items():
            what = f"command to first step, {kind}: {name}"
            rows.append(Comparison(what, mine, theirs, PEER.format(version.strip())))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, pairs=7)
    parser.add_argument(
        "--torch",
        default=sys.executable,
        metavar="PYTHON",
        help="interpreter of the peer, if torch is not beside resseg",
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="resseg-start-") as folder:
        rows = compared(Path(folder), args.pairs, args.torch)
    report("start", rows, PACKAGES, args.out)


if __name__ == "__main__":
    main()
