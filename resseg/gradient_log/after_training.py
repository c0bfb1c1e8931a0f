"""The picture of the gradient flow that a training leaves in its run folder."""

import shlex
from pathlib import Path
from typing import Any

from resseg.gradient_log.heatmap import save_heatmap
from resseg.runs import layout, open_run


def draw_flow(folder: Path) -> list[str]:
    """Draws the whole gradient log of a run as a heat map beside it.

    Returns:
        Lines for people: where it lies; none where the run does not log gradients.
    """
    run = open_run(folder)
    log: Any = run.config.log
    if not log.gradients.every:
        return []
    picture = folder / layout.HEATMAP
    save_heatmap(run.gradients, picture, f"Gradient flow in {folder}")
    command = shlex.join(["resseg", "inspect", str(folder)])
    return [f"gradient flow  {picture}; as a table: {command}"]
