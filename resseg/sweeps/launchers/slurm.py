"""Workers as the jobs of a Slurm array, through submitit.

Slurm runs in one job a process of submitit's, which runs the worker. Before the time
limit it is sent a signal: it ends the worker, which notes that its run was preempted,
and puts the job back into the queue. A job that Slurm itself puts back, because it was
preempted or its node was lost, starts again likewise; the run goes on from its last
checkpoint in either case.
"""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resseg.errors import UserError
from resseg.sweeps.launchers import Job
from resseg.sweeps.launchers.slurm_options import minutes, seconds, words

OURS = ("array", "error", "job-name", "open-mode", "output", "requeue", "signal")
GRACE = 90  # seconds from the signal to the time limit
TIME = "1:00:00"  # of a job; a sweep that takes longer goes on in the next
_EVER = 10**6  # how often a job may go on after its time limit
_COMPLETED, _CANCELLED = "COMPLETED", "CANCELLED"
_ENDED_BADLY = (
    *("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL"),
    *("DEADLINE", "PREEMPTED", "REVOKED", "SPECIAL_EXIT", "LOST"),
)
_NEVER = (  # reasons why a queued job will not start, whatever becomes free
    *("PartitionConfig", "PartitionTimeLimit", "BadConstraints", "InvalidAccount"),
    *("InvalidQOS", "AccountNotAllowed", "QOSNotAllowed", "JobHoldMaxRequeue"),
    "launch failed requeued held",
)
_STOP = 120  # seconds that cancelled jobs have to end
_TAIL = 3  # last lines of a log in a message


class WorkerProcess:
    """Runs a worker inside a job; submitit calls it, and `checkpoint` before the end.

    Args:
        job: what the worker is started with.
    """

    def __init__(self, job: Job):
        self.job = job
        self._process: subprocess.Popen | None = None

    def __call__(self) -> None:
        """Returns when the worker has nothing left to do.

        Raises:
            SystemExit: with the worker's exit status, which becomes that of the job.
        """
        self._process = subprocess.Popen(
            self.job.command,
            env=os.environ | self.job.environment,
            stdin=subprocess.DEVNULL,
            # Slurm signals every process of a job. The warning is for submitit alone.
            preexec_fn=_ignore_warning,
        )
        _wait_for(self._process)
        status = self._process.wait()
        if status:
            raise SystemExit(status if status > 0 else 128 - status)

    def checkpoint(self) -> Any:
        """Ends the worker; returns what the job runs when it is started again."""
        from submitit.helpers import DelayedSubmission

        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # srun passes it on once more
        if self._process is not None:
            self._process.terminate()
            _wait_for(self._process)
        return DelayedSubmission(WorkerProcess(self.job))


def _wait_for(process: subprocess.Popen) -> None:
    """Returns when a process has ended; may be called by a signal handler meanwhile.

    `Popen.wait` may not: it would wait for the lock that the interrupted one holds.
    """
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


class _Queued(NamedTuple):
    state: str
    reason: str


