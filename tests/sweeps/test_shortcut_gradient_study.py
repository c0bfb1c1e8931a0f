"""The analysis of a study that is made of tables."""

import itertools

import pytest
from fake_sweeps import finish, taps, write_sweep

from experiments.shortcut_gradient import analyse, study
from resseg.errors import UserError

ARMS = {"alpha 1": {study.ALPHA: 1.0}, "alpha 0": {study.ALPHA: 0.0}}
ARMS |= {"forward 0.8": {study.FORWARD: 0.8}}


@pytest.fixture
def sweep(tmp_path):
    group = {"data.name": "shapes", "optim.name": "sgd"}
    wanted = [
        (f"{name[0]}{name[-1]}-{seed}", {**group, **arm, "seed": seed})
        for (name, arm), seed in itertools.product(ARMS.items(), range(3))
    ]
    return write_sweep(tmp_path / "sweep", wanted, baseline=study.BASELINE)


def test_the_summary_of_the_study(sweep):
    for number, run in enumerate(sweep.runs):
        # Site norms 10 and 1, share 1/4; losses 0 … 8 / 10, scores half of them.
        log = [(step, taps(1.0, 3.0, 100.0, 1.0)) for step in range(1, 6)]
        loss = number / 10
        finish(run, sweep, loss / 2, [loss] * 5, gradients=log)
    found = analyse.results(sweep)
    assert list(found.columns) == ["data", "optimizer", "arm", "seed", *analyse.METRICS]
    assert found["arm"].tolist() == [name for name in ARMS for _ in range(3)]
    assert found["train_loss"].tolist() == pytest.approx([n / 10 for n in range(9)])
    rows = [line[2:-2].split(" | ") for line in analyse.summary(sweep).splitlines()[2:]]
    # Each seed is .3 worse than the one of the arm before.
    assert [row[2] for row in rows] == list(ARMS)
    assert rows[0][3] == "0.1000 ± 0.2484" and rows[0][4] == "baseline"
    equal = "(all 3 equal)"
    assert [row[4] for row in rows[1:]] == [f"+0.3000 {equal}", f"+0.6000 {equal}"]
    assert [row[6] for row in rows[1:]] == [f"+0.1500 {equal}", f"+0.3000 {equal}"]
    assert all(row[7:] == ["+1.00", "0.25"] for row in rows)


def test_a_study_is_not_answered_before_its_end(sweep):
    finish(sweep.runs[0], sweep, 0.5)
    with pytest.raises(UserError, match=r"1 of 9 runs are finished: resseg sweep"):
        analyse.results(sweep)
