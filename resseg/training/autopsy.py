"""Why a training stopped: the step that was not finite, taken once more.

The state before it is gone when that is known, so it is computed again, from the last
checkpoint and the same batches: to the same bits.
"""

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resseg import sharding
from resseg.config.load import load_config
from resseg.console import say
from resseg.data import DatasetSpec
from resseg.runs import Run, layout
from resseg.runs.autopsy import (
    PAGE,
    read_batch,
    read_facts,
    restore_state,
    write_autopsy,
)
from resseg.runs.checkpoints import Checkpoints
from resseg.runs.restoring import Restored
from resseg.training.beginning import last_state
from resseg.training.examination import Examiner
from resseg.training.faults import STAGES, Fault
from resseg.training.guard import is_finite
from resseg.training.prepare import Prepared
from resseg.training.program import Program, Programs
from resseg.training.recorder import Diverged, diagnosis
from resseg.training.scaling import has_overflowed
from resseg.training.steps import TrainState

_examiners: "weakref.WeakKeyDictionary[Program, Examiner]"
_examiners = weakref.WeakKeyDictionary()


class Step(NamedTuple):
    """A step that was not finite.

    Attributes:
        number: of the update that it was to make.
        batch: its number in the data, from 0.
        arrays: the batch itself.
        state: before the step.
        said: what its log says.
    """

    number: int
    batch: int
    arrays: Mapping[str, np.ndarray]
    state: TrainState
    said: str


def examined(prepared: Prepared, program: Program, error: Diverged) -> Diverged:
    """Performs the autopsy of a run that stopped; its error, with what was found.

    Whatever goes wrong with it is said there too: it must not hide why the run stopped.

    Raises:
        RuntimeError: that has gone wrong in one of several processes, of which others
            may wait for it.
    """
    try:
        found = _perform(prepared, program, error.step)
    except Exception as fault:
        found = f"failed: {fault}"
        if prepared.group.processes > 1:
            raise RuntimeError(f"{error}; autopsy: {found}") from fault
    return Diverged(f"{error}; autopsy: {found}", error.step)


def replay(run: Run) -> list[str]:
    """Takes the step of a run's autopsy again; what is found, in lines.

    Raises:
        UserError: the run has no autopsy, or it is damaged.
    """
    facts = read_facts(run.path)
    config: Any = load_config(run.path)
    count, space = facts["devices"], facts.get("space", 1)  # older ones had one axis
    fits = count <= len(sharding.devices())
    mesh = sharding.make_mesh(count // space, space) if fits else sharding.make_mesh(1)
    spec = DatasetSpec(config.data.name, run.classes, {})
    program = Programs()(config, spec, mesh)
    state = program.begin(config)
    saved = restore_state(run.path, state.variables(), state.training())
    state = state.restored(saved.variables, saved.training)
    batch = read_batch(run.path, (config.data.batch_size, *config.data.crop))
    examiner = _examiner(program, config, spec, mesh)
    put = sharding.put_batch(batch, sharding.by_batch(mesh))
    faults = examiner(state, put, jax.random.key(config.seed))
    title = f"step {facts['step']}, batch {facts['batch']}: {facts['said']}"
    lines = [title, f"first: {_first(faults)}", *_table(faults)]
    if [list(fault) for fault in faults] != facts["faults"]:
        lines.append(f"when it stopped, the first was: {facts['first']}")
    return lines


def _perform(prepared: Prepared, program: Program, until: int) -> str:
    step = _find(prepared, program, until)
    if step is None:
        return (
            "taken again, the steps are finite: a fault of the machine, not of a step"
        )
    config, mesh, group = prepared.config, prepared.mesh, prepared.group
    examiner = _examiner(program, config, prepared.spec, mesh)
    put = sharding.put_batch(step.arrays, sharding.by_batch(mesh))
    found = examiner(step.state, put, jax.random.key(config.seed))
    faults = _first_of_each(group.gather([list(fault) for fault in found]))
    arrays = {name: examiner.whole(values) for name, values in put.items()}
    facts = {
        "step": step.number,
        "batch": step.batch,
        "said": step.said,
        "first": _first(faults),
        "faults": [list(fault) for fault in faults],
        "devices": mesh.size,
        "space": mesh.shape[sharding.SPACE],
    }
    state = step.state
    kept = Restored(
        state.variables(),
        state.training(),
        {"next_batch": step.batch},
        step.number - 1,
    )
    page = _page(prepared.folder, facts, faults)
    write_autopsy(prepared.folder, facts, page, arrays, kept, group.by_first)
    earlier = "" if step.number == until else f"already in step {step.number}, "
    return f"{earlier}{facts['first']} ({prepared.folder / layout.AUTOPSY / PAGE})"


def _find(prepared: Prepared, program: Program, until: int) -> Step | None:
    """The first step after the last checkpoint that is not finite; None = none is."""
    with Checkpoints(prepared.folder, prepared.config.checkpoint.keep_every) as saved:
        state, start = last_state(prepared, program, saved, say)
    key = jax.random.key(prepared.config.seed)
    split, loader = sharding.by_batch(prepared.mesh), prepared.loader
    try:
        number = (start or 0) + 1
        while number <= until:
            before, arrays = jax.tree.map(jnp.copy, state), next(loader)
            put = sharding.put_batch(arrays, split)
            state, log = program.step(state, put, key)
            log = jax.device_get(log)
            if has_overflowed(log):
                continue
            if not is_finite(log):
                said = diagnosis(program.forks, log)
                return Step(number, loader.number, arrays, before, said)
            number += 1
        return None
    finally:
        loader.close()


def _examiner(
    program: Program, config: Any, spec: DatasetSpec, mesh: jax.sharding.Mesh
) -> Examiner:
    # One for all runs of a sweep that share the program: it takes long to compile.
    examiner = _examiners.get(program)
    if examiner is None:
        examiner = Examiner(program, config, spec.num_classes, mesh)
        _examiners[program] = examiner
    return examiner


def _first_of_each(found: Sequence[Sequence[Sequence[str]]]) -> list[Fault]:
    """By stage, of what several processes have found, what the first of them has."""
    faults = {}
    for fault in (Fault(*each) for faults in found for each in faults):
        faults.setdefault(fault.stage, fault)
    return [faults[stage] for stage in STAGES if stage in faults]


def _first(faults: Sequence[Fault]) -> str:
    if faults:
        return str(faults[0])
    return "none: examined by parts the step is finite, it rounds otherwise as a whole"


def _table(faults: Sequence[Fault]) -> list[str]:
    """A line per stage."""
    found = {fault.stage: f"{fault.name}: {fault.detail}" for fault in faults}
    return [f"  {stage:11} {found.get(stage, 'finite')}" for stage in STAGES]


def _page(folder: Path, facts: Mapping[str, Any], faults: Sequence[Fault]) -> str:
    lines = [
        f"# Step {facts['step']} was not finite",
        "",
        f"Batch {facts['batch']} of the data of {folder}: {facts['said']}.",
        "",
        f"**First: {facts['first']}**",
        "",
        "By stage, in the order of the signal, the first that is not finite; images",
        "and batches count from 0:",
        "",
        *(f"    {line.strip()}" for line in _table(faults)),
        "",
        "Beside this page: the batch (`batch.npz`), the state before the step",
        "(`checkpoints`), and the same for programs (`autopsy.json`).",
        "",
        f"    resseg autopsy {folder}    takes the step again",
        "",
        "The training goes on without the batch where its command says",
        "`--config.train.on_nonfinite=rollback`.",
    ]
    return "\n".join(lines) + "\n"
