"""Trains runs of one structure together: states stacked, one train step under `vmap`.

Each run keeps a folder, logs and checkpoints of its own, as if it had been trained by
itself: a run that was begun together may go on alone, and the other way round.
"""

import contextlib
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from resseg import runs, sharding
from resseg.config.keys import flatten
from resseg.config.structure import check_together
from resseg.console import say
from resseg.errors import UserError
from resseg.runs import checkpoints
from resseg.training import messages
from resseg.training.clock import Clock
from resseg.training.loop import Pending, run_steps
from resseg.training.open_run import OpenRun, Say
from resseg.training.prepare import Prepared
from resseg.training.program import Program, Programs
from resseg.training.progress import GroupProgress
from resseg.training.recorder import Diverged
from resseg.training.run import begin, finish
from resseg.training.steps import TrainState
from resseg.training.stops import Stop
from resseg.training.watchdog import watching

T = TypeVar("T")


class Outcome(NamedTuple):
    """How one of several runs ended.

    Attributes:
        folder: of the run.
        scores: as `train_and_evaluate` returns them; None where the loss diverged.
        message: of `Diverged`; "" where it did not.
    """

    folder: Path
    scores: dict[str, Any] | None
    message: str = ""


def resume_step(folder: Path) -> int:
    """The step that a run goes on from; only runs of equal ones can go together."""
    return checkpoints.latest_step(folder) or 0


def train_together(
    prepared: Sequence[Prepared],
    programs: Programs | None = None,
    stop: Stop | None = None,
) -> list[Outcome]:
    """Trains runs to their last step, or goes on with them, in lock-step.

    A run whose loss diverges ends there, as it would by itself; the others go on. The
    memory it takes is that of all states and all activations at once.

    Args:
        prepared: the runs, at least one; their folders must not be locked.
        programs: those of earlier runs of this process, to be shared.
        stop: may ask for an end before the last step; None = nothing does.

    Returns:
        The outcomes, in the order of the runs.

    Raises:
        UserError: they cannot go together, or a folder is in use; nothing is trained.
        Stopped: as asked; everything is saved.
    """
    check_together([each.config for each in prepared])
    if jax.process_count() > 1:
        raise UserError("--vectorize: expected one process, not a distributed one")
    with contextlib.ExitStack() as locks:
        for each in prepared:
            killed = locks.enter_context(runs.locked(each.folder))
            if killed is not None:
                _say_of(each.folder)(messages.killed_line(killed))
        _check_same_step({each.folder: resume_step(each.folder) for each in prepared})
        programs, first = programs or Programs(), prepared[0]
        stop, clock = stop or Stop(), Clock()
        program = programs(first.config, first.spec, first.mesh)
        group = _Group(program, len(prepared), first.mesh, clock)
        with contextlib.ExitStack() as held:
            for each in _sharing_loaders(prepared):
                own, named = each.program(programs), _say_of(each.folder)
                group.add(*begin(each, own, held, named, stop, clock))
            group.train(stop)
        return [_outcome(each, group.failed.get(i)) for i, each in enumerate(prepared)]


