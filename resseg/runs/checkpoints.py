"""Checkpoints of a run: the latest, the best, every N.

What is saved are trees of arrays and the position in the data: nothing here knows what
a network or an optimizer is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax
import orbax.checkpoint as ocp

from resseg.errors import UserError
from resseg.runs import layout, storage
from resseg.runs.behind import Behind
from resseg.runs.checksums import check_checksums
from resseg.runs.damage import damage_named, read_json_through, read_through
from resseg.runs.fit import check_fits
from resseg.runs.places import resolved
from resseg.runs.restoring import ByFirst, Restored, Wanted, here, restore_newest
from resseg.runs.storage import POSITION, TRAINING, VARIABLES


class Checkpoints:
    """Saves and restores what a run goes on from, and its best weights.

    Saving is atomic: a killed save leaves the checkpoint before it, and a full disk
    does. All files are read back for their checksums, and the first save through orbax
    at once: hours later it would be too late. The others are written behind the
    training where it is one process: `finish` waits, and what went wrong is raised by
    the next call, so that none is left out in silence. The last two are kept: if the
    latest is damaged, the work of one interval is lost.

    Args:
        workdir: the run folder.
        keep_every: steps between checkpoints kept for good; 0 = only the last two.
    """

    def __init__(self, workdir: Path, keep_every: int = 0):
        self._aside = workdir / layout.DAMAGED
        self._latest = storage.manager(
            workdir / layout.CHECKPOINTS, 2, keep_every or None
        )
        self._best = storage.manager(workdir / layout.BEST, 1)
        self._read_back = False
        self._behind = Behind()

    def latest_step(self) -> int | None:
        self.finish()
        return self._latest.latest_step()

    def save(
        self, step: int, variables: Any, training: Any, position: dict[str, Any]
    ) -> None:
        """Saves what a run at `step` goes on from, unless that step has been saved.

        The arrays may be donated once this returns.

        Raises:
            UserError: the first one that is saved cannot be read back.
            OSError: the system refused the one before.
        """
        self.finish()
        if step in self._latest.all_steps():
            return
        behind = self._read_back and jax.process_count() == 1
        if behind:
            variables, training = storage.copied(variables), storage.copied(training)
        items = ocp.args.Composite(
            variables=ocp.args.StandardSave(variables),
            training=ocp.args.StandardSave(training),
            position=ocp.args.JsonSave(position),
        )
        if behind:
            self._behind.do(lambda: storage.save(self._latest, step, items))
            return
        storage.save(self._latest, step, items)
        if not self._read_back:
            saved = Path(self._latest.directory) / str(step)
            with damage_named(
                saved, "it was written a moment ago: choose a folder on another disk"
            ):
                read_through(saved / VARIABLES, variables)
                read_through(saved / TRAINING, training)
                read_json_through(saved / POSITION)
            self._read_back = True

    def check(self) -> None:
        """Raises what went wrong with a save; waits for none."""
        self._behind.check()

    def finish(self) -> None:
        """Waits until what was saved is on the disk.

        Raises:
            OSError: the system refused it.
        """
        self._behind.finish()

    def save_best(self, step: int, variables: Any) -> None:
        """Saves what a forward pass needs; replaces the best before it. It waits."""
        self.finish()
        if step not in self._best.all_steps():
            items = ocp.args.Composite(variables=ocp.args.StandardSave(variables))
            storage.save(self._best, step, items)

    def forget_best_after(self, step: int) -> None:
        """Drops a best that a resumed run has not reached yet."""
        for later in self._best.all_steps():
            if later > step:
                self._best.delete(later)

    def restore(
        self, variables: Any, training: Any, by_first: ByFirst = here
    ) -> Restored:
        """The newest checkpoint that is whole; see `restore_newest`."""
        self.finish()
        wanted = Wanted(variables, training)
        return restore_newest(self._latest, self._aside, wanted, by_first)

    def close(self) -> None:
        try:
            self.finish()
        finally:
            self._latest.close()
            self._best.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def latest_step(workdir: Path) -> int | None:
    """Step that a run would go on from; None where it has not got that far."""
    steps = _steps(workdir / layout.CHECKPOINTS)
    return steps[-1] if steps else None


def saved_steps(workdir: Path) -> tuple[list[int], int | None]:
    """Steps with a checkpoint, ascending, and the best of them that was kept apart."""
    latest = _steps(workdir / layout.CHECKPOINTS)
    best = _steps(workdir / layout.BEST)
    return sorted({*latest, *best}), best[-1] if best else None


def choose_step(workdir: Path, step: int | None = None) -> int:
    """`step` if it has a checkpoint; None = the best if there is one, else the latest.

    Raises:
        UserError: there is no checkpoint, none of that step, or the best is damaged.
    """
    steps, best = saved_steps(workdir)
    if not steps:
        raise UserError(f"{workdir}: no checkpoint in it yet")
    if step is None and best is not None:
        saved = workdir / layout.BEST / str(best)
        if not (saved / layout.WEIGHTS_INDEX).is_file():
            listed = ", ".join(str(each) for each in steps if each != best) or "none"
            raise UserError(
                f"{saved}: damaged, without {layout.WEIGHTS_INDEX}; choose another "
                f"checkpoint with --step (there are {listed})"
            )
        return best
    if step is None:
        return steps[-1]
    if step not in steps:
        listed = ", ".join(map(str, steps))
        raise UserError(f"{workdir}: no checkpoint of step {step}; there are {listed}")
    return step


def restore_variables(
    workdir: Path, step: int | None = None, wanted: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """params, batch_stats and paths of a step as host arrays; see `choose_step`.

    Args:
        workdir: the run folder.
        step: of the checkpoint.
        wanted: collections of the network that they are for, or their shapes.

    Raises:
        UserError: as `choose_step`, the files of the checkpoint are damaged, or it does
            not have what is `wanted`.
    """
    step = choose_step(workdir, step)
    latest = step in _steps(workdir / layout.CHECKPOINTS)
    folder = workdir / (layout.CHECKPOINTS if latest else layout.BEST)
    saved: Any = resolved(folder) / str(step) / VARIABLES
    # Onto one device, whatever the run was trained on.
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    others = [str(other) for other in saved_steps(workdir)[0] if other != step]
    remedy = "no other checkpoint is there: train again"
    if others:
        remedy = f"choose another with --step (there are {', '.join(others)})"
    with damage_named(folder / str(step), remedy):
        check_checksums(saved.parent)
        read_through(saved, wanted)
        stored = storage.metadata(saved)
        if wanted is not None:
            there = {name: stored.get(name, {}) for name in wanted}
            check_fits(folder / str(step), there, wanted)
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
            stored,
        )
        restored = ocp.StandardCheckpointHandler().restore(
            saved, args=ocp.args.StandardRestore(like)
        )
    return jax.device_get(restored)


def save_variables(workdir: Path, variables: dict[str, Any]) -> None:
    """Saves weights that no training led to as the checkpoint of step 0."""
    manager = storage.manager(workdir / layout.CHECKPOINTS, 1)
    storage.save(
        manager, 0, ocp.args.Composite(variables=ocp.args.StandardSave(variables))
    )
    manager.close()


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(ocp.utils.checkpoint_steps(folder))
