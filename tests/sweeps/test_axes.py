import pytest

from resseg.sweeps import product, seeds, zipped


def test_a_product_varies_the_last_axis_fastest():
    runs = product({"a": [1, 2]}, seeds(2), [{"b": 5, "c": 6}, {"b": 7}])
    assert len(runs) == 8
    assert runs[:3] == [
        {"a": 1, "seed": 0, "b": 5, "c": 6},
        {"a": 1, "seed": 0, "b": 7},
        {"a": 1, "seed": 1, "b": 5, "c": 6},
    ]
    assert product({"a": [1, 2], "b": [3, 4]}) == [
        *({"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4})
    ]


def test_zipped_lists_go_together():
    pairs = zipped({"optim.name": ["sgd", "adamw"], "optim.learning_rate": [0.1, 1e-3]})
    assert pairs[1] == {"optim.name": "adamw", "optim.learning_rate": 1e-3}
    with pytest.raises(ValueError, match=r"differ in length: \{'a': 1, 'b': 2\}"):
        zipped({"a": [1], "b": [1, 2]})


def test_a_key_has_one_axis():
    with pytest.raises(ValueError, match="seed is set by two axes"):
        product(seeds(2), {"seed": [1]})
