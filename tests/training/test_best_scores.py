"""Which evaluation is the best of a run: above every one before, by mean IoU alone."""

import json

import pytest
from ml_collections import ConfigDict

from resseg.data import DatasetSpec
from resseg.runs import layout
from resseg.training.evaluations import Evaluations


@pytest.fixture
def judged(tmp_path):
    """`judged(earlier, now)`: whether `now` is best after evaluations of `earlier`."""
    config = ConfigDict({"data": {"eval_split": "val"}, "eval": {"predictions": 0}})
    spec = DatasetSpec("shapes", ("a", "b"), {})
    evaluations = Evaluations(tmp_path, config, spec, lambda *_, **__: {})

    def judge(earlier, now):
        rows = [
            {"step": 2 * n, "split": split, "mean_iou": score}
            for n, value in enumerate(earlier, 1)
            # A batch may look better than any evaluation.
            for split, score in (("train", 0.99), ("val", value))
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / layout.METRICS).write_text(lines)
        return evaluations.are_best({"mean_iou": now, "pixel_accuracy": 0.0})

    return judge


@pytest.mark.parametrize(
    ("earlier", "now", "best"),
    [
        ((), 0.0, True),
        ((0.4,), 0.5, True),
        ((0.4, 0.6), 0.5, False),
        ((0.6, 0.4), 0.5, False),
        ((0.4, 0.6), 0.7, True),
        ((0.5,), 0.5, False),  # the first of equals stays
    ],
)
def test_the_best_is_above_all_before(judged, earlier, now, best):
    assert judged(earlier, now) is best


def test_what_is_evaluated_is_the_split_that_the_config_names(tmp_path):
    config = ConfigDict({"data": {"eval_split": "test"}, "eval": {"predictions": 0}})
    asked = []
    evaluations = Evaluations(
        tmp_path,
        config,
        DatasetSpec("s", ("a",), {}),
        lambda *a, **_: asked.append(a[:3]) or {},
    )
    evaluations.score({"params": 1}, draw=False)
    assert asked == [({"params": 1}, "test", None)]
