"""Checkpoints: latest, best and every N. The only module that imports orbax."""

import contextlib
import functools
import json
import math
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
import tensorstore

from resseg.errors import UserError
from resseg.runs import layout
from resseg.training.steps import TrainState

LATEST, BEST = "checkpoints", "best"  # folders inside a run folder
VARIABLES = "variables"  # the item that a forward pass needs
_TRAINING = "training"  # the item that only training needs
_INDEX = "_METADATA"  # orbax's list of the arrays of an item


class Checkpoints:
    """Saves and restores the training state together with the position in the data.

    Saving is atomic: a killed save leaves the checkpoint before it.

    Args:
        workdir: the run folder.
        keep_every: steps between checkpoints kept for good; 0 = only the latest.
    """

    def __init__(self, workdir: Path, keep_every: int = 0):
        self._latest = _manager(workdir / LATEST, keep_every or None)
        self._best = _manager(workdir / BEST, None)

    def latest_step(self) -> int | None:
        return self._latest.latest_step()

    def save(self, state: TrainState, position: dict) -> None:
        """Saves `state` at its step, unless that step has been saved."""
        step = int(state.step)
        if step in self._latest.all_steps():
            return
        self._latest.save(
            step,
            args=ocp.args.Composite(
                variables=ocp.args.StandardSave(state.variables()),
                training=ocp.args.StandardSave(_training_part(state)),
                position=ocp.args.JsonSave(position),
            ),
        )

    def save_best(self, state: TrainState) -> None:
        """Saves what a forward pass needs; replaces the best before it."""
        step = int(state.step)
        if step not in self._best.all_steps():
            variables = ocp.args.StandardSave(state.variables())
            self._best.save(step, args=ocp.args.Composite(variables=variables))

    def forget_best_after(self, step: int) -> None:
        """Drops a best that a resumed run has not reached yet."""
        for later in self._best.all_steps():
            if later > step:
                self._best.delete(later)

    def restore(self, like: TrainState) -> tuple[TrainState, dict]:
        """The latest state, with the shardings of `like`, and its place in the data.

        Raises:
            UserError: its files are damaged.
        """
        *earlier, step = sorted(self._latest.all_steps())
        then = f"goes on from step {earlier[-1]}" if earlier else "begins anew"
        saved = Path(self._latest.directory) / str(step)
        with _damage_named(saved, f"remove it, and the run {then}"):
            _read_through(saved / VARIABLES)
            _read_through(saved / _TRAINING)
            restored = self._latest.restore(
                step,
                args=ocp.args.Composite(
                    variables=ocp.args.StandardRestore(_abstract(like.variables())),
                    training=ocp.args.StandardRestore(_abstract(_training_part(like))),
                    position=ocp.args.JsonRestore(),
                ),
            )
        variables, training = restored["variables"], restored["training"]
        state = TrainState(
            step=training["step"],
            params=training["params"] if like.ema else variables["params"],
            batch_stats=variables["batch_stats"],
            paths=variables["paths"],
            opt_state=training["opt_state"],
            ema=variables["params"] if like.ema else {},
            schedules=like.schedules,
            numbers=like.numbers,
        )
        return state, restored["position"]

    def close(self) -> None:
        self._latest.close()
        self._best.close()


def latest_step(workdir: Path) -> int | None:
    """Step that a run would go on from; None where it has not got that far."""
    steps = _steps(workdir / LATEST)
    return steps[-1] if steps else None


def saved_steps(workdir: Path) -> tuple[list[int], int | None]:
    """Steps with a checkpoint, ascending, and the best of them that was kept apart."""
    latest, best = _steps(workdir / LATEST), _steps(workdir / BEST)
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
        saved = workdir / BEST / str(best)
        if not (saved / VARIABLES / _INDEX).is_file():
            listed = ", ".join(map(str, steps))
            raise UserError(
                f"{saved}: damaged, without {VARIABLES}/{_INDEX}; remove it, or choose "
                f"a checkpoint with --step (there are {listed})"
            )
        return best
    if step is None:
        return steps[-1]
    if step not in steps:
        listed = ", ".join(map(str, steps))
        raise UserError(f"{workdir}: no checkpoint of step {step}; there are {listed}")
    return step


