"""The autopsy of a run: the step that was not finite, in a folder of its own.

Its state is an ordinary checkpoint, its batch plain arrays: `resseg autopsy` takes the
step again from them, whatever has become of the run and of its data.
"""

import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resseg import text
from resseg.errors import UserError, naming
from resseg.runs import layout
from resseg.runs.checkpoints import Checkpoints
from resseg.runs.json_files import read_json, values_of, write_json
from resseg.runs.restoring import ByFirst, Restored, here

BATCH, FACTS, PAGE = "batch.npz", "autopsy.json", "autopsy.md"
_KINDS: dict[str, Any] = {
    **{"step": int, "batch": int, "said": str, "first": str, "faults": list},
    **{"devices": int},
}
_HEADER = 4096  # bytes that NumPy writes before an array, at most


def write_autopsy(
    workdir: str | os.PathLike,
    facts: Mapping[str, Any],
    page: str,
    batch: Mapping[str, np.ndarray],
    state: Restored,
    by_first: ByFirst = here,
) -> None:
    """Writes the folder; what an earlier stop of the run left there is replaced.

    Args:
        workdir: the run folder.
        facts: what was found, ready for JSON; `step` is that which was not finite.
        page: the same in words, Markdown.
        batch: of that step.
        state: before that step.
        by_first: see `Checkpoints.restore`; the first process writes what is no state.
    """
    folder, arrays = Path(workdir) / layout.AUTOPSY, dict[str, Any](batch)

    def begin() -> None:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()

    def end() -> None:
        with naming(folder / BATCH), open(folder / BATCH, "wb") as file:
            np.savez_compressed(file, **arrays)
        text.write(folder / PAGE, page)
        write_json(folder / FACTS, facts)  # at last: with it the folder is whole

    by_first(begin)
    with Checkpoints(folder) as saved:
        saved.save(state.step, state.variables, state.training, state.position)
    by_first(end)


def read_facts(workdir: str | os.PathLike) -> dict[str, Any]:
    """What was found.

    Raises:
        UserError: the run has no autopsy, or it is damaged.
    """
    file = Path(workdir) / layout.AUTOPSY / FACTS
    if not file.exists():
        raise UserError(
            f"{workdir}: no autopsy in it; a training writes one where its loss or "
            "gradient is not finite and it stops"
        )
    with values_of(file):
        facts = read_json(file)
        return {name: kind(facts[name]) for name, kind in _KINDS.items()}


def read_batch(
    workdir: str | os.PathLike, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The batch of the step.

    Args:
        workdir: the run folder.
        shape: of its labels, `[batch, height, width]`; nothing larger is read.

    Raises:
        UserError: its file is damaged, or of another shape.
    """
    file = Path(workdir) / layout.AUTOPSY / BATCH
    wanted = {
        "image": np.empty((*shape, 3), np.float32),
        "label": np.empty(shape, np.int32),
    }
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
        for name, array in wanted.items():
            if sizes[f"{name}.npy"] > array.nbytes + _HEADER:
                raise ValueError(f"{name} is larger than {array.shape}")
        with np.load(file, allow_pickle=False) as arrays:
            batch = {name: arrays[name] for name in wanted}
        for name, array in wanted.items():
            if (batch[name].shape, batch[name].dtype) != (array.shape, array.dtype):
                raise ValueError(f"{name} is not {array.dtype} {array.shape}")
    except Exception as error:  # zip, zlib and NumPy each have errors of their own
        raise UserError(f"{file}: damaged ({error}); restore it from a copy") from error
    return batch


def restore_state(
    workdir: str | os.PathLike, variables: Any, training: Any
) -> Restored:
    """The state before the step; arguments and errors as of `Checkpoints.restore`."""
    with Checkpoints(Path(workdir) / layout.AUTOPSY) as saved:
        return saved.restore(variables, training)
