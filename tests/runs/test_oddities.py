"""What looks too good, or too odd: said, and nothing said of what is as usual."""

import math

import pytest

from resseg.runs import oddities
from resseg.runs.dropped import Dropped, write_dropped
from resseg.runs.unread import write_unread

CLASSES = ("background", "disc", "wire")


def scores(iou, accuracy=(0.9, 0.8, 0.7)):
    return {"iou": list(iou), "class_accuracy": list(accuracy)}


def test_usual_scores_need_no_word():
    assert oddities.in_scores(scores((0.9999, 0.5, math.nan)), CLASSES, "val") == []
    assert oddities.in_scores({}, CLASSES, "val") == []
    assert oddities.in_best(60, [60, 300, 590]) == []
    assert oddities.in_best(600, [600]) == []
    assert oddities.in_best(None, []) == []
    assert oddities.in_split("val", "train", 48, []) == []
    assert oddities.in_split("val", "train", 48, 0) == []


def test_data_that_was_left_out_is_counted(tmp_path):
    assert oddities.in_data(tmp_path) == []
    write_dropped(tmp_path, [Dropped(1, 2, "loss nan"), Dropped(4, 4, "loss inf")])
    write_unread(tmp_path, {3: "damaged"})
    assert oddities.in_data(tmp_path) == [
        "batches that were not finite were dropped: 2 (dropped.json)",
        "images that could not be read were replaced: 1 (unread.json)",
    ]


def test_an_iou_of_exactly_1_names_the_classes():
    assert oddities.in_scores(scores((1.0, 0.5, 1.0)), CLASSES, "val") == [
        "IoU is exactly 1 on val for background, wire: look whether the images show "
        "the truth, or stand in the training split"
    ]


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        ((1.0, 0.0, 0.0), ["every labelled pixel of val is predicted background"]),
        ((0.0, 1.0, math.nan), ["every labelled pixel of val is predicted disc"]),
        ((1.0, 0.1, 0.0), []),
        ((1.0, math.nan, math.nan), []),  # nothing else was there to be predicted
        ((1.0, 1.0, 0.0), []),
    ],
)
def test_one_class_everywhere_is_said(accuracy, said):
    given = scores((0.3, 0.2, 0.1), accuracy)
    assert oddities.in_scores(given, CLASSES, "val") == said


def test_a_best_evaluation_far_before_the_last_is_said():
    assert oddities.in_best(2, [2, 300, 1600]) == [
        "the best evaluation is that of step 2 of 1,600: nothing that was learned "
        "later has helped"
    ]
    assert oddities.in_best(60, [60, 600]) and not oddities.in_best(61, [61, 600])


def test_images_of_the_training_split_are_counted_and_named():
    assert oddities.in_split("train", "train", 9, []) == [
        "the run was trained on train: this is no score of new images"
    ]
    assert oddities.in_split("val", "train", 9, ["a", "b", "c", "d", "e", "f"]) == [
        "6 of the 9 images of val are in the training split too (a, b, c, d and 2 "
        "more): the score is better than for new images"
    ]
    (line,) = oddities.in_split("val", "train", 9, 2)
    assert line.startswith("2 of the 9 images of val are in the training split too: ")
