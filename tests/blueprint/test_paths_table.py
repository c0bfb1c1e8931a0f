"""Every config key that shapes `paths` reaches the leaves of this table, and no other.

By value, with another number in each place: of the collection, of the schedules, and of
what a leaf does to the cotangents and to the addends of one backward pass.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.config.rows import KEYS
from resseg.gradients.fork import statistics_by_fork
from resseg.gradients.joins import moments, with_addends
from resseg.models.shortcuts import LongSkip

CLASSES, SIZE = 3, (16, 16)
SMALL = {
    "model.backbone.stage_sizes": (2, 1, 1),
    "model.backbone.stage_strides": (1, 2, 2),
    "model.backbone.width": 4,
    "model.backbone.stem": "3x3",
    "data.crop": SIZE,
}
BLOCKS = (
    "backbone/stage1/block1",
    "backbone/stage1/block2",
    "backbone/stage2/block1",
    "backbone/stage3/block1",
)
DECODER = ("head/decoder1", "head/decoder2", "head/decoder3")
STRUCTURES = {
    "resunet": {
        "model.head.name": "resunet",
        "model.aux.weight": 0.4,
        "model.shortcut.kind": "dropout",
        "model.gradient.detach_rate": 0.25,
        "model.gradient.clip_sites": 0.125,
    },
    "unet": {"model.head.name": "unet", "model.long_skip.kind": "add"},
    "deeplabv3plus": {
        "model.head.name": "deeplabv3plus",
        "model.head.rates": (1, 2, 3),
        "model.long_skip.kind": "gate",
        "model.shortcut.kind": "gate_exclusive",
        "model.shortcut.gate_bias": -1.0,
        "model.aux.weight": 0.4,
    },
    "fcn8s": {
        "model.head.name": "fcn8s",
        "model.shortcut.kind": "constant",
        "model.branch.drop_rate": 0.25,
        "model.branch.shake": "shake_drop",
        "model.drop_block.rate": 0.25,
        "model.drop_block.where": "branch",
    },
    "plain": {
        "model.head.name": "unet",
        "model.shortcut.kind": "none",
        "model.long_skip.kind": "none",
    },
    "learned": {
        "model.head.name": "fcn16s",
        "model.shortcut.kind": "learned_channel",
        "model.branch.learn": "scalar",
    },
}
# Long skips of each, shallow first; whether their blocks have a shortcut.
SKIPS = {
    "resunet": ("stem", "stage1", "stage2"),
    "unet": ("stem", "stage1", "stage2"),
    "deeplabv3plus": ("stage1",),
    "fcn8s": ("stage1", "stage2"),
    "plain": (),
    "learned": ("stage2",),
}
OF_BLOCKS = {
    "model.shortcut.scale": ("shortcut_factor/factor", 1.0),
    "model.shortcut.rate": ("shortcut_dropout/rate", 0.5),
    "model.branch.scale": ("branch_factor/factor", 1.0),
    "model.gradient.shortcut": ("fork/shortcut", 1.0),
    "model.gradient.branch_in": ("fork/branch", 1.0),
    "model.gradient.branch_out": ("branch_out", 1.0),
    "model.gradient.bypass": ("bypass", 0.0),
    "model.gradient.detach_rate": ("detach_rate", 0.25),
    "model.gradient.clip_sites": ("clip_sites", 0.125),
    "model.branch.drop_rate": ("branch_drop_path/rate", 0.25),
    "model.branch.shake_rate": ("branch_shake/rate", 0.5),
    "model.drop_block.rate": ("branch_drop_block/rate", 0.25),
}
REGULARISERS = tuple(OF_BLOCKS)[-3:]
SWITCHES = (
    "model.shortcut.rate",
    "model.gradient.detach_rate",
    "model.gradient.clip_sites",
)
NOT_THERE = {
    "resunet": REGULARISERS,
    "unet": SWITCHES + REGULARISERS,
    "deeplabv3plus": SWITCHES + REGULARISERS,
    "fcn8s": SWITCHES,
    "plain": (
        "model.shortcut.scale",
        "model.shortcut.rate",
        "model.gradient.shortcut",
        "model.gradient.bypass",  # refused: nothing would go back
        *SWITCHES[1:],
        *REGULARISERS,
    ),
    "learned": (
        "model.shortcut.scale",
        "model.shortcut.rate",
        "model.branch.scale",
        *SWITCHES[1:],
        *REGULARISERS,
    ),
}
PYRAMID = ("conv1x1", "rate1", "rate2", "rate3", "pool")


def leaves_of(name):
    """Key -> leaves in the order of the key's numbers, and the value at default."""
    blocks = BLOCKS + DECODER * (name == "resunet")
    table = {
        key: ([f"{block}/{leaf}" for block in blocks], default)
        for key, (leaf, default) in OF_BLOCKS.items()
        if key not in NOT_THERE[name]
    }
    skips = SKIPS[name]
    table["model.gradient.long_skip"] = (
        [f"backbone/long_skip_{stage}/skip" for stage in skips],
        1.0,
    )
    table["model.long_skip.scale"] = (
        [f"head/skip_factor_{stage}/factor" for stage in skips],
        1.0,
    )
    if "model.aux.weight" in STRUCTURES[name]:
        table["model.gradient.aux"] = ["backbone/auxiliary_stage2/aux"], 1.0
    if name == "deeplabv3plus":
        table["model.gradient.pyramid"] = (
            [f"head/pyramid/fork/{branch}" for branch in PYRAMID],
            1.0,
        )
    return {key: row for key, row in table.items() if row[0]}


