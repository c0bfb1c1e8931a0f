"""Workers on this machine: one per GPU, or some that share its cores."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from resseg.sweeps.launchers import Job
from resseg.sweeps.process import PATIENCE

_CORES_PER_WORKER = 4  # where nothing is said and there is no GPU
_ENDED_WELL = (0,)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


class _Started(NamedTuple):
    process: subprocess.Popen
    log: Path
    slot: int


class LocalLauncher:
    """Starts workers as processes; they end when this one does, even if killed.

    Each has a slot of its own: a GPU, or a share of the cores.

    Args:
        jobs: slots there are.
    """

    def __init__(self, jobs: int):
        self.cancelled = 0
        self._jobs = jobs
        self._started: list[_Started] = []
        self._count = 0

    def start(self, job: Job, count: int) -> None:
        """See `Launcher`."""
        for _ in range(count):
            taken = {each.slot for each in self._started if _lives(each)}
            slot = next(s for s in range(self._count + 1) if s not in taken)
            self._count += 1
            log = job.logs / f"local-{os.getpid()}-{self._count}.log"
            environment = os.environ | job.environment
            command = [*job.command, "--end-with-parent"]
            gpus = visible_gpus()
            if gpus:
                environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
            elif hasattr(os, "sched_getaffinity"):
                cores = share_of_cores(slot, self._jobs)
                command += ["--cores", ",".join(map(str, cores))]
                environment |= dict.fromkeys(_THREADS, str(len(cores)))
            with open(log, "a") as out:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for the parent
                )
            self._started.append(_Started(process, log, slot))

    def alive(self) -> int:
        """See `Launcher`."""
        return sum(map(_lives, self._started))

    def troubles(self) -> list[str]:
        """See `Launcher`."""
        ended = [each for each in self._started if not _lives(each)]
        self._started = [each for each in self._started if each not in ended]
        for each in ended:
            _let_go(each)
        return [
            _trouble(each)
            for each in ended
            if each.process.returncode not in _ENDED_WELL
        ]

    def stop(self) -> None:
        """See `Launcher`."""
        for each in self._started:
            each.process.terminate()
        for each in self._started:
            try:
                each.process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()
            _let_go(each)
        self._started = []


def default_jobs() -> int:
    """One per GPU; without, one per four cores."""
    return len(visible_gpus()) or max(1, len(_cores()) // _CORES_PER_WORKER)


def share_of_cores(slot: int, jobs: int) -> list[int]:
    """The cores of a slot: neighbours, all in use, none twice while there are enough.

    Workers that are not held to cores of their own start a thread per core each, and
    wait for each other.
    """
    cores = _cores()
    if jobs >= len(cores):
        return [cores[slot % len(cores)]]
    slot %= jobs
    return cores[slot * len(cores) // jobs : (slot + 1) * len(cores) // jobs]


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs as CUDA_VISIBLE_DEVICES has them; asks no device."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    if "cpu" in os.environ.get("JAX_PLATFORMS", "") or not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number, _ in enumerate(lines)]


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _lives(started: _Started) -> bool:
    return started.process.poll() is None


def _let_go(started: _Started) -> None:
    """Closes our end of its standard input."""
    if started.process.stdin is not None:
        started.process.stdin.close()


def _trouble(started: _Started) -> str:
    lines = started.log.read_text("utf-8", "replace").splitlines()
    said = lines[-1] if lines else "it said nothing"
    status = started.process.returncode
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return f"a worker ended with {how}: {said}"


def worker_command(folder: Path, *arguments: str) -> list[str]:
    """How a worker of a sweep folder is started with this Python."""
    return [sys.executable, "-m", "resseg.sweeps.worker", str(folder), *arguments]
