"""`resseg train`: a run from its first step, or its latest checkpoint, to its last."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from resseg import runs, sharding
from resseg.config.keys import flatten
from resseg.config.remarks import remarks
from resseg.console import duration, say
from resseg.processes.group import ALONE, Group
from resseg.runs import layout
from resseg.runs.checkpoints import Checkpoints
from resseg.runs.dropped import read_dropped
from resseg.runs.trackers.behind import Trackers, about_run
from resseg.training import autopsy, initial, messages
from resseg.training.beginning import last_state
from resseg.training.clock import Clock, Times
from resseg.training.dropping import BATCHES, RolledBack
from resseg.training.loop import Pending, run_steps
from resseg.training.open_run import BATCH, OpenRun, Say
from resseg.training.prepare import Prepared, prepare
from resseg.training.program import Program, Programs
from resseg.training.progress import TrainingProgress
from resseg.training.recorder import Diverged as Diverged
from resseg.training.steps import TrainState
from resseg.training.stops import Stop, Stopped
from resseg.training.watchdog import watching


def train_and_evaluate(
    config: Any,
    workdir: str | Path,
    programs: Programs | None = None,
    stop: Stop | None = None,
    clock: Clock | None = None,
    group: Group = ALONE,
) -> dict[str, Any]:
    """Trains what `config` describes in `workdir`; goes on where a run there stopped.

    Args:
        config: as `load_config` returns it.
        workdir: the run folder.
        programs: those of earlier runs of this process, to be shared.
        stop: may ask for an end before the last step; None = nothing does.
        clock: that has counted since the run began; None = it begins now.
        group: of the processes that train it, all of which call this.

    Returns:
        The scores on `config.data.eval_split` after the last step.

    Raises:
        UserError: wrong input; before any device work, with the folder as it was.
        Diverged: the loss became infinite or NaN; see `autopsy`.
        Stopped: as asked; everything is saved.
    """
    programs, stop = programs or Programs(), stop or Stop()
    clock = clock or Clock()
    prepared = prepare(config, workdir, programs, group)
    with contextlib.ExitStack() as held:
        killed = group.by_first(
            lambda: held.enter_context(runs.locked(prepared.folder))
        )
        if killed is not None and group.leads:
            say(messages.killed_line(killed))
        program = prepared.program(programs)
        try:
            while not _trained(prepared, program, stop, clock):
                say("back to the last checkpoint, to go without that batch")
        except Diverged as error:
            raise autopsy.examined(prepared, program, error) from error
        stop.at_once("the run is finished; its figures are not drawn")
        return group.by_first(lambda: finish(prepared))


def _trained(prepared: Prepared, program: Program, stop: Stop, clock: Clock) -> bool:
    """Trains to the last step; False where the run has to go back for that."""
    with contextlib.ExitStack() as held:
        run, state = begin(prepared, program, held, stop=stop, clock=clock)
        try:
            _train(Alone(run, program, state, clock), stop, clock)
        except RolledBack:
            return False
    return True


def begin(
    prepared: Prepared,
    program: Program,
    held: contextlib.ExitStack,
    say: Say = say,
    stop: Stop | None = None,
    clock: Clock | None = None,
) -> tuple["OpenRun", TrainState]:
    """Goes to the latest checkpoint of a run, or to its initial weights.

    Args:
        prepared: the run; its folder must be locked.
        program: that trains it.
        held: closes, at last, what the run keeps open.
        say: called with each line that is for people.
        stop: may ask for an end; None = nothing does.
        clock: counts its time.

    Returns:
        The run and its state.

    Raises:
        UserError: the checkpoint is damaged.
    """
    config, folder = prepared.config, prepared.folder
    held.callback(prepared.loader.close)
    saved = held.enter_context(Checkpoints(folder, config.checkpoint.keep_every))
    state, start = last_state(prepared, program, saved, say)
    if start is None:
        start = 0
        spec, mesh = prepared.spec, prepared.mesh
        say(messages.headline(config, spec, state, program.forks, mesh))
        for line in remarks(config):
            say(line)
        if prepared.start is not None and prepared.group.leads:
            _record_start(prepared.start, folder, say)
    else:
        say(f"resumed at step {start} of {config.train.steps}")
    for line in prepared.notes:
        say(line)
    saved.forget_best_after(start)
    clock = clock or Clock()
    earlier = clock.earlier(folder)
    writer = held.enter_context(_writer(prepared, start, say))
    if dropped := read_dropped(folder):
        writer.write_count(BATCHES, start, len(dropped))
    stop = stop or Stop()
    stop.at_once(str(Stopped(start, config.train.steps)))
    times = Times(clock, earlier, writer)
    times.write(start)
    return OpenRun(prepared, program, saved, writer, start, stop, say, times), state


def _writer(prepared: Prepared, start: int, say: Say) -> runs.RunWriter:
    """Writes the log of a run that goes on at a step, or nothing at all."""
    folder = prepared.folder
    if not prepared.group.leads:
        return runs.NoWriter()
    resumed, names = (folder / layout.METRICS).exists(), prepared.config.log.trackers
    about = about_run(folder, flatten(prepared.config))
    return runs.RunWriter(
        folder,
        tensorboard=prepared.config.log.tensorboard,
        resume_step=start if resumed else None,
        trackers=Trackers(names, about, resumed=resumed, warn=say) if names else None,
    )


def finish(prepared: Prepared, say: Say = say) -> dict[str, Any]:
    """Says how a run ended; returns the scores of its last evaluation."""
    scores = runs.read_evaluations(prepared.folder)[-1]
    for line in messages.closing_lines(prepared.folder, prepared.spec, scores):
        say(line)
    return scores


class Alone:
    """One run and its state, for the loop to train."""

    def __init__(self, run: OpenRun, program: Program, state: TrainState, clock: Clock):
        self.run, self._clock = run, clock
        self._step, self._state = program.step, state
        self._key = jax.random.key(run.config.seed)
        self._split = sharding.by_batch(run.mesh)

    @property
    def steps(self) -> int:
        return self.run.intervals.steps

    def draw(self) -> Mapping[str, np.ndarray]:
        batch = next(self.run.loader)
        self.run.note_data()
        return batch

    def dispatch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Starts a step; returns its log."""
        put = sharding.put_batch(batch, self._split)
        self._state, log = self._step(self._state, put, self._key)
        return log | {BATCH: self.run.loader.number}

    def record(self, progress: TrainingProgress, pending: Pending) -> bool:
        with self._clock.on("wait"):
            self.run.agree()
            log = jax.device_get(pending.log)
        with self._clock.on("log"):
            return self.run.record(progress, pending._replace(log=log))

    def pause_due(self, step: int) -> bool:
        return self.run.intervals.pause_due(step)

    def pause(self, step: int) -> bool:
        """Saves and evaluates where due; see `Trainable`."""
        self.run.pause(step, self._state)
        return self.run.evaluate(step, self._state)

    def save(self, step: int) -> None:
        self.run.save(step, self._state)
        self.run.finish_save()


def _train(alone: Alone, stop: Stop, clock: Clock) -> None:
    """Trains to the last step, and says how long it took."""
    run, began = alone.run, time.monotonic()
    start, steps = run.start, run.intervals.steps
    patience = run.config.train.stall_seconds
    with (
        TrainingProgress(start, steps, run.config.data.batch_size) as progress,
        watching(clock, patience, stop.leave, run.say, run.waits_for),
    ):
        run_steps(alone, start, progress, stop, clock)
    run.end()
    if start < steps:
        run.say(f"trained in {duration(time.monotonic() - began)}")


def _record_start(other: initial.Initial, folder: Path, say: Say) -> None:
    """Records and says which weights `config.init` asked for."""
    runs.write_json(folder / layout.INITIAL, other.record())
    for line in other.lines():
        say(line)