def constants_of(name):
    """Leaves that no key reaches, and their value."""
    leaves = [f"backbone/long_skip_{stage}/deeper" for stage in SKIPS[name]]
    if "model.aux.weight" in STRUCTURES[name]:
        leaves.append("backbone/auxiliary_stage2/deeper")
    if name == "deeplabv3plus":
        leaves += [f"{block}/fork/gate" for block in BLOCKS]
    never = [f"{block}/bypass" for block in BLOCKS * (name == "plain")]
    return dict.fromkeys(leaves, 1.0) | dict.fromkeys(never, 0.0)


def at_defaults(name):
    expected = constants_of(name)
    for leaves, default in leaves_of(name).values():
        expected |= dict.fromkeys(leaves, default)
    return expected


def config_of(name, keys=()):
    return load_config("base", SMALL | STRUCTURES[name] | dict(keys))


@functools.cache
def blueprint_of(name):
    return Blueprint.of(config_of(name), CLASSES)


def flat(tree):
    return {path: np.asarray(x) for path, x in flatten_dict(tree, sep="/").items()}


def assert_leaves(found, expected):
    found = flat(found)
    assert found.keys() == expected.keys()
    wrong = {
        path: (found[path].tolist(), value)
        for path, value in expected.items()
        if not np.array_equal(found[path], np.asarray(value, np.float32))
    }
    assert not wrong


def numbers(count, offset):
    """Another number in each place, each a possible rate: none of them a default."""
    return tuple((1 + 2 * i + offset) / 64 for i in range(count))


CASES = [(name, key) for name in STRUCTURES for key in leaves_of(name)]


def test_the_table_names_every_key_that_has_places():
    """`gate_bias` is a parameter, and `leaves` of learned factors are too.

    Of `first` some blocks have none: tests/models/test_zoo.py.
    """
    with_places = {key for key, row in KEYS.items() if row.value.one_per}
    others = {"model.shortcut.gate_bias", "model.shortcut.first"}
    assert {key for _, key in CASES} == with_places - others


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_collection_has_these_leaves_and_these_defaults(name):
    config, blueprint = config_of(name), blueprint_of(name)
    assert_leaves(blueprint.paths(config), at_defaults(name))
    assert_leaves(blueprint.trace.paths(), at_defaults(name))


