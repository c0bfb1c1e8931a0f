"""Each format by one command: the masks are those of its own tools, pixel for pixel."""

import label_trees
import numpy as np
import pytest
from label_commands import call, stored
from ml_collections import ConfigDict

from resseg.data import sources
from resseg.data.labels.table import NAMES, format_of


def test_every_format_has_a_tree_here():
    assert set(label_trees.MAKERS) == set(NAMES) and len(NAMES) >= 12


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("name", label_trees.MAKERS)
def test_masks_are_those_of_the_format(name, tmp_path):
    made = label_trees.MAKERS[name](tmp_path / "tree")
    labels = made.options[made.options.index("--labels") + 1]
    assert format_of(labels, None).name == name
    data = tmp_path / "data"
    status, out, err = call("prepare", "set", *made.options, "--dir", data)
    assert status == 0, err
    masks = stored(data)
    assert sorted(masks) == sorted(made.masks)
    for key, mask in made.masks.items():
        np.testing.assert_array_equal(masks[key], mask, err_msg=key)
    spec = sources.dataset_spec(ConfigDict({"name": "set", "dir": str(data)}))
    if made.classes:
        assert spec.classes == made.classes
    assert f"labels: format {name}" in out
    status, again, _ = call("check", "set", "--dir", data)
    assert status == 0 and f"labels: format {name}" in again
