"""Path spectra of a tiny U-Net: against its gradient, by route and by single paths."""

import copy
import dataclasses
import itertools

import jax
import numpy as np
import pandas as pd
import pytest

from resseg.errors import UserError
from resseg.gradients.analysis.rows import pulled_back, with_rows
from resseg.gradients.fork import ForkInfo
from resseg.probes import jacobian, paths, profile, routes
from resseg.probes.probe import Options

SHAPE = (1, 8, 8, 3)


def block(name, *ways):
    return ForkInfo(f"backbone/{name}", "block", ways or ("shortcut", "branch"), SHAPE)


FORKS = (
    ForkInfo("backbone/long_skip_stem", "long_skip", ("skip", "deeper"), SHAPE),
    block("stage1/block1"),
    block("stage1/block2"),
    ForkInfo("backbone/auxiliary_stage1", "auxiliary", ("aux", "deeper"), SHAPE),
    ForkInfo("backbone/long_skip_stage1", "long_skip", ("skip", "deeper"), SHAPE),
    block("stage2/block1"),
    ForkInfo("head/decoder1", "block", ("shortcut", "branch"), SHAPE),
)


@pytest.fixture(scope="module")
def table(smallest):
    return pd.DataFrame(paths.measure(smallest, Options(batches=1, samples=3)))


def test_a_route_is_what_is_left_when_the_others_are_cut():
    found = routes.route_factors(FORKS)
    assert list(found) == [
        *("all", "deepest", "long_skip_stage1", "auxiliary_stage1", "long_skip_stem")
    ]
    cut = {name: {key for key, f in by.items() if f == 0} for name, by in found.items()}
    stem, stage, aux = (FORKS[i].name for i in (0, 4, 3))
    outward = {(stem, "skip"), (stage, "skip"), (aux, "aux")}
    assert cut["all"] == set()
    assert cut["deepest"] == outward
    assert cut["auxiliary_stage1"] == outward - {(aux, "aux")} | {(aux, "deeper")}
    assert routes.route_factors(FORKS[1:3]) == {"all": {}}


def test_a_route_passes_the_blocks_before_it_leaves():
    def counted(route):
        return [block.blocks for block in routes.blocks_on(FORKS, route)]

    assert counted("deepest") == counted("all") == [3, 2, 1]
    assert counted("long_skip_stage1") == counted("auxiliary_stage1") == [2, 1]
    assert counted("long_skip_stem") == []


def test_a_block_without_shortcut_is_passed_by_its_branch():
    forks = (block("a"), block("b", "branch"), block("c"))
    first = routes.blocks_on(forks, "deepest")[0]
    assert [first.paths(k) for k in range(4)] == [0, 1, 2, 1]
    drawn = routes.draw_paths(forks, 2, 50, np.random.default_rng(0))
    assert (drawn["backbone/b", "branch"] == 1).all()
    assert ("backbone/b", "shortcut") not in drawn
    taken = drawn["backbone/a", "branch"] + drawn["backbone/c", "branch"]
    assert (taken == 1).all()
    assert (drawn["backbone/a", "shortcut"] == drawn["backbone/c", "branch"]).all()
    assert 0 < drawn["backbone/a", "branch"].mean() < 1
    with pytest.raises(ValueError, match="no path takes 0 branches of 3 blocks"):
        routes.draw_paths(forks, 0, 1, np.random.default_rng(0))


def test_a_gate_belongs_to_the_branch():
    forks = (block("a", "shortcut", "branch", "gate"), block("b"))
    drawn = routes.draw_paths(forks, 1, 50, np.random.default_rng(0))
    gate, branch = drawn["backbone/a", "gate"], drawn["backbone/a", "branch"]
    np.testing.assert_array_equal(gate, branch)
    np.testing.assert_array_equal(drawn["backbone/a", "shortcut"], 1 - branch)


@pytest.mark.parametrize(
    ("probe", "options"),
    [(paths, Options()), (jacobian, Options()), (profile, Options(by="class"))],
)
def test_a_backward_pass_that_rescales_is_refused(smallest, probe, options):
    config = copy.deepcopy(smallest.config)
    config.model.gradient.normalize = "block"
    with pytest.raises(UserError, match=r"normalize='block'.*expected 'no'"):
        probe.measure(dataclasses.replace(smallest, config=config), options)


def test_lengths_of_every_route_make_up_its_whole_gradient(table, shown):
    shown(paths.PROBE, table.to_dict("list"))
    sums = table.groupby(["route", "fork"])["part"].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-4)
    counts = table.groupby(["route", "fork"])["paths"].sum()
    blocks = table.groupby(["route", "fork"])["blocks"].first()
    known = counts.index.get_level_values("route") != "all"
    np.testing.assert_array_equal(counts[known], 2.0 ** blocks[known])


def test_the_path_without_branches_is_one_that_can_be_drawn(table):
    """O9: g^(0) and g^(L) are single paths; so every draw of them is the same."""
    alone = table[(table["route"] == "deepest") & (table["depth"] == 0)]
    assert list(alone["length"]) == list(range(len(alone)))
    ends = alone.iloc[[0, -1]]
    np.testing.assert_allclose(ends["sampled_l2"], ends["l2"], rtol=1e-4)
    assert alone["sampled_l2"].notna().all()


def test_a_spectrum_cut_short_keeps_what_it_shows(smallest, table):
    cut = pd.DataFrame(
        paths.measure(smallest, Options(batches=1, samples=1, longest=2))
    )
    first = cut[(cut["route"] == "deepest") & (cut["depth"] == 0)]
    assert list(first["length"]) == [0, 1, 2, paths.BEYOND]
    full = table[(table["route"] == "deepest") & (table["depth"] == 0)]
    np.testing.assert_allclose(first["l2"][:3], full["l2"][:3], rtol=1e-4)
    rest = full["part"][3:].sum()
    np.testing.assert_allclose(first["part"].iloc[-1], rest, atol=1e-4)
    np.testing.assert_allclose(first["part"].sum(), 1, rtol=1e-4)


@pytest.mark.slow
def test_routes_and_lengths_add_up_to_the_gradient_of_the_image(smallest):
    """Vectors this time: over routes, and over lengths against all single paths."""
    (batch,) = smallest.batches(1)
    names = [fork.name for fork in routes.backbone_blocks(smallest.forks)]
    count = len(names)

    @jax.jit
    def rows(images, factors):
        def loss(images):
            chosen = {
                **smallest.variables,
                "paths": paths.multiplied(smallest.variables["paths"], factors),
            }
            shown = {**batch, "image": images}
            return with_rows(
                smallest.total_loss, {}, names, count, chosen, shown, train=True
            )

        return pulled_back(loss, images, count)[1]

    by_route = {
        route: np.asarray(rows(batch["image"], factors))
        for route, factors in routes.route_factors(smallest.forks).items()
    }
    whole = by_route.pop("all")
    size = np.abs(whole[-1]).max()
    np.testing.assert_allclose(sum(by_route.values()), whole, atol=1e-4 * size)
    deepest = by_route["deepest"]
    single = 0.0
    for taken in itertools.combinations(range(count), 1):
        factors = dict(routes.route_factors(smallest.forks)["deepest"])
        for place, name in enumerate(names):
            factors[name, "branch"] = float(place in taken)
            factors[name, "shortcut"] = float(place not in taken)
        single = single + np.asarray(rows(batch["image"], factors))[-1]
    np.testing.assert_allclose(single, deepest[1], atol=1e-4 * np.abs(deepest[1]).max())
