"""A run that has begun."""

from collections.abc import Callable

from resseg import runs
from resseg.gradients.coefficients import scheduled
from resseg.inference.evaluator import Evaluator
from resseg.runs.checkpoints import Checkpoints
from resseg.training import messages
from resseg.training.clock import Times
from resseg.training.dropping import Dropping
from resseg.training.evaluations import Evaluations
from resseg.training.intervals import Intervals
from resseg.training.loop import Pending
from resseg.training.prepare import Prepared
from resseg.training.program import Program
from resseg.training.progress import TrainingProgress
from resseg.training.recorder import Recorder
from resseg.training.scaling import has_overflowed, overflow_line
from resseg.training.steps import TrainState
from resseg.training.stops import Stop
from resseg.training.unread import Unread

Say = Callable[[str], None]  # called with each line that is for people
BATCH = "batch"  # in the log of a step: the number of its batch in the data


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
        waits_for: which other processes it waits for; "" for none.
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
        times: Times,
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
        self._stop, self._times = stop, times
        self.waits_for = prepared.group.waits_for
        lines = scheduled(program.lines(config))
        self._recorder = Recorder(writer, self.intervals, program.forks, lines)
        evaluator = Evaluator(
            config,
            program.model,
            spec,
            prepared.mesh,
            step=program.evaluation,
            group=prepared.group,
        )
        self._evaluations = Evaluations(
            prepared.folder, config, spec, evaluator, prepared.group
        )

    def note_data(self) -> None:
        """Says which images of the batch that came last could not be read."""
        self._unread.note()

    def agree(self) -> None:
        """Whether to stop is now the same for all processes that train the run."""
        self._stop.agree()

    def record(self, progress: TrainingProgress, pending: Pending) -> bool:
        """Writes down a step whose log has been fetched; see `Recorder.record`.

        Returns:
            Whether it made its update; False where its batch is dropped, or its
            gradient overflowed.

        Raises:
            Diverged: the loss became infinite or NaN, and no batch is to be dropped.
            RolledBack: see `Dropping.drop`.
        """
        step, log = pending
        self._saved.check()
        self._times.write_if_due(step)
        if has_overflowed(log):
            self.say(overflow_line(step, log))
            return False
        if self._dropping.is_due(log):
            reason = self._recorder.diagnosis(log)
            self._dropping.drop(step, log, log[BATCH], reason)
            return False
        self._recorder.record(step, log, progress)
        return True

    def pause(self, step: int, state: TrainState) -> None:
        """Puts all rows on the disk; then saves where due."""
        with self._times.clock.on("save"):
            self.agree()
            self._times.write(step)
            self._writer.flush()
        if self.intervals.save_due(step):
            self.save(step, state)

    def save(self, step: int, state: TrainState) -> None:
        """Saves state and position; the rows up to it must be on the disk."""
        with self._times.clock.on("save"):
            position = self.loader.state()
            self._saved.save(step, state.variables(), state.training(), position)

    def finish_save(self) -> None:
        """Waits until what was saved is on the disk."""
        with self._times.clock.on("save"):
            self._saved.finish()

    def evaluate(self, step: int, state: TrainState) -> bool:
        """Evaluates where due; keeps the best weights, then writes the scores down.

        In this order a kill in between leaves no weights out: scores that are not in
        the log are made again. What was saved meanwhile is waited for.

        Returns:
            False where it was asked to stop before it had evaluated.
        """
        due = self.intervals.evaluation_due(step)
        if not due or self._evaluations.are_made(step):
            return True
        with self._times.clock.on("evaluate"):
            return self._evaluate(step, state)

    def _evaluate(self, step: int, state: TrainState) -> bool:
        last, watched = step == self.intervals.steps, (self._stop, self._times.clock)
        scores = self._evaluations.score(state.variables(), *watched, draw=last)
        if scores is None:
            return False
        self.finish_save()
        if self._evaluations.are_best(scores):
            self._saved.save_best(step, state.variables())
        self._writer.write_metrics(step, "val", scores)
        self.say(messages.score_line(step, self._name, scores))
        self._writer.flush()
        return True

    def end(self) -> None:
        """Writes down where the time went; the run has no further step."""
        self.finish_save()
        self._times.write(self.intervals.steps)
