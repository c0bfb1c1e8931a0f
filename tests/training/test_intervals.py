"""What is due after which step."""

import pytest

from resseg.training.intervals import Intervals

EVERY = {"steps": 10, "line": 4, "gradients": 3, "evaluation": 5, "checkpoint": 6}


def due(question, **change):
    intervals = Intervals(**EVERY | {"kept": 7} | change)
    return [step for step in range(1, 11) if getattr(intervals, question)(step)]


@pytest.mark.parametrize(
    ("question", "change", "steps"),
    [
        ("line_due", {}, [4, 8, 10]),
        ("gradients_due", {}, [3, 6, 9]),  # not after the last
        ("gradients_due", {"gradients": 0}, []),
        ("evaluation_due", {}, [5, 10]),
        ("evaluation_due", {"evaluation": 0}, [10]),
        ("save_due", {}, [6, 7, 10]),
        ("save_due", {"kept": 0}, [6, 10]),
        ("pause_due", {}, [5, 6, 7, 10]),
    ],
)
def test_what_is_due_when(question, change, steps):
    assert due(question, **change) == steps


def test_they_come_from_the_config(tiny_config):
    with tiny_config.unlocked():
        tiny_config.update_from_flattened_dict(
            {
                "log.every": 2,
                "log.gradients.every": 3,
                "eval.every": 5,
                "checkpoint.every": 7,
                "checkpoint.keep_every": 11,
                "train.steps": 13,
            }
        )
    assert Intervals.of(tiny_config) == (13, 2, 3, 5, 7, 11)
