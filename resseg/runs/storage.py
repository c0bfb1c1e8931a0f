"""How orbax writes a checkpoint, and what it says of one."""

import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from resseg.errors import UserError
from resseg.runs.checksums import write_checksums
from resseg.runs.damage import UNEXPECTED, refusals_named
from resseg.runs.places import resolved

VARIABLES, TRAINING, POSITION = "variables", "training", "position"  # items
_ONE = threading.Lock()  # runs that train together save behind each other


def save(to: ocp.CheckpointManager, step: int, items: Any) -> None:
    """Writes a checkpoint, and what its files hold.

    Raises:
        OSError: the system refuses it.
    """
    folder = Path(to.directory)
    with _ONE, refusals_named(folder):
        to.save(step, args=items)
    if jax.process_index() == 0:
        write_checksums(folder / str(step))


def copied(tree: Any) -> Any:
    """On the host, where no step that is given the arrays overwrites them."""
    return jax.tree.map(lambda leaf: np.array(leaf), jax.device_get(tree))


def metadata(item: Path) -> Any:
    """Shapes and types of the arrays that are stored of an item, as a tree."""
    place: Any = item
    return ocp.StandardCheckpointHandler().metadata(place).tree


def abstract(tree: Any) -> Any:
    """Shapes, types and shardings of arrays."""
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


def manager(
    folder: Path, newest: int, keep_period: int | None = None
) -> ocp.CheckpointManager:
    """Of a folder that keeps the `newest`, and one every `keep_period` steps.

    Raises:
        UserError: what describes a checkpoint there is damaged.
    """
    options = ocp.CheckpointManagerOptions(
        max_to_keep=newest,
        keep_period=keep_period,
        create=True,
        cleanup_tmp_directories=True,  # of a save that was killed
        enable_async_checkpointing=False,
    )
    place = resolved(folder)
    try:
        return ocp.CheckpointManager(
            place, options=options, item_names=(VARIABLES, TRAINING, POSITION)
        )
    except UNEXPECTED as error:
        if isinstance(error, OSError):
            raise
        raise UserError(
            f"{folder}: a _CHECKPOINT_METADATA in it is damaged ({error}); move the "
            "folder of that checkpoint away"
        ) from error
