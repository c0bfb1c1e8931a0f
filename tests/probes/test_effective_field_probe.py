"""The receptive fields of a whole network."""

import numpy as np
import pytest

from resseg.probes import receptive_field
from resseg.probes.probe import Options


@pytest.fixture(scope="module")
def rows(probed):
    return receptive_field.measure(probed, Options(batches=1))


def test_fields_grow_with_depth_and_stay_in_theoretical_reach(rows, shown):
    table = shown(receptive_field.PROBE, rows)
    short = receptive_field.fields(table).set_index("feature")
    names = ["backbone/stem", "backbone/stage1", "backbone/stage2", "logits"]
    assert list(short.index) == names
    assert short["stride"].tolist() == [1, 2, 4, 1]
    radius = short["radius"]
    assert 0 < radius.iloc[0] < radius.iloc[1] < radius.iloc[2]
    # The stem is one 3x3 convolution; stage 1 sees six more, five of them at stride 2.
    assert short["area"].iloc[0] <= 9
    cells = table[(table["feature"] == "backbone/stem") & (table["share"] > 0)]
    assert (cells["y"].max() - cells["y"].min(), len(cells)) == (2, 9)
    stage = table[(table["feature"] == "backbone/stage1") & (table["share"] > 0)]
    assert stage["x"].max() - stage["x"].min() <= 2 * (1 + 1 + 5 * 2)


def test_shares_of_a_field_add_up_to_one(rows):
    shares = np.asarray(rows["share"]).reshape(4, 32, 32)
    np.testing.assert_allclose(shares.sum((1, 2)), 1)


def test_seven_features_find_their_panels(rows, shown):
    one = {name: values[:1024] for name, values in rows.items()}
    names = ["backbone/stem", *(f"backbone/stage{i}" for i in range(1, 6)), "logits"]
    many = {name: values * 7 for name, values in one.items()}
    many["feature"] = [name for name in names for _ in range(1024)]
    table = shown(receptive_field.PROBE, many)
    assert list(receptive_field.fields(table)["feature"]) == names
