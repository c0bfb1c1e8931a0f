"""Kills at random moments: a run goes on to the bits of one that nobody disturbed.

`make test-faults` makes RESSEG_FAULTS kills, a fifth of them inside the write of a
checkpoint or of a part of a table; the everyday test makes one inside each. The seed is
printed; RESSEG_FAULT_SEED repeats it.
"""

import os
import random
import shutil

import pytest
from trainings import Trainings, assert_same, environment_of, seed

KILLS = 8  # of one run, until it is let go on to its end


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    root = tmp_path_factory.mktemp("faults")
    trainings = Trainings(root, environment_of(root))
    yield trainings
    trainings.close()


def random_kill(trainings, chance, inside, seconds):
    """What to do to the next process of a run."""
    if not inside:
        return {"kill": chance.uniform(0.1, 0.9) * seconds}
    kind = chance.choice(["checkpoint", "parquet"])
    return inside_kill(trainings, kind, chance) | {"after": chance.randrange(1, 4)}


def inside_kill(trainings, kind, chance):
    """One inside the first write of a kind."""
    seconds = sorted(trainings.spent[kind])[len(trainings.spent[kind]) // 2]
    delay = chance.uniform(0, 0.8) * seconds
    return {"inside": kind, "after": 1, "delay": delay}


def survive(trainings, kills, chance):
    """Kills runs until `kills` kills are made; counts them by where they came."""
    counts = {"random": 0, "checkpoint": 0, "parquet": 0, "runs": 0}
    trainings.train("timed")
    seconds = trainings.seconds_of_last
    # A fifth, and no fewer, come inside a write.
    kinds = [number % 5 == 1 for number in range(kills)]
    chance.shuffle(kinds)
    while kinds:
        name = f"run{counts['runs']}"
        counts["runs"] += 1
        for _ in range(KILLS):
            if not kinds:
                break
            fault = random_kill(trainings, chance, kinds[-1], seconds)
            if trainings.train(name, **fault):
                break  # it was done before: another run
            note = trainings.root / f"{name}.inside"
            kind = fault.get("inside")
            if kind is not None and not note.exists():
                counts["random"] += 1  # the write was over: not one of the fifth
                continue
            note.unlink(missing_ok=True)
            counts[kind or "random"] += 1
            kinds.pop()
        while not trainings.train(name):
            pass
        assert_same(trainings.root / "whole", trainings.root / name)
        shutil.rmtree(trainings.root / name)
    return counts


def test_a_run_survives_a_kill_inside_each_write(trainings):
    number = seed()
    print(f"RESSEG_FAULT_SEED={number}")
    for kind in ("checkpoint", "parquet"):
        fault = inside_kill(trainings, kind, random.Random(number))
        assert not trainings.train("run", **fault)
    assert trainings.train("run")
    assert_same(trainings.root / "whole", trainings.root / "run")


@pytest.mark.faults
def test_a_run_survives_a_hundred_kills(trainings, capsys):
    kills, number = int(os.environ.get("RESSEG_FAULTS", "100")), seed()
    with capsys.disabled():
        print(f"RESSEG_FAULT_SEED={number}")
        counts = survive(trainings, kills, random.Random(number))
        print(f"{kills} kills survived: {counts}")