@pytest.mark.parametrize(("name", "key"), CASES)
def test_a_key_reaches_its_leaves_and_no_other(name, key):
    leaves, _ = leaves_of(name)[key]
    values = numbers(len(leaves), 0)
    config = config_of(name, {key: values if len(values) > 1 else values[0]})
    expected = at_defaults(name) | dict(zip(leaves, values, strict=True))
    assert_leaves(blueprint_of(name).paths(config), expected)


@pytest.mark.parametrize("name", STRUCTURES)
def test_all_keys_at_once_end_in_different_leaves(name):
    """Of the network that is built from that config, too, and with schedules."""
    keys, expected, moving, lines = {}, dict(at_defaults(name)), {}, {}
    for number, (key, (leaves, _)) in enumerate(leaves_of(name).items()):
        values = numbers(len(leaves), number / 16)
        keys[key] = values if len(values) > 1 else values[0]
        expected |= dict(zip(leaves, values, strict=True))
        ways = [
            (value, value / 2, 3 + i, 9 + 2 * i + number)
            for i, value in enumerate(values)
        ]
        texts = tuple(json.dumps({"linear": way}) for way in ways)
        moving[key] = texts if len(texts) > 1 else texts[0]
        lines |= dict(zip(leaves, ways, strict=True))
    config = config_of(name, keys)
    own = Blueprint.of(config, CLASSES)
    assert_leaves(own.paths(config), expected)
    assert_leaves(own.trace.paths(), expected)
    assert_leaves(blueprint_of(name).paths(config), expected)
    scheduled = config_of(name, moving)
    constant = {leaf: (x, x, 0, 0) for leaf, x in constants_of(name).items()}
    assert_leaves(blueprint_of(name).lines(scheduled), constant | lines)
    assert_leaves(own.paths(scheduled), expected)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        (
            "learned",
            {
                "model.shortcut.scale": "shortcut_factor/factor",
                "model.branch.scale": "branch_factor/factor",
            },
        ),
        ("deeplabv3plus", {"model.shortcut.gate_bias": "gate/bias"}),
    ],
)
def test_what_is_learned_starts_where_its_key_says(name, table):
    keys = {key: numbers(4, 8 * i + 1) for i, key in enumerate(table)}
    config = config_of(name, keys)
    drawn = Blueprint.of(config, CLASSES).draw(jax.random.key(0))
    expected = {
        f"{block}/{leaf}": value
        for key, leaf in table.items()
        for block, value in zip(BLOCKS, keys[key], strict=True)
    }
    ends = ("/factor", "gate/bias")
    found = {k: x for k, x in flat(drawn["params"]).items() if k.endswith(ends)}
    assert expected.keys() == {k for k in found if k.startswith("backbone")}
    for path, start in found.items():
        wanted = expected.get(path, 0.0)  # gates of long skips start half open
        np.testing.assert_array_equal(start, np.full_like(start, wanted))


# What a leaf does, in one backward pass. Batch statistics are constants in it, and
# nothing is dropped: rates are for tests of single blocks.
ACTING = ("resunet", "deeplabv3plus", "fcn8s")


@functools.cache
def measuring(name):
    """The jitted `paths -> (loss, joins, long skips, gradients, forks)`."""
    blueprint = blueprint_of(name)
    drawn = blueprint.draw(jax.random.key(3))
    images = jax.random.normal(jax.random.key(4), (2, *SIZE, 3))
    weights = jax.random.normal(jax.random.key(5), (2, 2, *SIZE, CLASSES))

    def measured(paths):
        def loss(params, taps):
            variables = drawn | {"params": params, "paths": paths, "taps": taps}
            (outputs, kept), addends = with_addends(
                blueprint.model.apply,
                variables,
                images,
                capture_intermediates=lambda module, _: isinstance(module, LongSkip),
                mutable=["intermediates"],
            )
            value = sum(
                jnp.sum(jnp.tanh(score) * weight)
                for score, weight in zip(outputs.values(), weights, strict=False)
            )
            skips = flatten_dict(kept.get("intermediates", {}), sep="/")
            skips = {key: x[0] for key, x in skips.items()}
            return value, ({k: moments(v) for k, v in addends.items()}, skips)

        both = jax.value_and_grad(loss, (0, 1), has_aux=True)
        (value, aside), (gradients, taps) = both(drawn["params"], blueprint.zero_taps())
        return value, *aside, gradients, statistics_by_fork(taps)

    step = jax.jit(measured)
    defaults = {path: np.float32(x) for path, x in at_defaults(name).items()}

    def of(**changed):
        tree = {
            tuple(path.split("/")): x for path, x in {**defaults, **changed}.items()
        }
        return jax.device_get(step(unflatten_dict(tree)))

    return of, of()


