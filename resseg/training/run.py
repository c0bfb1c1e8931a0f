"""`resseg train`: a run from its first step, or its latest checkpoint, to its last."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from resseg import runs, sharding
from resseg.config.remarks import remarks
from resseg.console import duration, say
from resseg.gradients.coefficients import scheduled
from resseg.inference.evaluator import Evaluator
from resseg.runs import layout
from resseg.runs.checkpoints import Checkpoints
from resseg.runs.dropped import read_dropped
from resseg.training import autopsy, initial, messages
from resseg.training.beginning import last_state
from resseg.training.dropping import BATCHES, Dropping, RolledBack
from resseg.training.evaluations import Evaluations
from resseg.training.intervals import Intervals
from resseg.training.loop import Pending, run_steps
from resseg.training.prepare import Prepared, prepare
from resseg.training.program import Program, Programs
from resseg.training.progress import TrainingProgress
from resseg.training.recorder import Diverged as Diverged
from resseg.training.recorder import Recorder
from resseg.training.steps import TrainState
from resseg.training.stops import Stop, Stopped
from resseg.training.unread import Unread

Say = Callable[[str], None]  # called with each line that is for people
BATCH = "batch"  # in the log of a step: the number of its batch in the data


def train_and_evaluate(
    config: Any,
    workdir: str | Path,
    programs: Programs | None = None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Trains what `config` describes in `workdir`; goes on where a run there stopped.

    Args:
        config: as `load_config` returns it.
        workdir: the run folder.
        programs: those of earlier runs of this process, to be shared.
        stop: may ask for an end before the last step; None = nothing does.

    Returns:
        The scores on `config.data.eval_split` after the last step.

    Raises:
        UserError: wrong input; before any device work, with the folder as it was.
        Diverged: the loss became infinite or NaN; see `autopsy`.
        Stopped: as asked; everything is saved.
    """
    programs, stop = programs or Programs(), stop or Stop()
    prepared = prepare(config, workdir, programs)
    with runs.locked(prepared.folder) as killed:
        if killed is not None:
            say(messages.killed_line(killed))
        program = prepared.program(programs)
        try:
            while not _trained(prepared, program, stop):
                say("back to the last checkpoint, to go without that batch")
        except Diverged as error:
            raise autopsy.examined(prepared, program, error) from error
        stop.at_once("the run is finished; its figures are not drawn")
        return finish(prepared)


def _trained(prepared: Prepared, program: Program, stop: Stop) -> bool:
    """Trains to the last step; False where the run has to go back for that."""
    with contextlib.ExitStack() as held:
        run, state = begin(prepared, program, held, stop=stop)
        try:
            _train(Alone(run, program, state), stop)
        except RolledBack:
            return False
    return True


