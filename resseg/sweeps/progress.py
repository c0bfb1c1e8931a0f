"""What a sweep shows while it goes on: a bar for all, a line for each run at work."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from resseg import runs
from resseg.console import console, duration, live, say
from resseg.sweeps.attempts import State
from resseg.sweeps.plan import PlannedRun

_ENDED = ("finished", "failed")


class SweepProgress:
    """Live bars on a terminal; elsewhere a line when a run ends or is tried again.

    The ETA comes from the steps that were made since the sweep began, all workers
    together, so that finished runs of before do not count.
    """

    def __init__(self, planned: Sequence[PlannedRun], states: Mapping[str, State]):
        self._runs = {run.id: run for run in planned}
        self._before = dict(states)
        self._words = {id_: state.word for id_, state in states.items()}
        self._bad = {id_: state.bad for id_, state in states.items()}
        self._began = time.monotonic()
        self._bars: Progress | None = None
        self._lines: dict[str, Any] = {}
        done = sum(state.word == "finished" for state in states.values())
        say(f"{len(self._runs)} runs, {done} finished before")
        if console.is_terminal:
            self._bars = live(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}", markup=False),
            )
            self._whole = self._bars.add_task(
                "runs", total=len(self._runs), completed=done, text="starting"
            )
            self._bars.start()

    def update(self, states: Mapping[str, State]) -> None:
        """Shows what has changed."""
        left = self._left(states)
        ended = sum(word in _ENDED for word in self._words.values())
        for id_, state in states.items():
            if state.bad > self._bad[id_] and state.word != "failed":
                say(f"{id_} {self._runs[id_].name}: broken off, it is tried again")
            if state.word != self._words[id_] and state.word in _ENDED:
                ended += self._words[id_] not in _ENDED
                self._tell(id_, state, f"[{ended}/{len(self._runs)}]", left)
            self._words[id_], self._bad[id_] = state.word, state.bad
        if self._bars is not None:
            self._draw(states, ended, left)

    def _tell(self, id_: str, state: State, where: str, left: str) -> None:
        run = self._runs[id_]
        what = f"{state.word}: {state.message}"
        if state.word == "finished":
            scores = runs.read_evaluations(run.folder)[-1]
            what = f"mIoU {scores['mean_iou']:.4f}"
        say(f"{where} {id_} {run.name}: {what}{left}")

    def _draw(self, states: Mapping[str, State], ended: int, left: str) -> None:
        assert self._bars is not None
        self._bars.update(self._whole, completed=ended, text=left.removeprefix(", "))
        for id_, state in states.items():
            run = self._runs[id_]
            if state.word == "running":
                if id_ not in self._lines:
                    self._lines[id_] = self._bars.add_task(
                        f"  {id_}", total=run.steps, text=run.name
                    )
                self._bars.update(self._lines[id_], completed=state.step)
            elif id_ in self._lines:
                self._bars.remove_task(self._lines.pop(id_))

    def _left(self, states: Mapping[str, State]) -> str:
        made = todo = 0
        for id_, state in states.items():
            made += max(state.step - self._before[id_].step, 0)
            if state.word not in _ENDED:
                todo += self._runs[id_].steps - state.step
        if not made or not todo:
            return ""
        seconds = (time.monotonic() - self._began) / made * todo
        return f", {duration(seconds)} left"

    def __enter__(self) -> "SweepProgress":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bars is not None:
            self._bars.stop()