def close(found, expected):
    atol = 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol)


def squares_of(forks):
    return {name: measured.squares for name, measured in forks.items()}


def backward_leaves(name):
    for key, (leaves, _) in leaves_of(name).items():
        if key.startswith("model.gradient.") and key not in SWITCHES:
            yield from leaves
    yield from constants_of(name)


@pytest.mark.parametrize("name", ACTING)
def test_a_backward_leaf_scales_its_path_and_nothing_behind_it(name):
    """Forward nothing moves; of its fork one path does, by the number itself.

    Forks that the signal meets later have sent their gradient back already.
    """
    of, (value, joins, _, gradients, forks) = measuring(name)
    order = [fork.name for fork in blueprint_of(name).trace.forks]
    factor = np.float32(0.375)
    for leaf in backward_leaves(name):
        fork, _, path = leaf.removesuffix("/fork").rpartition("/")
        fork = fork.removesuffix("/fork")
        scaled = of(**{leaf: factor})
        assert scaled[0] == value
        jax.tree.map(np.testing.assert_array_equal, scaled[1], joins)
        by = {"bypass": 1 - factor}.get(path, factor)
        path = {"bypass": "branch", "branch_out": "branch"}.get(path, path)
        places = blueprint_of(name).trace.forks[order.index(fork)].paths
        expected = squares_of(forks)[fork].copy()
        expected[places.index(path)] *= by**2
        assert expected[places.index(path)] > 0
        found = squares_of(scaled[4])[fork]
        if leaf.endswith("branch_out") and "gate" in places:
            found, expected = found[:-1], expected[:-1]  # a gate hears of the branch
        close(found, expected)
        for later in order[order.index(fork) + 1 :]:
            close(squares_of(scaled[4])[later], squares_of(forks)[later])
        if leaf.endswith("branch_out"):
            modules = fork.split("/")
            pairs = [scaled[3], gradients]
            for module in (*modules, "branch"):
                pairs = [tree[module] for tree in pairs]
            jax.tree.map(lambda a, b, by=by: close(a, by * b), *pairs)


@pytest.mark.parametrize("name", ACTING)
def test_a_forward_leaf_scales_what_its_path_adds(name):
    of, (_, joins, skips, _, _) = measuring(name)
    factor = np.float32(0.625)
    order = list(joins)
    for key in ("model.shortcut.scale", "model.branch.scale"):
        for leaf in leaves_of(name)[key][0]:
            block, module, _ = leaf.rsplit("/", 2)
            _, found, *_ = of(**{leaf: factor})
            expected = joins[block].array.copy()
            expected[("shortcut_factor", "branch_factor").index(module)] *= factor**2
            expected[2] *= factor
            close(found[block].array, expected)
            for earlier in order[: order.index(block)]:
                np.testing.assert_array_equal(
                    found[earlier].array, joins[earlier].array
                )
    for leaf in leaves_of(name)["model.long_skip.scale"][0]:
        kept = f"{leaf.removesuffix('/factor')}/__call__"
        _, same, found, *_ = of(**{leaf: factor})
        close(found[kept], factor * skips[kept])
        for other in skips.keys() - {kept}:
            if other.startswith("head/skip") and name != "fcn8s":
                np.testing.assert_array_equal(found[other], skips[other])
        for block in BLOCKS:
            np.testing.assert_array_equal(same[block].array, joins[block].array)
