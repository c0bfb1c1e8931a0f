"""Trains runs of a sweep folder, one after another, in one process.

python -m resseg.sweeps.worker SWEEP_DIR [--retries N] [--since TIME] [--only PATTERN]

`resseg sweep` starts it; it may also be started by hand, on any machine that sees the
folder. It takes a run that nobody has claimed, trains it or goes on with it, and ends
when none is left. Runs of equal structure share one compiled program. SIGTERM and
SIGINT let the step at work end, save its runs and end with status 0.
"""

import argparse
import contextlib
import functools
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from resseg import runs, text
from resseg.config.structure import check_together
from resseg.console import say
from resseg.errors import UserError
from resseg.programs.place import settle
from resseg.runs import layout
from resseg.sweeps import attempts, process
from resseg.sweeps.plan import Plan, PlannedRun, read_plan
from resseg.sweeps.room import check_room
from resseg.training.stops import STALLED, STOPPING, Stop, Stopped, listen

if TYPE_CHECKING:
    from resseg.training.compilations import Count

DONE, NO_ROOM = 0, 74  # exit status; as sysexits.h has it


class Worker:
    """Takes runs until none is left that it may take.

    Args:
        plan: of the sweep folder.
        only: ids of the runs that it may take.
        retries: how often a run is tried again that failed or was broken off.
        since: seconds since the epoch; attempts before do not count.
        together: how many runs of one structure are trained together under vmap; 1 =
            each by itself.
        stop: may ask for an end.
    """

    def __init__(
        self,
        plan: Plan,
        only: set[str],
        *,
        retries: int,
        since: float,
        together: int = 1,
        stop: Stop | None = None,
    ):
        from resseg.training.compilations import Counter
        from resseg.training.program import Programs

        self.plan = plan
        self._runs = [run for run in plan.runs if run.id in only]
        self._retries, self._since, self._together = retries, since, together
        self._programs, self._counter = Programs(keeps=True), Counter()
        self._structure = ""
        self._alone: set[str] = set()  # runs that failed together
        self._stop = stop or Stop()
        self.current: list[PlannedRun] = []

    def work(self) -> None:
        """Returns when no run is left to take, or when it is asked to stop."""
        while not self._stop.asked:
            with contextlib.ExitStack() as held:
                taken = self.take(held)
                if not taken:
                    return
                self._structure = taken[0].structure
                self.train(taken)

    def take(self, held: contextlib.ExitStack) -> list[PlannedRun]:
        """Claims the next run, or several that can be trained together; [] = none."""
        states = [(run, run.state(self._since)) for run in self._runs]
        elsewhere = {run.structure for run, state in states if state.word == "running"}
        open_ = [run for run, state in states if self._may_take(state)]
        # Its own program first, then one that no other worker compiles.
        open_.sort(
            key=lambda run: (
                run.structure != self._structure,
                run.structure in elsewhere,
            )
        )
        taken: list[PlannedRun] = []
        for run in open_:
            if taken and not self._goes_with(run, taken[0]):
                continue
            run.folder.mkdir(parents=True, exist_ok=True)
            if held.enter_context(runs.claimed(run.folder)):
                # Another worker may have ended it since we looked.
                if attempts.is_finished(run.folder, run.steps):
                    continue
                taken.append(run)
            if len(taken) == self._together:
                break
        return taken

    def _may_take(self, state: attempts.State) -> bool:
        if state.word in ("finished", "running") or state.final:
            return False
        return state.bad <= self._retries

    def _goes_with(self, run: PlannedRun, first: PlannedRun) -> bool:
        from resseg.training.together import resume_step

        if run.structure != first.structure or {run.id, first.id} & self._alone:
            return False
        try:
            check_together([self.plan.config(each) for each in (first, run)])
        except UserError:
            return False
        one, other = (resume_step(each.folder) for each in (first, run))
        return one == other

    def train(self, taken: Sequence[PlannedRun]) -> None:
        """One attempt at each; how it ended stands in the run folders."""
        self.current = list(taken)
        for run in taken:
            attempts.begin(run.folder)
        before = self._counter.now()
        process.reset_peak_memory()
        with process.output_to(taken[0].folder / layout.LOG):
            outcomes = self._outcomes(taken)
        cost = self._cost(before, len(taken))
        self.current = []
        for run, (outcome, message) in zip(taken, outcomes, strict=True):
            attempts.end(run.folder, outcome, message, **cost)

    def _outcomes(self, taken: Sequence[PlannedRun]) -> list[tuple[str, str]]:
        from resseg.training.recorder import Diverged

        try:
            if len(taken) > 1:
                return self._train_together(taken)
            config = self.plan.config(taken[0])
            self._train(config, taken[0].folder)
            return [(attempts.FINISHED, "")]
        except Stopped as stopped:
            say(str(stopped))
            return [(attempts.PREEMPTED, str(stopped))] * len(taken)
        except (UserError, Diverged) as error:
            print(f"resseg: error: {error}", flush=True)
            outcome, message = attempts.REFUSED, str(error)
        except Exception as error:
            traceback.print_exc()
            check_room(self.plan.folder)
            outcome, message = attempts.FAILED, f"{type(error).__name__}: {error}"
        if len(taken) > 1:
            # Which of them it was is seen when each is trained by itself.
            self._alone |= {run.id for run in taken}
            outcome = attempts.PARTED
        return [(outcome, message)] * len(taken)

    def _train(self, config: Any, folder: Path) -> None:
        from resseg.gradient_log.after_training import draw_flow
        from resseg.training.run import train_and_evaluate

        train_and_evaluate(config, folder, self._programs, self._stop)
        for line in draw_flow(folder):
            say(line)

    def _train_together(self, taken: Sequence[PlannedRun]) -> list[tuple[str, str]]:
        from resseg.gradient_log.after_training import draw_flow
        from resseg.training.prepare import prepare
        from resseg.training.together import train_together

        for run in taken[1:]:
            note = f"trained together with {taken[0].id}: {layout.LOG} there has it\n"
            with open(run.folder / layout.LOG, "a", encoding="utf-8") as log:
                log.write(note)
        prepared = [
            prepare(self.plan.config(run), run.folder, self._programs) for run in taken
        ]
        outcomes = train_together(prepared, self._programs, self._stop)
        for each in outcomes:
            for line in [] if each.message else draw_flow(each.folder):
                say(f"{each.folder.name}: {line}")
        return [
            (attempts.REFUSED if each.message else attempts.FINISHED, each.message)
            for each in outcomes
        ]

    def _cost(self, before: "Count", together: int) -> dict[str, Any]:
        from resseg.training.compilations import device_peak

        compiled = self._counter.now().since(before)
        return {
            "compilations": compiled._asdict(),
            "peak_memory": device_peak() or process.peak_memory(),
            "together": together,
        }


