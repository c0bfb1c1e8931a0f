"""Heads of the peers: every parameter, skip and branch is alive; coefficients act."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from tiny import drawn

from resseg.architecture import nested_paths, spell_out
from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.config.heads import HEADS, branch_names, skip_names
from resseg.config.load import load_config
from resseg.gradients.fork import statistics_by_fork

SIZE, CLASSES = (32, 48), 3
SMALL = {
    "model.backbone.stage_sizes": (1, 1, 1),
    "model.backbone.stage_strides": (2, 2, 2),
    "model.backbone.width": 16,
    "model.backbone.stem": "3x3",
    "model.aux.weight": 0.4,
    "data.crop": SIZE,
}
# Fewer stages where programs are compiled.
TWO = {"model.backbone.stage_sizes": (1, 1), "model.backbone.stage_strides": (2, 2)}
LEVELS = ("pyramid_stage3", "pyramid_stage2")
# Forks of the head and their paths, in the order in which the signal meets them.
FORKS = {
    "fpn": dict.fromkeys(LEVELS, ("segment", "down")),
    "pspnet": {"pyramid": ("pool1", "pool2", "pool3", "pool6", "identity")},
    "linknet": {},
    "unetplusplus": {
        "nested_stem": ("x_0_2", "x_1_2", "x_2_2"),
        "nested_stage1": ("x_0_1", "x_1_1", "x_2_2"),
        "nested_stage2": ("x_0_0", "x_1_1"),
        "nested_x_1_1": ("x_0_1", "x_1_2"),
        "nested_x_2_2": ("x_0_2", "x_1_2"),
    },
    "pan": {
        "pyramid": ("pool", "mid", "down"),
        "pyramid/level1": ("attention", "down"),
        "pyramid/level2": ("attention", "down"),
        "gate_stage2": ("up", "attention"),
        "gate_stage1": ("up", "attention"),
    },
    "manet": {"attention": ("identity", "attention")},
    "upernet": {
        "pyramid": ("pool1", "pool2", "pool3", "pool6", "identity"),
        **dict.fromkeys(LEVELS, ("segment", "down")),
    },
    "lraspp": {"pyramid": ("conv", "gate")},
}
# Paths that `model.gradient.pyramid` reaches, in its order.
REACHED = {
    "fpn": [(fork, "segment") for fork in LEVELS],
    "pan": [
        *[("pyramid/fork", path) for path in FORKS["pan"]["pyramid"]],
        ("gate_stage2", "attention"),
        ("gate_stage1", "attention"),
    ],
    "upernet": [
        *[("pyramid/fork", path) for path in FORKS["upernet"]["pyramid"]],
        *[(fork, "segment") for fork in LEVELS],
    ],
    "pspnet": [("pyramid/fork", path) for path in FORKS["pspnet"]["pyramid"]],
    "manet": [("attention/fork", path) for path in FORKS["manet"]["attention"]],
    "lraspp": [("pyramid", path) for path in FORKS["lraspp"]["pyramid"]],
    "unetplusplus": [
        (f"nested_{source}", node)
        for source, nodes in nested_paths(("stem", "stage1", "stage2")).items()
        for node in nodes
    ],
    "linknet": [],
}


# A path to be stopped, in a backbone of as many stages as `compiled`.
STOPPED = {
    "fpn": "pyramid_stage2/segment",
    "pspnet": "pyramid/fork/pool2",
    "unetplusplus": "nested_stage1/x_1_1",
    "pan": "gate_stage1/attention",
    "manet": "attention/fork/attention",
    "upernet": "pyramid_stage2/segment",
    "lraspp": "pyramid/gate",
}


def config_of(head, **settings):
    keys = {f"model.{key}": value for key, value in settings.items()}
    return load_config("base", SMALL | {"model.head.name": head} | keys)


def compiled(head):
    """The config of a network that is small enough to be compiled."""
    fewer = {} if HEADS[head].stages > 2 else TWO
    return load_config("base", SMALL | {"model.head.name": head} | fewer)


def alive(variables):
    """With biases, and kernels of one channel, that keep every ReLU above zero."""
    flat = traverse_util.flatten_dict(variables["params"])
    lifted = {}
    for path, leaf in flat.items():
        if path[-1] == "kernel" and leaf.shape[-1] == 1:
            mean = np.prod(leaf.shape) ** -0.5  # or sigmoids would saturate
            lifted[path] = np.abs(leaf) * mean
        else:
            lifted[path] = leaf + 0.3 * (path[-1] == "bias")
    return variables | {"params": traverse_util.unflatten_dict(lifted)}


def features(config):
    """What a backbone gives, drawn; 16 channels of the stem."""
    names = ("stem", *spell_out(config.model).stages)
    given = {"image": jnp.zeros((2, *SIZE, 3))}
    for i, name in enumerate(names):
        shape = (2, SIZE[0] >> i, SIZE[1] >> i, 16 << max(i - 1, 0))
        given[name] = jax.random.normal(jax.random.key(i), shape)
    return given


@functools.cache
def measured(head):
    """`changed coefficients -> scores, gradients by name, forks`, compiled once.

    Gradients are of parameters and, as `features/stage1`, of what a head is given. In
    evaluation: in training a bias in front of a batch norm moves nothing.
    """
    config = compiled(head)
    net, given = build_segmenter(config.model, CLASSES).head, features(config)
    variables = alive(drawn(net, given, train=False))
    paths = traverse_util.flatten_dict(variables.get("paths", {}), sep="/")
    taps = variables.get("taps", {})

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(params, given, taps, paths):
        def loss(params, given, taps):
            held = variables | {"params": params, "taps": taps, "paths": paths}
            scores = net.apply(held, given, train=False)
            return (scores**2).mean(), scores

        return jax.grad(loss, (0, 1, 2), has_aux=True)(params, given, taps)

    @functools.cache
    def result(*changes):
        changed = paths | {k: np.float32(x) for k, x in changes}
        assert changed.keys() == paths.keys()
        nested = traverse_util.unflatten_dict(changed, sep="/")
        found, scores = run(variables["params"], given, taps, nested)
        flat = traverse_util.flatten_dict(found[0], sep="/")
        flat |= {f"features/{name}": x for name, x in found[1].items()}
        return np.asarray(scores), flat, statistics_by_fork(found[2])

    return result


@pytest.mark.parametrize("head", FORKS)
def test_every_parameter_has_a_gradient_and_every_path_too(head):
    _, gradients, forks = measured(head)()
    dead = {name for name, leaf in gradients.items() if not np.abs(leaf).max() > 0}
    model = compiled(head).model
    stages = spell_out(model).stages
    unseen = {"image", "stem", *stages} - {*skip_names(model), stages[-1]}
    assert dead == {f"features/{name}" for name in unseen}
    for name, fork in forks.items():
        assert (np.asarray(fork.squares) > 0).all(), name
        assert np.isfinite(fork.squares).all() and not fork.nonfinite.any(), name
    assert forks or head == "linknet"


@pytest.mark.parametrize("head", FORKS)
def test_what_parts_in_a_head_is_a_fork_with_a_path_for_each_way(head):
    blueprint = Blueprint.of(config_of(head), CLASSES)
    forks = blueprint.forks(1)
    found = {
        fork.name.removeprefix("head/"): fork.paths
        for fork in forks
        if fork.name.startswith("head/")
    }
    assert found == FORKS[head]
    skips = [f"backbone/long_skip_{name}" for name in skip_names(config_of(head).model)]
    assert [fork.name for fork in forks if fork.kind == "long_skip"] == skips
    described = blueprint.description
    assert (described.params, described.macs) == (blueprint.params, blueprint.macs)
    kinds = {row.kind for row in described.rows}
    assert "pyramid" in kinds or head in ("linknet", "manet")


@pytest.mark.parametrize("head", [name for name in FORKS if name != "pspnet"])
def test_every_skip_changes_the_output_and_can_be_cut(head):
    scores, _, _ = measured(head)()
    for skip in skip_names(compiled(head).model):
        without, gradients, _ = measured(head)((f"skip_factor_{skip}/factor", 0.0))
        assert np.abs(without - scores).max() > 1e-4, skip
        assert not np.abs(gradients[f"features/{skip}"]).any(), skip


@pytest.mark.parametrize("head", [name for name in FORKS if REACHED[name]])
def test_coefficients_of_branches_reach_their_paths(head):
    config = config_of(head)
    names = branch_names(config.model)
    assert len(names) == len(REACHED[head])
    numbers = [0.25 + i for i in range(len(names))]
    other = config_of(head, **{"gradient.pyramid": tuple(numbers)})
    plan = Blueprint.of(config, CLASSES)
    flat = traverse_util.flatten_dict(plan.paths(other)["head"], sep="/")
    for number, (fork, path) in zip(numbers, REACHED[head], strict=True):
        assert flat[f"{fork}/{path}"] == np.float32(number), (fork, path)


@pytest.mark.parametrize(("head", "path"), STOPPED.items())
def test_a_path_that_is_stopped_is_stopped_backward_alone(head, path):
    scores, before, _ = measured(head)()
    stopped, after, _ = measured(head)((path, 0.0))
    np.testing.assert_array_equal(stopped, scores)
    moved = {k for k in before if (np.asarray(after[k]) != before[k]).any()}
    assert [name for name in moved if name.startswith("features/")]
    # What lies behind the fork sees what it saw.
    assert not [name for name in moved if name.startswith("classifier")]


@pytest.mark.parametrize("head", FORKS)
def test_a_stage_that_strides_behind_a_stem_that_pools_goes_with_every_head(head):
    """Between stem and stage 1 lies a factor of 4."""
    keys = {
        "model.head.name": head,
        "model.backbone.stem": "7x7",
        "data.crop": (64, 64),
    }
    config = load_config("base", SMALL | keys)
    assert Blueprint.of(config, CLASSES, (65, 97)).params > 0


def test_lraspp_is_its_formula():
    """W_h relu(n(W x)) * sigmoid(W_g mean(x)) + b_h + W_l low + b_l (Howard 2019)."""
    config = config_of("lraspp", **{"head.width": 4, "norm": "none"})
    net = build_segmenter(config.model, CLASSES).head
    draw = jax.random.normal
    low, deep = (
        draw(jax.random.key(1), (2, 3, 4, 8)),
        draw(jax.random.key(2), (2, 3, 4, 6)),
    )
    given = {"stage2": low, "stage3": deep}
    variables = alive(drawn(net, given, train=False))
    found = net.apply(variables, given, train=False)
    params = variables["params"]
    high = np.maximum(deep @ kernel_of(params["conv"]["conv"]) + 0.3, 0)
    gate = deep.mean((1, 2), keepdims=True) @ kernel_of(params["gate"])
    expected = high / (1 + np.exp(-gate)) @ kernel_of(params["classifier"]["conv"])
    expected += low @ kernel_of(params["score_stage2"]["conv"]) + 0.6
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def kernel_of(layer):
    return np.asarray(layer["kernel"])[0, 0]


@pytest.mark.parametrize("head", FORKS)
def test_half_precision_is_kept_to_the_scores(head):
    """Nothing on the way is widened by a constant or a mean and stays so."""
    net = build_segmenter(config_of(head, dtype="bfloat16").model, CLASSES)
    images = jax.ShapeDtypeStruct((1, *SIZE, 3), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    program = jax.make_jaxpr(net.apply)(variables, images)
    kinds = {
        variable.aval.dtype
        for equation in program.eqns
        if equation.primitive.name == "conv_general_dilated"
        for variable in equation.invars
    }
    assert kinds == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("head", [name for name in FORKS if name != "pspnet"])
def test_long_skips_of_kind_none_leave_a_head_that_computes(head):
    net = build_segmenter(config_of(head, **{"long_skip.kind": "none"}).model, CLASSES)
    traced = trace(net, (1, 33, 47, 3))
    assert {fork.kind for fork in traced.forks} <= {"block", "pyramid", "auxiliary"}
    assert traced.calls[0].output is None  # a dict of scores
    assert not [name for name in traced.coefficients if "skip" in "/".join(name)]
