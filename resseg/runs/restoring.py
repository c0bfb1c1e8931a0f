"""Which checkpoint a run goes on from: the newest that is whole."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from resseg.errors import UserError
from resseg.runs import storage
from resseg.runs.checksums import check_checksums
from resseg.runs.damage import (
    DamagedCheckpoint,
    damage_named,
    read_json_through,
    read_through,
    set_aside,
)
from resseg.runs.fit import check_fits
from resseg.runs.storage import POSITION, TRAINING, VARIABLES

_FOLDERS = ("its folder", "their folders")
_Damaged = list[tuple[int, str]]  # steps, the newest first, and what is wrong
ByFirst = Callable[[Callable[[], Any]], Any]


class Wanted(NamedTuple):
    """Arrays of the structure, shapes and shardings that are restored to."""

    variables: Any
    training: Any


class Restored(NamedTuple):
    """A checkpoint that training goes on from.

    Attributes:
        variables: what a forward pass needs.
        training: what only training needs.
        position: in the data.
        step: that it is of.
        lines: for people, about each newer one that is damaged.
    """

    variables: Any
    training: Any
    position: dict[str, Any]
    step: int
    lines: tuple[str, ...] = ()


def here(work: Callable[[], Any]) -> Any:
    """What is done by the first of several processes, where there is one."""
    return work()


def restore_newest(
    latest: ocp.CheckpointManager, aside: Path, wanted: Wanted, by_first: ByFirst
) -> Restored:
    """Restores it, and moves newer ones, which are damaged, out of the way.

    Args:
        latest: of the folder of the checkpoints.
        aside: folder that damaged ones are moved to.
        wanted: what is restored to.
        by_first: where several processes restore it, has the first of them do what it
            is given, and gives all of them what that returned.

    Raises:
        UserError: none is whole, or it is of another network or optimizer.
    """
    damaged: _Damaged = []
    while True:
        step, damaged = by_first(
            functools.partial(_newest_whole, latest, wanted, damaged)
        )
        if step is None:
            raise UserError(
                f"{'; '.join(what for _, what in damaged)}; with "
                f"{_FOLDERS[len(damaged) > 1]} moved elsewhere the run begins anew"
            )
        try:
            restored = _restored(latest, step, wanted)
        except DamagedCheckpoint as error:
            if jax.process_count() > 1:
                raise  # others may have restored it
            damaged.append((step, error.what))
            continue
        steps = [step for step, _ in damaged]
        moved = by_first(functools.partial(_set_aside, latest, aside, steps))
        latest.reload()
        lines = (
            f"{what}; moved to {place}, the run goes on from step {step}"
            for (_, what), place in zip(damaged, moved, strict=True)
        )
        return restored._replace(lines=tuple(lines))


def _newest_whole(
    latest: ocp.CheckpointManager, wanted: Wanted, damaged: _Damaged
) -> tuple[int | None, _Damaged]:
    """Its step, None = there is none; and those that are damaged."""
    found = list(damaged)
    for step in sorted(latest.all_steps(), reverse=True):
        if step in [known for known, _ in damaged]:
            continue
        try:
            _check(Path(latest.directory) / str(step), wanted)
        except DamagedCheckpoint as error:
            found.append((step, error.what))
        else:
            return step, found
    return None, found


def _check(saved: Path, wanted: Wanted) -> None:
    with damage_named(saved, ""):
        check_checksums(saved)
        for item, tree in ((VARIABLES, wanted.variables), (TRAINING, wanted.training)):
            read_through(saved / item, tree)
            check_fits(saved, storage.metadata(saved / item), tree)
        read_json_through(saved / POSITION)


def _restored(latest: ocp.CheckpointManager, step: int, wanted: Wanted) -> Restored:
    arrays = {
        VARIABLES: ocp.args.StandardRestore(storage.abstract(wanted.variables)),
        TRAINING: ocp.args.StandardRestore(storage.abstract(wanted.training)),
    }
    position = {POSITION: ocp.args.JsonRestore()}
    with damage_named(Path(latest.directory) / str(step), ""):
        items = latest.restore(step, args=ocp.args.Composite(**arrays, **position))
    return Restored(items[VARIABLES], items[TRAINING], items[POSITION], step)


def _set_aside(
    latest: ocp.CheckpointManager, aside: Path, steps: Sequence[int]
) -> list[str]:
    folder = Path(latest.directory)
    return [str(set_aside(folder / str(step), aside)) for step in steps]