def _leave(workers: Sequence[Worker], status: int, line: str) -> NoReturn:
    """Ends the process; called in another thread than that of the worker."""
    outcome = attempts.STALLED if status == STALLED else attempts.PREEMPTED
    for worker in workers:
        for run in worker.current:
            attempts.end(run.folder, outcome, line)
    print(f"resseg.sweeps.worker: {line}", flush=True)
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one worker; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m resseg.sweeps.worker",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="SWEEP_DIR")
    parser.add_argument("--only", metavar="PATTERN")
    parser.add_argument("--retries", type=int, default=2, metavar="N")
    parser.add_argument("--since", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--vectorize", type=int, default=1, metavar="N")
    parser.add_argument("--cores", metavar="0,1", help="run on these cores alone")
    parser.add_argument(
        "--end-with-parent", action="store_true", help="end with the standard input"
    )
    args = parser.parse_args(argv)
    if args.cores:  # before XLA counts them
        os.sched_setaffinity(0, set(map(int, args.cores.split(","))))
    workers: list[Worker] = []
    stop = Stop(functools.partial(_leave, workers))
    listen(STOPPING, stop.ask)
    if args.end_with_parent:
        process.hear_parent_end(functools.partial(stop.ask, signal.SIGTERM))
    text.never_raise(sys.stdout)
    settle()
    try:
        plan = read_plan(args.folder)
        worker = Worker(
            plan,
            {run.id for run in plan.select(args.only)},
            retries=args.retries,
            since=args.since,
            together=args.vectorize,
            stop=stop,
        )
        workers.append(worker)
        worker.work()
    except UserError as error:
        print(f"resseg.sweeps.worker: {error}", file=sys.stderr)
        return NO_ROOM
    return DONE


if __name__ == "__main__":
    sys.exit(main())
