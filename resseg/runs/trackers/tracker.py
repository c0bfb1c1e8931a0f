"""What a tracker is told, and what it has to do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

PROJECT = "resseg"  # that runs are in, where the environment names no other


class About(NamedTuple):
    """What a tracker is told of a run at its beginning.

    Attributes:
        name: of the run.
        group: the sweep that it is of; "" for none.
        config: by key.
        folder: of the run.
        identity: by which the tracker knows the run; "" where it is new to it.
    """

    name: str
    group: str
    config: dict[str, Any]
    folder: Path
    identity: str


class Tracker(Protocol):
    """A run, to the service that tracks it. All calls come from one thread.

    Any exception ends it, and nothing else.

    Attributes:
        identity: by which a later process goes on with it.
        place: where to look at it, for people.
    """

    identity: str
    place: str

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Takes numbers of a step, which never decreases."""
        ...

    def finish(self) -> None:
        """The run has no further step."""
        ...