def begin(
    prepared: Prepared,
    program: Program,
    held: contextlib.ExitStack,
    say: Say = say,
    stop: Stop | None = None,
) -> tuple["OpenRun", TrainState]:
    """Goes to the latest checkpoint of a run, or to its initial weights.

    Args:
        prepared: the run; its folder must be locked.
        program: that trains it.
        held: closes, at last, what the run keeps open.
        say: called with each line that is for people.
        stop: may ask for an end; None = nothing does.

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
        if prepared.start is not None:
            _record_start(prepared.start, folder, say)
    else:
        say(f"resumed at step {start} of {config.train.steps}")
    for line in prepared.notes:
        say(line)
    saved.forget_best_after(start)
    writer = runs.RunWriter(
        folder,
        tensorboard=config.log.tensorboard,
        resume_step=start if (folder / layout.METRICS).exists() else None,
    )
    held.enter_context(writer)
    if dropped := read_dropped(folder):
        writer.write_count(BATCHES, start, len(dropped))
    stop = stop or Stop()
    stop.at_once(str(Stopped(start, config.train.steps)))
    return OpenRun(prepared, program, saved, writer, start, stop, say), state


def finish(prepared: Prepared, say: Say = say) -> dict[str, Any]:
    """Says how a run ended; returns the scores of its last evaluation."""
    scores = runs.read_evaluations(prepared.folder)[-1]
    for line in messages.closing_lines(prepared.folder, prepared.spec, scores):
        say(line)
    return scores


class OpenRun:
    """A run that has begun: what it writes down, evaluates and saves.

    It holds no state: whoever steps it does, alone or together with other runs.

    Attributes:
        folder: of the run.
        config: of the run.
        mesh: that it runs on.
        loader: of its training batches.
        intervals: of what is done between steps.
        start: the step it begins at.
        say: called with each line that is for people.
    """

    def __init__(
        self,
        prepared: Prepared,
        program: Program,
        saved: Checkpoints,
        writer: runs.RunWriter,
        start: int,
        stop: Stop,
        say: Say,
    ):
        config, spec = prepared.config, prepared.spec
        self.folder, self.config, self.mesh = prepared.folder, config, prepared.mesh
        self.loader, self.start, self.say = prepared.loader, start, say
        self.intervals = Intervals.of(config)
        self._name, self._saved, self._writer = spec.name, saved, writer
        self._unread = Unread(self.folder, self.loader, writer, self.say)
        self._dropping = Dropping(
            self.folder, config.train.on_nonfinite, writer, self.say
        )
        self._stop = stop
        lines = scheduled(program.lines(config))
        self._recorder = Recorder(writer, self.intervals, program.forks, lines)
        evaluator = Evaluator(
            config, program.model, spec, prepared.mesh, step=program.evaluation
        )
        self._evaluations = Evaluations(prepared.folder, config, spec, evaluator)

    def note_data(self) -> None:
        """Says which images of the batch that came last could not be read."""
        self._unread.note()

    def record(self, progress: TrainingProgress, pending: Pending) -> bool:
        """Writes down a step whose log has been fetched; see `Recorder.record`.

        Returns:
            Whether it made its update; False where its batch is dropped.

        Raises:
            Diverged: the loss became infinite or NaN, and no batch is to be dropped.
            RolledBack: see `Dropping.drop`.
        """
        step, log = pending
        if self._dropping.is_due(log):
            reason = self._recorder.diagnosis(log)
            self._dropping.drop(step, log, log[BATCH], reason)
            return False
        self._recorder.record(step, log, progress)
        return True

    def pause(self, step: int, state: TrainState) -> None:
        """Puts all rows on the disk; then saves where due."""
        self._writer.flush()
        if self.intervals.save_due(step):
            self.save(step, state)

    def save(self, step: int, state: TrainState) -> None:
        """Saves state and position; the rows up to it must be on the disk."""
        position = self.loader.state()
        self._saved.save(step, state.variables(), state.training(), position)

    def evaluate(self, step: int, state: TrainState) -> bool:
        """Evaluates where due; keeps the best weights, then writes the scores down.

        In this order a kill in between leaves no best weights out: scores that are not
        in the log are made again.

        Returns:
            False where it was asked to stop before it had evaluated.
        """
        due = self.intervals.evaluation_due(step)
        if not due or self._evaluations.are_made(step):
            return True
        last = step == self.intervals.steps
        scores = self._evaluations.score(state.variables(), draw=last, stop=self._stop)
        if scores is None:
            return False
        if self._evaluations.are_best(scores):
            self._saved.save_best(step, state.variables())
        self._writer.write_metrics(step, "val", scores)
        self.say(messages.score_line(step, self._name, scores))
        self._writer.flush()
        return True


class Alone:
    """One run and its state, for the loop to train."""

    def __init__(self, run: OpenRun, program: Program, state: TrainState):
        self.run = run
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
        log = jax.device_get(pending.log)
        return self.run.record(progress, pending._replace(log=log))

    def pause_due(self, step: int) -> bool:
        return self.run.intervals.pause_due(step)

    def pause(self, step: int) -> bool:
        """Saves and evaluates where due; see `Trainable`."""
        self.run.pause(step, self._state)
        return self.run.evaluate(step, self._state)

    def save(self, step: int) -> None:
        self.run.save(step, self._state)


def _train(alone: Alone, stop: Stop) -> None:
    """Trains to the last step, and says how long it took."""
    run, began = alone.run, time.monotonic()
    start, steps = run.start, run.intervals.steps
    with TrainingProgress(start, steps, run.config.data.batch_size) as progress:
        run_steps(alone, start, progress, stop)
    if start < steps:
        run.say(f"trained in {duration(time.monotonic() - began)}")


def _record_start(other: initial.Initial, folder: Path, say: Say) -> None:
    """Records and says which weights `config.init` asked for."""
    runs.write_json(folder / layout.INITIAL, other.record())
    for line in other.lines():
        say(line)