def restore_variables(workdir: Path, step: int | None = None) -> dict[str, Any]:
    """params, batch_stats and paths of a step as host arrays; see `choose_step`.

    Raises:
        UserError: as `choose_step`, or the files of the checkpoint are damaged.
    """
    step = choose_step(workdir, step)
    folder = workdir / (LATEST if step in _steps(workdir / LATEST) else BEST)
    saved: Any = folder.absolute() / str(step) / VARIABLES
    # Onto one device, whatever the run was trained on.
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    reader = ocp.StandardCheckpointHandler()
    others = [str(other) for other in saved_steps(workdir)[0] if other != step]
    remedy = "no other checkpoint is there: train again"
    if others:
        remedy = f"choose another with --step (there are {', '.join(others)})"
    with _damage_named(folder / str(step), remedy):
        _read_through(saved)
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
            reader.metadata(saved).tree,
        )
        restored = reader.restore(saved, args=ocp.args.StandardRestore(like))
    return jax.device_get(restored)


def save_variables(workdir: Path, variables: dict[str, Any]) -> None:
    """Saves weights that no training led to as the checkpoint of step 0."""
    manager = _manager(workdir / LATEST, None)
    saved = ocp.args.StandardSave(variables)
    manager.save(0, args=ocp.args.Composite(variables=saved))
    manager.close()


@contextlib.contextmanager
def _damage_named(saved: Path, remedy: str) -> Iterator[None]:
    """What reading a damaged checkpoint raises, as one line that names it."""
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_report_unraisable, hook)
    try:
        yield
    except (ValueError, OSError, KeyError) as error:
        # The hook stays: arrays that are whole but of another content fail later.
        reason = textwrap.shorten(str(error), 100)
        raise UserError(f"{saved}: damaged checkpoint ({reason}); {remedy}") from error
    sys.unraisablehook = hook


def _read_through(item: Path) -> None:
    """Reads all that is stored of an item, one value after the other.

    Orbax reads all arrays at the same time and leaves the others under way when one
    fails: what these raise later, in threads of their own, nobody can catch. So files
    that are cut or missing are found here first.

    Raises:
        ValueError: a value cannot be read, or there is none.
    """
    files = {"driver": "file", "path": f"{item.absolute()}/"}
    spec = {"driver": "ocdbt", "base": files}
    store = tensorstore.KvStore.open(spec).result()
    keys = store.list().result()
    if not keys:
        raise ValueError(f"{item.name}: no arrays")
    for key in keys:
        store.read(key).result()


def _report_unraisable(hook: Callable, unraisable: Any) -> None:
    """As `hook`, but for reads whose event loop ended with the first that failed."""
    if "Event loop is closed" not in str(unraisable.exc_value):
        hook(unraisable)


def _training_part(state: TrainState) -> dict[str, Any]:
    part = {"step": state.step, "opt_state": state.opt_state}
    return part | {"params": state.params} if state.ema else part


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(ocp.utils.checkpoint_steps(folder))


def _manager(folder: Path, keep_period: int | None) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=1,
        keep_period=keep_period,
        create=True,
        enable_async_checkpointing=False,
    )
    return ocp.CheckpointManager(
        folder.absolute(),
        options=options,
        item_names=(VARIABLES, _TRAINING, "position"),
    )


_DESCRIPTION = Path("variables") / "_METADATA"


def parameter_count(workdir: Path) -> int | None:
    """Learned numbers of the network; None where no checkpoint describes them."""
    for name in (layout.CHECKPOINTS, layout.BEST):
        for path in sorted((workdir / name).glob(f"*/{_DESCRIPTION}")):
            count = _count(path)
            if count is not None:
                return count
    return None


def _count(path: Path) -> int | None:
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        shapes = [
            leaf["value_metadata"]["write_shape"]
            for leaf in tree["tree_metadata"].values()
            if leaf["key_metadata"][0]["key"] == "params"
        ]
        return sum(math.prod(shape) for shape in shapes) or None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
