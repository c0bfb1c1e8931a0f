"""Workers as the tasks of a Ray cluster.

Each task runs one worker and ends it when the task is cancelled. Ray starts a task
again, on another node, when its node is lost; the run goes on from its checkpoint.
"""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resseg.errors import UserError, choose
from resseg.sweeps.launchers import Job

RESOURCES = {"cpus": 1.0, "gpus": 0.0, "memory": 0.0}  # of a task; memory in GiB
_RAY_NAMES = {"cpus": "CPU", "gpus": "GPU", "memory": "memory"}
_GIB = 2**30
_AGAIN = 75  # exit status of a worker that a new one may do better than
_PATIENCE = 5.0  # seconds in which the address of a cluster must answer
_STOP = 60.0  # seconds that cancelled tasks have to end
_ASK_AGAIN = (
    5.0  # seconds after which they are cancelled again: a busy node may miss it
)
_POLL = 0.2
_TAIL = 3  # last lines of a log in a message
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class TryAgain(Exception):
    """The worker says that another may do better: Ray starts the task again."""


class RayLauncher:
    """Starts workers on an existing Ray cluster, of which this machine is a node.

    Args:
        where: host:port of the cluster; auto = what RAY_ADDRESS says, or the one that
            was started here. Then what a worker takes, as in `auto,cpus=4,gpus=1`.

    Raises:
        UserError: Ray or the cluster is missing, or no node has these resources.
    """

    def __init__(self, where: str = "auto"):
        address, self._resources = parse(where)
        self._ray = _connect(address)
        self._logs: dict[Any, Path] = {}  # of the tasks whose end has not been told
        self.cancelled = 0
        self._count = 0
        try:
            _check_nodes(self._ray.nodes(), self._resources)
        except UserError:
            self._ray.shutdown()
            raise

    def start(self, job: Job, count: int) -> None:
        """See `Launcher`."""
        job.logs.mkdir(parents=True, exist_ok=True)
        task = self._ray.remote(
            num_cpus=self._resources["cpus"],
            num_gpus=self._resources["gpus"],
            memory=self._resources["memory"] * _GIB,
            max_retries=-1,
            retry_exceptions=[TryAgain],
        )(run_worker)
        for _ in range(count):
            self._count += 1
            log = job.logs / f"ray-{socket.gethostname()}-{os.getpid()}-{self._count}"
            log = log.with_name(log.name + ".log")
            self._logs[task.remote(job, log, os.getcwd())] = log

    def alive(self) -> int:
        """See `Launcher`; tasks that wait for resources or for another node count."""
        return len(self._logs) - len(self._ended())

    def troubles(self) -> list[str]:
        """See `Launcher`."""
        ended = {task: self._logs.pop(task) for task in self._ended()}
        said = [self._trouble(task, log) for task, log in ended.items()]
        return [f"a Ray worker {trouble}" for trouble in said if trouble]

    def stop(self) -> None:
        """See `Launcher`; leaves the cluster."""
        for force in (False, True):
            asked, end = -_ASK_AGAIN, time.monotonic() + _STOP
            while self.alive() and time.monotonic() < end:
                if time.monotonic() - asked >= _ASK_AGAIN:
                    for task in self._logs:
                        self._ray.cancel(task, force=force)
                    asked = time.monotonic()
                time.sleep(_POLL)
        self._ray.shutdown()

    def _ended(self) -> list[Any]:
        if not self._logs:
            return []
        tasks = list(self._logs)
        ended, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)
        return ended

    def _trouble(self, task: Any, log: Path) -> str:
        """How a task ended that did not end well; else ""."""
        exceptions = self._ray.exceptions
        try:
            status = self._ray.get(task)
        except exceptions.TaskCancelledError:
            return ""
        except exceptions.RayError as error:
            return f"was lost: {str(error).strip().splitlines()[-1]}"
        return f"ended with status {status}: {_tail(log)}" if status else ""


def run_worker(job: Job, log: Path, folder: str) -> int:
    """The task: runs a worker in a working directory, its output going to a log.

    Returns:
        The worker's exit status.

    Raises:
        TryAgain: the worker says so.
    """
    with open(log, "a") as out:
        process = subprocess.Popen(
            job.command,
            cwd=folder,
            env=os.environ | job.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,
        )
    try:
        while process.poll() is None:
            time.sleep(_POLL)  # Ray cancels with an exception between two of these
    finally:
        if process.poll() is None:
            process.terminate()
        while process.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):  # cancelled once more
                time.sleep(_POLL)
    if process.returncode == _AGAIN:
        raise TryAgain(f"see {log}")
    return process.returncode


def _end_with_parent() -> None:
    """Lets the system send SIGTERM to this process when the task's is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)


def parse(where: str) -> tuple[str, dict[str, float]]:
    """The address, and what a worker takes: cpus, gpus, and memory in GiB.

    Raises:
        UserError: a name or a number is none.
    """
    address, resources = "auto", dict(RESOURCES)
    for part in where.split(","):
        name, equals, text = part.partition("=")
        if not equals:
            address = part
            continue
        choose("--ray", name, RESOURCES)
        try:
            resources[name] = float(text)
        except ValueError:
            resources[name] = -1.0
        if not 0 <= resources[name] < float("inf"):
            raise UserError(f"--ray {part}: expected a number, 0 or more")
    return address, resources


def _connect(address: str) -> Any:
    """The module of Ray, connected to a cluster."""
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(
            "--launcher ray: Ray is missing, pip install 'resseg[ray]'"
        ) from None
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address != "auto":
        _check_answers(address)
    # Ray replaces it by one that does not tell the sweep.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"--ray {address}: {line}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
    return ray


def _check_answers(address: str) -> None:
    """Asks first: Ray itself would try for minutes, and end the process then."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal()):
        raise UserError(f"--ray {address}: expected host:port, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise UserError(f"--ray {address}: no Ray cluster answers ({error})") from None


def _check_nodes(
    nodes: Sequence[Mapping[str, Any]], wanted: Mapping[str, float]
) -> None:
    """Raises UserError unless one node has all that a worker wants.

    Its task would wait for ever.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    have = [
        {
            name: node.get(_RAY_NAMES[name], 0) / (_GIB if name == "memory" else 1)
            for name in wanted
        }
        for node in alive
    ]
    if any(all(node[name] >= wanted[name] for name in wanted) for node in have):
        return
    asked = ", ".join(f"{name}={value:g}" for name, value in wanted.items() if value)
    kinds = [", ".join(f"{name}={node[name]:.3g}" for name in wanted) for node in have]
    present = "; ".join(sorted(set(kinds)))
    raise UserError(f"--ray: no node of the cluster has {asked} (they have {present})")


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    return f"{' / '.join(said[-_TAIL:]) or 'it said nothing'} ({log})"