class _Group:
    """Runs that step together: one thing for the loop to train.

    Attributes:
        failed: message by the number of a run that diverged. Its slice is computed on,
            for nothing, and not looked at any more.
    """

    def __init__(
        self, program: Program, count: int, mesh: jax.sharding.Mesh, clock: Clock
    ):
        self.failed: dict[int, str] = {}
        self._clock = clock
        self._runs: list[OpenRun] = []
        variants = sharding.variants_mesh(mesh, count)
        self._split = sharding.by_variant(variants)
        self._whole = sharding.replicated(mesh)
        self._step = program.step_together(variants)
        # Slices; the first runs are there twice where devices would not share evenly.
        self._slices = [i % count for i in range(count + -count % variants.size)]
        self._begun: list[TrainState] = []  # on the host

    def add(self, run: OpenRun, state: TrainState) -> None:
        """Takes a run that has begun."""
        self._runs.append(run)
        self._begun.append(jax.device_get(state))

    def train(self, stop: Stop) -> None:
        """Trains all runs that were added."""
        # One may have gone back, past a checkpoint that is damaged.
        _check_same_step({run.folder: run.start for run in self._runs})
        first, count = self._runs[0], len(self._runs)
        begun = [self._begun[i] for i in self._slices]
        self._state = self._put(jax.tree.map(lambda *leaves: np.stack(leaves), *begun))
        keys = [jax.random.key(run.config.seed) for run in self._runs]
        self._keys = self._put(jnp.stack([keys[i] for i in self._slices]))
        del self._begun, begun
        say(f"{count} runs together, {self._split.mesh.size} devices")
        size = first.config.data.batch_size
        patience = first.config.train.stall_seconds
        with (
            GroupProgress(first.start, self.steps, size, count) as progress,
            contextlib.suppress(Diverged),  # all of them
            watching(self._clock, patience, stop.leave, say),
        ):
            run_steps(self, first.start, progress, stop, self._clock)
        for _, run in self._alive():
            run.end()
        del self._state

    @property
    def steps(self) -> int:
        return self._runs[0].intervals.steps

    def draw(self) -> dict[str, np.ndarray]:
        """The batches of all slices, stacked; a loader that runs share is read once."""
        loaders = {id(run.loader): run.loader for run in self._runs}
        by_loader = {key: next(loader) for key, loader in loaders.items()}
        for _, run in self._alive():
            run.note_data()
        batches = [by_loader[id(self._runs[i].loader)] for i in self._slices]
        return {name: np.stack([b[name] for b in batches]) for name in batches[0]}

    def dispatch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Starts a step of all slices; returns their log."""
        self._state, log = self._step(
            self._state, sharding.put_batch(batch, self._split), self._keys
        )
        return log

    def record(self, progress: GroupProgress, pending: Pending) -> bool:
        """Lets every run write its slice of the log; True.

        Raises:
            Diverged: every run has.
        """
        with self._clock.on("wait"):
            log = jax.device_get(pending.log)
        with self._clock.on("log"):
            self._record(progress, pending.step, log)
        if len(self.failed) == len(self._runs):
            raise Diverged("every run diverged")
        return True

    def _record(self, progress: GroupProgress, step: int, log: Any) -> None:
        for i, run in self._alive():
            try:
                run.record(progress, Pending(step, _slice(log, i)))
            except Diverged as error:
                self.failed[i] = str(error)
                run.say(str(error))
        progress.end_line(step)

    def pause_due(self, step: int) -> bool:
        return self._runs[0].intervals.pause_due(step)

    def pause(self, step: int) -> bool:
        """All save before any evaluates, so that a kill rarely comes between them."""
        self._each(OpenRun.pause, step)
        return all(self._each(OpenRun.evaluate, step))

    def save(self, step: int) -> None:
        self._each(OpenRun.save, step)
        for _, run in self._alive():
            run.finish_save()

    def _each(
        self, work: Callable[[OpenRun, int, TrainState], T], step: int
    ) -> list[T]:
        states = jax.device_get(self._state)
        return [
            work(run, step, jax.device_put(_slice(states, i), self._whole))
            for i, run in self._alive()
        ]

    def _alive(self) -> list[tuple[int, OpenRun]]:
        return [(i, run) for i, run in enumerate(self._runs) if i not in self.failed]

    def _put(self, stacked: Any) -> Any:
        return jax.device_put(stacked, self._split)


def _check_same_step(steps: Mapping[Path, int]) -> None:
    """Of each folder the step that it goes on from."""
    (first, step), *others = steps.items()
    for folder, other in others:
        if other != step:
            raise UserError(
                f"--vectorize: {first} goes on from step {step}, {folder} from step "
                f"{other}; expected runs at one step"
            )


def _sharing_loaders(prepared: Sequence[Prepared]) -> list[Prepared]:
    """Runs that read the same batches, which is most of a sweep, read them once."""
    loaders: dict[str, Any] = {}
    shared = []
    for each in prepared:
        data = flatten(each.config.data) | {"seed": each.config.seed}
        key = json.dumps(data, sort_keys=True, default=list)
        shared.append(each._replace(loader=loaders.setdefault(key, each.loader)))
    return shared


def _slice(stacked: Any, index: int) -> Any:
    return jax.tree.map(operator.itemgetter(index), stacked)


def _outcome(prepared: Prepared, message: str | None) -> Outcome:
    if message is not None:
        return Outcome(prepared.folder, None, message)
    return Outcome(prepared.folder, finish(prepared, _say_of(prepared.folder)))


def _say_of(folder: Path) -> Say:
    return lambda line: say(f"{folder.name}: {line}")
