"""How many workers a sweep keeps, whatever becomes of them."""

from types import SimpleNamespace

import pytest

from resseg.errors import UserError
from resseg.sweeps.attempts import State
from resseg.sweeps.sweep import Sweep


class Launcher:
    """Whose workers are lost, or cancelled by others, when the test says so."""

    def __init__(self):
        self.cancelled = self.working = 0
        self.started, self.said = [], []

    def start(self, job, count):
        self.started.append(count)
        self.working += count

    def alive(self):
        return self.working

    def troubles(self):
        said, self.said = self.said, []
        return said

    def lose(self, state):
        self.working -= 1
        self.said.append(f"Slurm job 1: {state}")


@pytest.fixture
def sweep(tmp_path):
    """Of two runs that have not begun, with two workers."""
    runs = [
        SimpleNamespace(id=name, folder=tmp_path / name, state=lambda _: STATE)
        for name in ("a", "b")
    ]
    made = Sweep(
        SimpleNamespace(folder=tmp_path),
        runs,
        Launcher(),
        None,
        jobs=2,
        retries=1,
        since=0.0,
        asked=lambda: False,
    )
    made._look()
    made._staff()
    return made, made._launcher


STATE = State("waiting")


def test_a_lost_worker_is_named_and_replaced_until_none_gets_further(sweep, capsys):
    made, launcher = sweep
    for _ in range(3):
        launcher.lose("OUT_OF_MEMORY")
        made._staff()
    assert launcher.started == [2, 1, 1, 1]
    launcher.lose("OUT_OF_MEMORY")
    with pytest.raises(UserError, match="Slurm job 1: OUT_OF_MEMORY"):
        made._staff()
    assert capsys.readouterr().out == "Slurm job 1: OUT_OF_MEMORY\n" * 4


def test_a_cancelled_worker_is_not_replaced_and_without_any_a_sweep_ends(sweep):
    made, launcher = sweep
    launcher.working, launcher.cancelled = 1, 1
    made._staff()
    assert launcher.started == [2]
    launcher.working, launcher.cancelled = 0, 2
    with pytest.raises(UserError, match=r"workers were cancelled; the same command"):
        made._staff()
