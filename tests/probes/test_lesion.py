"""Lesions and new orders of a whole network, scored on its evaluation split."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from ml_collections import ConfigDict

from resseg import sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.errors import UserError
from resseg.inference.evaluator import Evaluator
from resseg.probes import lesion, reorder
from resseg.probes.calibration import make_reestimate
from resseg.probes.probe import Options
from resseg.probes.scoring import MEAN, Score, Scorer
from resseg.probes.surgery import reordered, without_branches

BLOCKS = [
    f"backbone/stage{s}/block{b}" for s, b in ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2))
]


def with_last_norms(variables, value):
    """The branches scaled by `value`; at 0 each branch is the zero map."""

    def scale(path, leaf):
        names = [key.key for key in path]
        last = names[-4:-1] == ["branch", "norm2", "batch"] and names[-1] == "scale"
        return jnp.full_like(leaf, value) if last else leaf

    params = jax.tree_util.tree_map_with_path(scale, variables["params"])
    return variables | {"params": params}


@pytest.fixture(scope="module")
def trained(probed):
    """With statistics of the data, so that the network computes something."""
    batches = list(probed.batches(1))
    variables = make_reestimate(probed.model)(probed.variables, batches)
    return dataclasses.replace(probed, variables=variables, step=1)


@pytest.fixture(scope="module")
def lesions(trained):
    return lesion.measure(trained, Options(samples=2))


def test_the_intact_network_scores_what_evaluation_says(trained, lesions, shown):
    table = shown(lesion.PROBE, lesions)
    evaluator = Evaluator(
        trained.config, trained.model, trained.spec, sharding.make_mesh()
    )
    scores = evaluator(trained.variables, "val")
    intact = table[table["lesion"] == "intact"].set_index("class")["iou"]
    assert intact[MEAN] == scores["mean_iou"]
    np.testing.assert_array_equal(intact[list(trained.spec.classes)], scores["iou"])


def test_every_block_alone_then_sets_of_growing_size(lesions):
    table = lesion.means(pd.DataFrame(lesions))
    assert table["removed"].tolist() == [0] + 5 * [1] + 2 * [2] + 2 * [4]
    assert table["blocks"].tolist()[1:6] == BLOCKS
    assert table["depth"].tolist()[1:6] == [0, 1, 2, 3, 4]
    # Both stages begin with a stride.
    assert table["transition"].tolist()[1:6] == [1, 0, 0, 1, 0]
    for row in table.itertuples():
        assert len(set(row.blocks.split()) & set(BLOCKS)) == row.removed


def test_changes_are_differences_to_the_intact_network(lesions):
    table = pd.DataFrame(lesions)
    for name, rows in table.groupby("class"):
        np.testing.assert_allclose(
            rows["iou_change"], rows["iou"] - rows["iou"].iloc[0], err_msg=name
        )
    assert (lesion.means(table)["loss_change"].iloc[1:] != 0).all()
    assert lesion.means(table)["loss_change"].iloc[0] == 0


def test_branches_that_are_zero_are_not_missed(trained):
    """O29 with w = 0: bit for bit, whatever is removed; and reordering them too."""
    zero = dataclasses.replace(trained, variables=with_last_norms(trained.variables, 0))
    # W_c of these blocks is the identity; the transitions project, so they stay.
    scorer = Scorer(zero)
    intact = scorer(zero.variables)
    without = scorer(without_branches(zero.variables, BLOCKS))
    assert (without.loss, without.mean_iou) == (intact.loss, intact.mean_iou)
    table = pd.DataFrame(reorder.measure(zero, Options(samples=3)))
    assert (table["loss_change"] == 0).all()
    assert table["iou_change"].dropna().eq(0).all()


def test_orders_run_from_one_inversion_to_all(trained, shown):
    table = shown(reorder.PROBE, reorder.measure(trained, Options(samples=3)))
    rows = lesion.means(table)
    # Blocks 2 and 3 of the first stage alone have equal shapes.
    assert rows["tau"].tolist() == [1, -1]
    assert rows["places"].tolist() == [
        "backbone/stage1: 2 3",
        "backbone/stage1: 3 2",
    ]
    assert rows["loss_change"].iloc[1] != 0


def test_tau_counts_the_pairs_of_all_stages(probed, probed_config, monkeypatch):
    """Blocks 2 to 4 and 2 to 3 are alike: 3 pairs and 1; each inversion costs 1/2."""
    config = ConfigDict(probed_config)
    config.model.backbone.stage_sizes = (4, 3)
    blueprint = Blueprint.of(config, probed.spec.num_classes)
    longer = dataclasses.replace(
        probed, blueprint=blueprint, variables=blueprint.variables
    )
    same = Score(1.0, 0.5, np.full(probed.spec.num_classes, 0.5))
    monkeypatch.setattr(reorder, "Scorer", lambda *_: lambda variables: same)
    rows = lesion.means(pd.DataFrame(reorder.measure(longer, Options(samples=4))))
    assert rows["inversions"].tolist() == [0, 1, 2, 3, 4]
    assert rows["tau"].tolist() == [1, 0.5, 0, -0.5, -1]
    assert rows["places"].iloc[-1] == "backbone/stage1: 4 3 2; backbone/stage2: 3 2"


def test_the_loss_is_a_mean_over_labelled_pixels(trained, monkeypatch):
    """Batches weigh by their pixels; that of void alone, which is NaN, by none."""
    measured = [(3.0, 2), (np.nan, 0), (7.0, 6)]
    batches = [{"image": 0, "label": number} for number in range(len(measured))]
    scorer = Scorer(trained)
    monkeypatch.setattr(scorer, "_batches", lambda: batches)
    confusion = np.diag([1, 3])
    scorer._step = lambda variables, image, label: (*measured[label], confusion)
    score = scorer(trained.variables)
    assert score.loss == (3 * 2 + 7 * 6) / 8
    assert score.iou.tolist() == [1, 1]


def test_a_subset_is_scored_by_whole_batches(trained):
    seen = []
    scorer = Scorer(trained, images=3)
    scorer._step = lambda variables, image, label: (
        seen.append(len(image)) or (1.0, 1, np.eye(trained.spec.num_classes))
    )
    scorer(trained.variables)
    assert sum(seen) == 3  # the split of 6 is read in two batches of 3


def test_statistics_are_collected_anew_after_each_change(probed, trained):
    options = Options(samples=1, batches=1, reestimate=True)
    table = lesion.means(pd.DataFrame(lesion.measure(trained, options)))
    reestimate, batches = make_reestimate(trained.model), list(trained.batches(1))
    without = without_branches(trained.variables, BLOCKS[1:2])
    expected = Scorer(trained)(reestimate(without, batches))
    row = table[table["lesion"] == BLOCKS[1]].iloc[0]
    np.testing.assert_allclose(row["loss"], expected.loss, rtol=1e-6)
    stale = Scorer(trained)(without)
    assert abs(stale.loss - expected.loss) > 1e-4


def test_statistics_of_another_order_are_collected_too(trained):
    options = Options(samples=1, batches=1, reestimate=True)
    table = lesion.means(pd.DataFrame(reorder.measure(trained, options)))
    first, second = (f"backbone/stage1/block{n}" for n in (2, 3))
    swapped = reordered(trained.variables, {first: second, second: first})
    reestimate, batches = make_reestimate(trained.model), list(trained.batches(1))
    expected = Scorer(trained)(reestimate(swapped, batches))
    assert table["tau"].tolist() == [1, -1]
    np.testing.assert_allclose(table["loss"].iloc[1], expected.loss, rtol=1e-6)


def test_reestimated_statistics_are_those_of_the_batch(probed):
    """The stem's, by hand; two batches count the same; the old ones have no say."""
    batches = list(probed.batches(2))
    reestimate = make_reestimate(probed.model)
    found = reestimate(probed.variables, batches)["batch_stats"]
    stem = found["backbone"]["stem"]["norm"]["batch"]
    kernel = probed.variables["params"]["backbone"]["stem"]["conv"]["kernel"]
    means, variances = [], []
    for batch in batches:
        y = jax.lax.conv_general_dilated(
            batch["image"],
            kernel,
            (1, 1),
            [(1, 1), (1, 1)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        values = np.asarray(y, np.float64).reshape(-1, y.shape[-1])
        means.append(values.mean(0))
        variances.append(values.var(0, ddof=1))
    np.testing.assert_allclose(stem["mean"], np.mean(means, 0), atol=1e-5)
    np.testing.assert_allclose(stem["var"], np.mean(variances, 0), rtol=1e-4)
    again = probed.variables | {"batch_stats": jax.tree.map(lambda x: x + 7, found)}
    jax.tree.map(
        np.testing.assert_array_equal, reestimate(again, batches)["batch_stats"], found
    )


def test_a_network_without_equal_blocks_has_no_other_order(probed, probed_config):
    config = ConfigDict(probed_config)
    config.model.backbone.stage_sizes = (1, 1)
    classes = probed.spec.num_classes
    single = dataclasses.replace(
        probed,
        blueprint=(blueprint := Blueprint.of(config, classes)),
        variables=blueprint.variables,
    )
    with pytest.raises(UserError, match="no stage of the network has two blocks"):
        reorder.measure(single, Options())
