"""Sweeps on a cluster: their study, and what the tests ask of them."""

import subprocess
import sys
import tempfile
from pathlib import Path

from resseg.runs import layout
from resseg.sweeps import attempts
from resseg.sweeps.launchers import Job
from resseg.sweeps.plan import read_plan

STEPS = 30
STUDY = f'''"""Do runs that are moved end as if they were not?"""
from resseg.sweeps import product, seeds
CONFIG = "config.py"
def runs():
    return product(seeds(4), {{"train.steps": [{STEPS}]}})
'''
FAILING = """
def runs():
    return [{"optim.learning_rate": rate} for rate in (1e30, 1e-3)]
"""
# In the place of a worker: says when it starts and when it is told to end.
DUMMY = """
import os, signal, sys, time
def note(word):
    with open("notes.txt", "a") as file:
        print(word, os.getpid(), file=file)
def end(*_):
    note("told")
    sys.exit(75)
signal.signal(signal.SIGTERM, end)
note("started")
time.sleep(float(os.environ["SECONDS_TO_SLEEP"]))
print("this is my last word")
sys.exit(int(os.environ["STATUS"]))
"""
OBJECTS = 80 * 2**20  # bytes that a Ray node keeps for objects; we have none


class RayNodes:
    """A Ray cluster on loopback: a head, and a second node with all the memory.

    Each has one CPU. Runs that ask for memory are thus trained on the second node.
    """

    def __init__(self, folder, environment):
        for name, value in {
            "USAGE_STATS_ENABLED": "0",
            # Loopback in the place of this machine's address.
            "ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # A node that is killed is missed within seconds.
            "health_check_initial_delay_ms": "1000",
            "health_check_period_ms": "1000",
            "health_check_failure_threshold": "3",
        }.items():
            environment.setenv(f"RAY_{name}", value)
        from ray.cluster_utils import Cluster

        # Ray notes the address of the head in its default folder, which nobody makes
        # where the head is given another.
        (Path(tempfile.gettempdir()) / "ray").mkdir(exist_ok=True)
        head = {"num_cpus": 1, "memory": 2**30, "object_store_memory": OBJECTS}
        head |= {"include_dashboard": False, "temp_dir": str(folder)}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address
        self.add()

    def add(self):
        """Adds a second node."""
        self._second = self._cluster.add_node(
            num_cpus=1, memory=8 * 2**30, object_store_memory=OBJECTS
        )

    def kill(self):
        """Kills the second node without a word to the first."""
        self._cluster.remove_node(self._second, allow_graceful=False)

    def shutdown(self):
        self._cluster.shutdown()


def start(folder, work, *arguments):
    """`resseg sweep` as a process."""
    command = [sys.executable, "-m", "resseg", "sweep", str(folder)]
    return subprocess.Popen(
        [*command, "--workdir", str(work), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outcomes(work):
    """Of all attempts at each run."""
    return [
        [each["outcome"] for each in attempts.list_attempts(run.folder)]
        for run in read_plan(work).runs
    ]


def metrics(work):
    """The rows of each run that has some, as bytes, by its id."""
    files = {run.id: run.folder / layout.METRICS for run in read_plan(work).runs}
    return {id_: file.read_bytes() for id_, file in files.items() if file.exists()}


def dummy(folder, seconds, status=0):
    """A job whose worker is `DUMMY`, writing to `notes(folder)`."""
    code = f"import os; os.chdir({str(folder)!r})\n{DUMMY}"
    environment = {"SECONDS_TO_SLEEP": str(seconds), "STATUS": str(status)}
    command = [sys.executable, "-c", code]
    return Job(folder, folder / "workers", command, environment)


def notes(folder):
    """What dummies have written: words in their order."""
    file = folder / "notes.txt"
    text = file.read_text() if file.exists() else ""
    return [line.split()[0] for line in text.splitlines()]
