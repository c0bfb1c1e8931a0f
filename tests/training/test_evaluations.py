"""Which evaluation is the best: one without a score never is."""

import math

import pytest
from tiny import tiny_shapes

from resseg.config.load import load_config
from resseg.data import sources
from resseg.errors import UserError
from resseg.processes.group import ALONE
from resseg.runs.json_files import encode
from resseg.training import messages
from resseg.training.evaluations import Evaluations
from resseg.training.prepare import prepare
from resseg.training.program import Programs

NAN = math.nan


@pytest.mark.parametrize(
    ("earlier", "score", "best"),
    [
        ([], 0.1, True),
        ([], 0.0, True),
        ([], NAN, False),
        ([NAN], 0.1, True),
        ([NAN], NAN, False),
        ([0.2, NAN], 0.1, False),
        ([0.2, NAN], 0.2, False),
        ([0.2, NAN], 0.3, True),
        ([0.2], NAN, False),
    ],
)
def test_the_best_is_the_highest_score_there_is(
    tmp_path, monkeypatch, earlier, score, best
):
    lines = [
        encode({"step": step, "split": "val", "mean_iou": value})
        for step, value in enumerate(earlier, 1)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    evaluations = Evaluations.__new__(Evaluations)
    monkeypatch.setattr(evaluations, "_folder", tmp_path, raising=False)
    monkeypatch.setattr(evaluations, "_group", ALONE, raising=False)
    assert evaluations.are_best({"mean_iou": score}) is best


def test_no_score_is_said():
    assert messages.score_line(4, "cells", {"mean_iou": 0.25}) == (
        "step 4  cells mIoU 0.2500"
    )
    line = messages.score_line(4, "cells", {"mean_iou": NAN})
    assert "cells has no score: no pixel of its evaluation split" in line


def test_a_training_split_without_a_label_is_refused(monkeypatch, tmp_path):
    config = load_config("quickstart", tiny_shapes(tmp_path / "data"))
    monkeypatch.setattr(sources, "is_unlabelled", lambda data, split: split == "train")
    with pytest.raises(UserError, match="'train': no pixel of it is labelled in data"):
        prepare(config, tmp_path / "run", Programs())
    assert not (tmp_path / "run").exists()
