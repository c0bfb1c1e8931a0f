"""One `resseg sweep`: starts workers, follows the run folders until all runs ended."""

import time
from collections.abc import Callable, Sequence

from resseg import runs
from resseg.console import say
from resseg.errors import UserError
from resseg.sweeps.attempts import State
from resseg.sweeps.launchers import Job, Launcher
from resseg.sweeps.plan import Plan, PlannedRun
from resseg.sweeps.progress import SweepProgress
from resseg.sweeps.room import check_room

_POLL = 0.5  # seconds between looks at the run folders
_LAST_WORDS = 60.0  # seconds
_STARTS = 3  # in a row that may fail without any run having got further


class Sweep:
    """The runs of one command, and the workers that it started for them.

    Args:
        plan: of the sweep folder.
        wanted: the runs to be trained.
        launcher: of the workers.
        job: what each worker is started with.
        jobs: workers at the same time.
        retries: how often a run is tried again.
        since: seconds since the epoch; attempts before do not count.
        asked: whether it is to stop before all runs have ended.
    """

    def __init__(
        self,
        plan: Plan,
        wanted: Sequence[PlannedRun],
        launcher: Launcher,
        job: Job,
        *,
        jobs: int,
        retries: int,
        since: float,
        asked: Callable[[], bool],
    ):
        self.plan, self.wanted = plan, list(wanted)
        self._launcher, self._job, self._jobs = launcher, job, jobs
        self._retries, self._since, self._asked = retries, since, asked
        self._states: dict[str, State] = {}
        self._fruitless = 0

    def run(self) -> dict[str, State]:
        """Returns when every run is finished or given up: the states by id.

        Or when it is asked to stop: the workers have saved their runs then.

        Raises:
            UserError: the folder cannot be written to, or workers cannot start.
        """
        self._look()
        try:
            with SweepProgress(self.wanted, self._states) as progress:
                while self._open() and not self._asked():
                    self._staff()
                    time.sleep(_POLL)
                    self._look()
                    progress.update(self._states)
            if not self._asked():
                self._await_last_words()
        finally:
            self._launcher.stop()
        if self._asked():
            self._look()
        return self._states

    def _await_last_words(self) -> None:
        """A run has its last evaluation before its figures and the note of its end."""
        end = time.monotonic() + _LAST_WORDS
        while any(runs.is_claimed(run.folder) for run in self.wanted):
            if time.monotonic() > end:
                return
            time.sleep(_POLL)

    def given_up(self, state: State) -> bool:
        """Failed, and not to be tried again by this command."""
        return state.word != "running" and (state.final or state.bad > self._retries)

    def _look(self) -> None:
        for run in self.wanted:
            known = self._states.get(run.id)
            if known is None or not (known.word == "finished" or self.given_up(known)):
                self._states[run.id] = run.state(self._since)

    def _open(self) -> list[State]:
        return [
            state
            for state in self._states.values()
            if not (state.word == "finished" or self.given_up(state))
        ]

    def _staff(self) -> None:
        """Keeps as many workers alive as there are runs for."""
        steps = sum(state.step for state in self._states.values())
        troubles = self._launcher.troubles()
        for line in troubles:
            say(line)
        if troubles:
            check_room(self.plan.folder)
            self._fruitless = self._fruitless + 1 if steps == self._steps_before else 1
            if self._fruitless > _STARTS:
                raise UserError(f"{self.plan.folder}: {troubles[-1]}")
        self._steps_before = steps
        idle = [state for state in self._open() if state.word != "running"]
        alive = self._launcher.alive()
        left = self._jobs - self._launcher.cancelled
        if left <= 0 and not alive:
            raise UserError(
                f"{self.plan.folder}: all of its workers were cancelled; the same "
                "command goes on"
            )
        missing = min(left - alive, len(idle))
        if missing > 0:
            self._launcher.start(self._job, missing)

    _steps_before = -1
