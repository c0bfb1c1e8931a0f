"""Classes of a data set and of a run: matched by name, or refused."""

import numpy as np
import pytest
from tiny import tiny_shapes

import resseg
from resseg import sharding
from resseg.data import DatasetSpec, shapes, sources
from resseg.errors import UserError
from resseg.inference.classes import check_labels, match_labels
from resseg.inference.evaluator import Evaluator


def test_equal_classes_need_no_table():
    assert match_labels(("a", "b"), ["a", "b"], "x") is None
    check_labels(("a", "b"), ["a", "b"], "x")


def test_labels_go_to_the_class_of_their_name():
    table = match_labels(("sky", "road", "car"), ("car", "sky", "road"), "x")
    assert table is not None and table.dtype == np.int32 and table.shape == (256,)
    assert table[[0, 1, 2, 255]].tolist() == [2, 0, 1, 255]
    with pytest.raises(UserError, match=r"x: its classes are in another order .*'car'"):
        check_labels(("sky", "road", "car"), ("car", "sky", "road"), "x")


@pytest.mark.parametrize(
    ("here", "reason"),
    [
        (("sky",), "--data x: has no 'road'; expected the 2 classes"),
        (("sky", "road", "car"), "--data x: has 'car', which the run does not know;"),
        (("sky", "raod"), "has no 'road' and has 'raod', which the run does not know "),
        (("sky", "raod"), "(did you mean 'road'?)"),
    ],
)
def test_other_classes_are_refused_by_name(here, reason):
    with pytest.raises(UserError) as caught:
        match_labels(("sky", "road"), here, "--data x")
    assert reason in str(caught.value)


def test_classes_that_an_import_has_not_named_are_taken_as_they_stand():
    assert match_labels(("class0", "class1"), ("sky", "road"), "x") is None
    with pytest.raises(UserError):
        match_labels(("class0", "class1"), ("sky", "road", "car"), "x")


def test_an_evaluation_counts_labels_as_classes_of_the_run(tmp_path):
    config = resseg.load_config("quickstart", tiny_shapes(tmp_path))
    spec = sources.dataset_spec(config.data)
    trained = tuple(reversed(shapes.CLASSES))
    labels = match_labels(trained, spec.classes, "x")
    pixels = np.zeros(7, np.int64)

    def step(_, batch):  # stands for a network that is always right
        truth = np.asarray(batch["label"])
        valid = truth[truth != 255]
        pixels[:] += np.bincount(valid, minlength=7)
        confusion = np.diag(np.bincount(valid, minlength=7))
        return truth.astype(np.uint8), confusion, truth.astype(np.uint8)

    spec = DatasetSpec(spec.name, trained, spec.splits)
    mesh = sharding.make_mesh(1)
    evaluator = Evaluator(config, None, spec, mesh, step=step, labels=labels)
    evaluator({}, "val")
    source, own = sources.open_split(config.data, "val"), np.zeros(256, np.int64)
    for index in range(len(source)):
        own += np.bincount(source[index]["mask"].ravel(), minlength=256)
    assert pixels.tolist() == own[:7][::-1].tolist() and pixels[6] > pixels[0]
