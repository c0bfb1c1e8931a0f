"""What besides the swept keys differs between runs is said."""

import copy

import pytest
from fake_sweeps import ENVIRONMENT, KIND, finish, write_sweep

from resseg.sweeps.table.table import load_table


@pytest.fixture
def plan(tmp_path):
    wanted = [
        (kind[0], {KIND: kind, "seed": 0}) for kind in ("identity", "none", "dropout")
    ]
    return write_sweep(tmp_path / "sweep", wanted)


def notes(plan):
    first, *rest = load_table(plan).notes
    assert first.startswith("Differences are to runs of equal seed")
    return rest


def environment(*path, value):
    changed = copy.deepcopy(ENVIRONMENT)
    section = changed
    for name in path[:-1]:
        section = section[name]
    section[path[-1]] = value
    return changed


def test_equal_runs_need_no_word(plan):
    for run in plan.runs:
        finish(run, plan, 0.5)
    assert notes(plan) == []


def test_a_key_that_no_run_sets(plan):
    first, *rest = plan.runs
    finish(first, plan, 0.5, optim__learning_rate=0.25)
    for run in rest:
        finish(run, plan, 0.5)
    assert notes(plan) == [
        "Runs also differ in optim.learning_rate, which no run sets: 0.25 in 1 run "
        "(i); 0.001 in 2 runs (n, d)."
    ]


def test_a_swept_key_that_is_not_what_was_planned(plan):
    first, *rest = plan.runs
    finish(first, plan, 0.5, seed=7)
    for run in rest:
        finish(run, plan, 0.5)
    assert notes(plan) == ["i was trained with seed=7, planned is 0."]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            ("git", "commit"),
            "b" * 40,
            "Runs are not all of one commit: bbbbbbbbbb in 1 run (i); aaaaaaaaaa in 2 "
            "runs (n, d).",
        ),
        (
            ("devices", "kind"),
            "H100",
            "Runs are not all of one kind of device: H100 in 1 run (i); cpu in 2 runs "
            "(n, d).",
        ),
        (
            ("packages", "resseg"),
            "0.2",
            "Runs are not all of one version of resseg: 0.2 in 1 run (i); 0.1.0 in 2 "
            "runs (n, d).",
        ),
        (
            ("git", "dirty"),
            True,
            "The code had changes that no commit holds in 1 run (i).",
        ),
        (
            ("git",),
            None,
            "Runs are not all of one commit: unknown in 1 run (i); aaaaaaaaaa in 2 "
            "runs (n, d).",
        ),
    ],
)
def test_another_version_or_device(plan, path, value, sentence):
    first, *rest = plan.runs
    finish(first, plan, 0.5, environment=environment(*path, value=value))
    for run in rest:
        finish(run, plan, 0.5)
    assert notes(plan) == [sentence]


def test_an_earlier_start_counts_too(plan):
    first, *rest = plan.runs
    earlier = environment("packages", "jax", value="0.9")
    earlier.pop("earlier_starts")
    started = environment("earlier_starts", value=[earlier])
    finish(first, plan, 0.5, environment=started)
    for run in rest:
        finish(run, plan, 0.5)
    assert notes(plan) == [
        "Runs are not all of one version of JAX: 0.10.2 in 3 runs (i, n, d); 0.9 in 1 "
        "run (i)."
    ]
