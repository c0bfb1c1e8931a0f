"""Networks with fewer channels inside: what stays, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from tiny import tiny_shapes

import resseg
from resseg.architecture import spell_out
from resseg.blueprint.blueprint import Blueprint
from resseg.cli.main import main
from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.inference.trained import Trained
from resseg.pruning import channels
from resseg.pruning.prune import backbone_blocks, branch_shares, counts, prune
from resseg.training.run import train_and_evaluate

KEYS = {
    "model.backbone.depth": 10,
    "model.backbone.width": 8,
    "model.backbone.stem": "3x3",
    "model.backbone.stage_sizes": (1, 2),
    "model.backbone.stage_strides": (1, 2),
    "model.head.name": "fcn",
}
KINDS = {
    "basic": {},
    "pre-activation": {"model.backbone.variant": "v2"},
    "three convolutions": {"model.shortcut.span": 3},
    "two branches": {"model.branch.shake": "shake_shake"},
    "bottleneck": {"model.backbone.block": "bottleneck"},
    "inverted": {"model.backbone.block": "inverted", "model.backbone.expansion": 2},
    "mbconv": {"model.backbone.block": "mbconv", "model.backbone.expansion": 2},
    "no norm": {"model.norm": "none"},
}
CLASSES = ("a", "b", "c")


def trained_of(keys):
    """A network whose weights and statistics are drawn."""
    config = load_config("base", KEYS | keys)
    blueprint = Blueprint.of(config, len(CLASSES))
    draw = np.random.default_rng(0)
    drawn = blueprint.draw(jax.random.key(0))
    # Statistics and scales that a norm could have, no two alike.
    varied = jax.tree.map(
        lambda leaf: np.asarray(leaf) + draw.uniform(0.1, 1, leaf.shape), drawn
    )
    variables = {
        "params": varied["params"],
        "batch_stats": varied.get("batch_stats", {}),
        "paths": blueprint.paths(config),
    }
    return Trained(config, CLASSES, blueprint, variables, 0)


def scores(config, variables, images):
    model = Blueprint.of(config, len(CLASSES)).model
    learned = {name: variables[name] for name in ("params", "batch_stats")}
    return jax.jit(model.apply)(learned, images)["logits"]


EVERYDAY = ("basic", "pre-activation", "mbconv")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in EVERYDAY else pytest.mark.slow)
        for name in KINDS
    ],
)
def test_channels_that_nothing_reads_can_go(name):
    """Half of the channels are read with weights of 0: without them nothing changes."""
    trained = trained_of(KINDS[name])
    model = trained.config.model
    flat = flatten_dict(trained.variables["params"])
    plan = spell_out(model)
    both = flat | flatten_dict(trained.variables["batch_stats"])
    for block in backbone_blocks(model):
        found = channels.insides(both, tuple(block.split("/")), plan.block, plan.order)
        twice = name in ("three convolutions", "two branches", "bottleneck")
        assert len(found) == 1 + twice
        for inside in found:
            readers = [p for p in inside.axes if p == inside.reads or "reduce" in p]
            for path in readers:
                read = np.array(flat[path])
                read[:, :, 1::2] = 0
                flat[path] = read
    variables = trained.variables | {"params": unflatten_dict(flat)}
    silent = Trained(trained.config, CLASSES, trained.blueprint, variables, 0)
    pruned = prune(silent, 0.5)
    assert pruned.after == tuple(count // 2 for count in pruned.before)
    images = jax.random.normal(jax.random.key(1), (1, 16, 16, 3))
    expected = scores(trained.config, variables, images)
    found = scores(pruned.config, pruned.variables, images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert float(jnp.abs(expected).max()) > 1e-2
    shapes = Blueprint.of(pruned.config, len(CLASSES)).variables
    for kind in ("params", "batch_stats"):
        wanted = jax.tree.map(jnp.shape, shapes.get(kind, {}))
        assert jax.tree.map(jnp.shape, pruned.variables[kind]) == wanted


def test_what_weighs_most_stays_in_its_order():
    trained = trained_of({})
    flat = flatten_dict(trained.variables["params"])
    block = ("backbone", "stage1", "block1")
    (inside,) = channels.insides(flat, block, "basic", "post")
    scale = np.array([3.0, -9.0, 1.0, 2.0, 0.5, 7.0, 4.0, 0.1])
    flat[inside.scale] = scale
    flat[inside.reads] = np.ones_like(flat[inside.reads])
    root = np.sqrt(flat[inside.reads][:, :, 0].size)
    np.testing.assert_allclose(channels.weights(flat, inside), np.abs(scale) * root)
    left = channels.without(flat, inside, 3)
    np.testing.assert_array_equal(left[inside.scale], [-9.0, 7.0, 4.0])
    np.testing.assert_array_equal(
        left[inside.writes], np.asarray(flat[inside.writes])[..., [1, 5, 6]]
    )
    assert left[inside.reads].shape == (3, 3, 3, 8)


@pytest.mark.parametrize(
    ("keep", "shares", "expected"),
    [
        (0.5, None, [4, 8, 8]),
        (0.5, [1, 1, 1], [4, 8, 8]),
        (0.5, [0.0, 1.0, 3.0], [1, 5, 15]),
        (0.5, [9.0, 1.0, 1.0], [8, 6, 6]),  # the first is full, others take the rest
        (0.01, None, [1, 1, 1]),
    ],
)
def test_blocks_share_what_is_kept(keep, shares, expected):
    assert counts([8, 16, 16], keep, shares) == expected


def test_shares_are_those_of_the_branch_at_the_end():
    rows = [
        {"step": step, "fork": fork, "kind": kind, "path": path, "share": share}
        for step in range(1, 9)
        for fork, kind, path, share in (
            ("a", "block", "branch", 0.9 if step < 6 else 0.2),
            ("a", "block", "shortcut", 0.1),
            ("b", "block", "branch", 0.5),
            ("skip", "long_skip", "skip", 1.0),
        )
    ]
    assert branch_shares(pd.DataFrame(rows)) == pytest.approx({"a": 0.2, "b": 0.5})
    with pytest.raises(UserError, match="no gradients were logged, expected --by norm"):
        branch_shares(pd.DataFrame(rows[:0], columns=list(rows[0])))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.backbone.block": "ghost"}, "ghost blocks: expected basic"),
        ({"model.shortcut.span": 1}, "blocks of one convolution have no channels in"),
    ],
)
def test_blocks_without_channels_inside_are_named(keys, message):
    with pytest.raises(UserError, match=message):
        prune(trained_of(keys), 0.5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.backbone.inner": (4, 4)}, "expected 3 numbers, one per block, got 2"),
        (
            {"model.backbone.inner": (4, 4, 4), "model.backbone.block": "ghost"},
            "is for blocks basic, bottleneck, inverted, mbconv of one group",
        ),
    ],
)
def test_wrong_widths_are_named(keys, message):
    with pytest.raises(UserError, match=r"config\.model\.backbone\.inner=.*" + message):
        load_config("base", KEYS | keys)


def test_a_run_is_pruned_and_trained_again(tmp_path, capsys):
    config = load_config(
        "base",
        {
            **KEYS,
            **tiny_shapes(tmp_path / "data"),
            "train.steps": 2,
            "log.every": 1,
            "log.tensorboard": False,
            "eval.predictions": 0,
            "mesh.data": 1,
        },
    )
    whole, half = tmp_path / "whole", tmp_path / "half"
    train_and_evaluate(config, whole)
    command = ["prune", str(whole), "--keep", "0.5", "--workdir", str(half)]
    capsys.readouterr()
    assert main([*command, "--by", "gradient"]) == 0
    said = capsys.readouterr().out
    smaller = load_config(half)
    assert sum(smaller.model.backbone.inner) == pytest.approx((8 + 16 + 16) / 2, abs=1)
    before, after = (
        Blueprint.of(each, 7, each.data.crop) for each in (config, smaller)
    )
    assert f"parameters: {before.params:,} -> {after.params:,}" in said
    assert after.params < before.params and after.macs < before.macs
    assert main(command) == 2  # it is there
    assert "choose another folder" in capsys.readouterr().err
    assert main(["prune", str(whole), "--keep", "1.5", "--workdir", "x"]) == 2
    assert "--keep 1.5: expected above 0 and below 1" in capsys.readouterr().err
    tuned = tmp_path / "tuned"
    words = ["--config", str(half), "--init-from", str(half), "--workdir", str(tuned)]
    assert main(["train", *words, "--config.train.steps=1"]) == 0
    run = resseg.open_run(tuned)
    assert run.config.model.backbone.inner == smaller.model.backbone.inner
    assert run.steps == [1]