class SlurmLauncher:
    """Queues workers, and asks Slurm every few seconds what became of them.

    Args:
        options: of `sbatch`, by their long names without dashes, as in `partition`,
            `time`, `gpus-per-node`; and two of ours: `grace`, seconds that a worker is
            ended before its time limit, and `container-command`, in whose container a
            worker is started, as `python` there.
        poll: seconds between two questions.

    Raises:
        UserError: submitit or Slurm is missing, or an option is wrong.
    """

    def __init__(self, options: Mapping[str, str], poll: float = 5.0):
        options = {key.replace("_", "-"): value for key, value in options.items()}
        for key, value in options.items():
            if key in OURS:
                raise UserError(f"--slurm {key}={value}: is set by resseg itself")
        self._grace = seconds(options.pop("grace", str(GRACE)))
        self._minutes = minutes(options.setdefault("time", TIME))
        if self._grace >= self._minutes * 60:
            raise UserError(
                f"--slurm grace={self._grace}: expected less than the time limit, "
                f"{options['time']}"
            )
        self._container = words(options.pop("container-command", ""))
        _check_installed()
        self.cancelled = 0  # jobs, by others: no job takes their place
        self._options = options
        self._poll = poll
        self._asked = float("-inf")
        self._jobs: dict[str, Path] = {}  # those that have not ended, and their logs
        self._troubles: list[str] = []
        self._stopping = False

    def start(self, job: Job, count: int) -> None:
        """See `Launcher`."""
        import submitit
        from submitit.core.utils import FailedJobError

        if self._container:
            inside = [*self._container, "python", *job.command[1:]]
            job = job._replace(command=inside)
        folder = job.logs / "slurm"
        folder.mkdir(parents=True, exist_ok=True)
        executor = submitit.SlurmExecutor(folder, max_num_timeout=_EVER)
        executor.update_parameters(
            job_name="resseg",
            time=self._minutes,
            signal_delay_s=self._grace,
            array_parallelism=count,
            stderr_to_stdout=True,
            additional_parameters={**self._options, "requeue": True},
        )
        try:
            # What sbatch says is printed by submitit, and is in the error anyway.
            with contextlib.redirect_stderr(io.StringIO()), executor.batch():
                started = [executor.submit(WorkerProcess(job)) for _ in range(count)]
        except FailedJobError as error:
            raise UserError(f"--slurm: {_reason(str(error))}") from None
        self._jobs |= {each.job_id: Path(each.paths.stdout) for each in started}
        self._asked = float("-inf")

    def alive(self) -> int:
        """See `Launcher`; jobs that were put back into the queue count."""
        self._look()
        return len(self._jobs)

    def troubles(self) -> list[str]:
        """See `Launcher`; a job that could never start is cancelled and named too."""
        self._look()
        troubles, self._troubles = self._troubles, []
        return troubles

    def stop(self) -> None:
        """See `Launcher`."""
        if not self._jobs:
            return
        subprocess.run(["scancel", *self._jobs], capture_output=True)
        self._stopping = True
        end = time.monotonic() + _STOP
        while self._jobs and time.monotonic() < end:
            self._asked = float("-inf")
            self._look()
            time.sleep(0.2)

    def _look(self) -> None:
        """Asks Slurm, at most every `poll` seconds."""
        if not self._jobs or time.monotonic() - self._asked < self._poll:
            return
        queue = _ask(list(self._jobs))
        if queue is None:  # slurmctld does not answer: ask again later
            return
        self._asked = time.monotonic()
        for name, log in list(self._jobs.items()):
            state, reason = queue.get(name) or _Queued(_forgotten(log), "")
            if state == "PENDING" and reason in _NEVER:
                subprocess.run(["scancel", name], capture_output=True)
                self._troubles.append(
                    f"Slurm job {name} can never start: {reason} (see man squeue)"
                )
            elif state in _ENDED_BADLY:
                self._troubles.append(f"Slurm job {name}: {state}: {_tail(log)}")
            elif state == _CANCELLED and not self._stopping:
                self.cancelled += 1
                self._troubles.append(
                    f"Slurm job {name}: {state}, not by this sweep: no other takes its "
                    "place"
                )
            elif state not in (_COMPLETED, _CANCELLED):
                continue
            del self._jobs[name]


def _check_installed() -> None:
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            "--launcher slurm: submitit is missing, pip install 'resseg[slurm]'"
        ) from None
    for program in ("sbatch", "srun", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise UserError(
                f"--launcher slurm: no {program} here, start it where Slurm's commands "
                "are installed (Debian: slurm-client)"
            )


def _ignore_warning() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _ask(names: Sequence[str]) -> dict[str, _Queued] | None:
    """State and reason of each job that Slurm still knows; None if it is silent."""
    arrays = sorted({name.partition("_")[0] for name in names})
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r"]
    asked = subprocess.run(
        [*command, f"--jobs={','.join(arrays)}"], capture_output=True, text=True
    )
    if asked.returncode and "Invalid job id" not in asked.stderr:
        return None
    rows = [line.split("|", 2) for line in asked.stdout.splitlines()]
    return {name: _Queued(state, reason) for name, state, reason in rows}


def _forgotten(log: Path) -> str:
    """How a job ended that Slurm no longer lists: submitit stores what it returned."""
    from submitit.core.utils import pickle_load

    result = log.with_name(log.name.replace("_log.out", "_result.pkl"))
    well = result.exists() and pickle_load(result)[0] == "success"
    return _COMPLETED if well else "LOST"


def _tail(log: Path) -> str:
    """The last lines of a log in one; submitit's own say nothing of the worker."""
    if not log.exists():
        return f"wrote no log ({log})"
    lines = log.read_text("utf-8", "replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and "submitit" not in line]
    return f"{' / '.join(said[-_TAIL:]) or 'it said nothing'} ({log})"


def _reason(text: str) -> str:
    """The line of sbatch's answer that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("sbatch: ")] or lines
    return said[0].removeprefix("sbatch: ").removeprefix("error: ")
