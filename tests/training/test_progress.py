import io

import pytest
from rich.console import Console

from resseg.training import progress


@pytest.fixture
def terminal(monkeypatch):
    console = Console(force_terminal=True, file=io.StringIO(), width=120)
    monkeypatch.setattr(progress, "console", console)
    return console.file


def test_the_bar_says_compiling_until_a_step_is_done(terminal):
    with progress.TrainingProgress(2, 10, 4) as shown:
        (bar,) = shown._bar.tasks
        assert bar.fields["text"] == "compiling" and bar.completed == 2
        shown.restart(3)
        assert bar.fields["text"] == "" and bar.completed == 3
        shown.update(5, {"loss": 0.5, "mean_iou": 0.25})
        shown.restart(6)
        assert bar.fields["text"].startswith("loss 0.5000  mIoU 0.250")
        assert bar.completed == 6
    assert "compiling" in terminal.getvalue()
