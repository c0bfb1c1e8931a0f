"""Where a run goes on: its latest checkpoint, or its initial weights."""

from resseg.data.pipeline import BEGINNING
from resseg.runs.checkpoints import Checkpoints
from resseg.runs.dropped import read_dropped
from resseg.training.prepare import Prepared
from resseg.training.program import Program
from resseg.training.steps import TrainState


def last_state(
    prepared: Prepared, program: Program, saved: Checkpoints
) -> tuple[TrainState, int | None]:
    """The state that a run goes on from; its loader goes to the batch that is next.

    Args:
        prepared: the run.
        program: that trains it.
        saved: its checkpoints.

    Returns:
        The state, and the step of its checkpoint; None where there is none yet.

    Raises:
        UserError: the checkpoint is damaged.
    """
    loader = prepared.loader
    state, start = program.begin(prepared.config), saved.latest_step()
    loader.leave_out(each.batch for each in read_dropped(prepared.folder))
    if start is not None:
        restored = saved.restore(state.variables(), state.training())
        loader.restore(restored.position)
        return state.restored(restored.variables, restored.training), start
    loader.restore(BEGINNING)
    if prepared.start is not None:
        state = prepared.start.put_into(state)
    return state, None
