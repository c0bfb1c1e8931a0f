"""Where the workers of a sweep run: on this machine, under Slurm, on a Ray cluster.

A worker is `python -m resseg.sweeps.worker SWEEP_DIR …`: it takes one run after another
from the sweep folder until none is left, so a launcher only starts workers and says how
many are alive. It knows nothing of runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class Job(NamedTuple):
    """What every worker is started with.

    Attributes:
        folder: of the sweep, which all workers see under this path.
        logs: folder for what workers print between runs.
        command: program and arguments of one worker.
        environment: variables to set beside those of the parent.
    """

    folder: Path
    logs: Path
    command: Sequence[str]
    environment: dict[str, str]


class Launcher(Protocol):
    """Starts workers and watches them.

    Attributes:
        cancelled: workers that somebody else cancelled: none is to take their place.
    """

    cancelled: int

    def start(self, job: Job, count: int) -> None:
        """Starts `count` more workers, or queues them.

        Raises:
            UserError: they cannot be started here.
        """
        ...

    def alive(self) -> int:
        """Workers that have not ended, those in a queue included."""
        ...

    def troubles(self) -> list[str]:
        """One line for each worker that ended badly since this was last asked."""
        ...

    def stop(self) -> None:
        """Ends all workers that this launcher started; returns when they have."""
        ...
