"""Where a run goes on: its latest checkpoint, or its initial weights."""

from collections.abc import Callable

from resseg.data.pipeline import BEGINNING
from resseg.runs.checkpoints import Checkpoints
from resseg.runs.dropped import read_dropped
from resseg.training.prepare import Prepared
from resseg.training.program import Program
from resseg.training.steps import TrainState


def last_state(
    prepared: Prepared,
    program: Program,
    saved: Checkpoints,
    say: Callable[[str], None],
) -> tuple[TrainState, int | None]:
    """The state that a run goes on from; its loader goes to the batch that is next.

    Args:
        prepared: the run.
        program: that trains it.
        saved: its checkpoints.
        say: called with a line about each that is damaged.

    Returns:
        The state, and the step of its checkpoint; None where there is none yet.

    Raises:
        UserError: no checkpoint is whole.
    """
    loader = prepared.loader
    state = program.begin(prepared.config)
    loader.leave_out(each.batch for each in read_dropped(prepared.folder))
    if saved.latest_step() is not None:
        by_first = prepared.group.by_first
        restored = saved.restore(state.variables(), state.training(), by_first)
        loader.restore(restored.position)
        for line in restored.lines:
            say(line)
        return state.restored(restored.variables, restored.training), restored.step
    loader.restore(BEGINNING)
    if prepared.start is not None:
        state = prepared.start.put_into(state)
    return state, None
