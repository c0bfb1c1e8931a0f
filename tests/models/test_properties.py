"""Random valid configs, at tiny sizes: each is a network that computes and learns."""

import functools
import re

import hypothesis
import jax
import jax.numpy as jnp
import pytest
import tiny
from flax import traverse_util
from random_configs import SETTINGS, overrides, valid

from resseg.architecture import spell_out
from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.network import build_segmenter
from resseg.gradients.fork import statistics_by_fork

CLASSES = 3
BATCH = 3  # of two values in a channel, batch normalisation keeps the sign alone

# What a head may leave alone in a first step: biases in front of batch norms; a kernel
# of one channel, or the few of a gate, whose ReLU may be dead; one position alone has
# nothing to attend to.
RESTING = {
    "pan": r"/conv/bias$|^head/pyramid/(down|conv)\d",
    "linknet": r"/(up|conv)/bias$",
    "upernet": r"^head/norm_stage\d+/bias$",
    "manet": r"^head/attention/(top|centre)/|/gate_(deeper|skip)/",
}


def may_rest(name, model, names):
    """Whether a parameter may have no gradient in the first step.

    A branch that starts as the zero map passes nothing down to its own other layers,
    nor to a factor on it. What makes it zero does learn: the last norm of the branch,
    or, where no norm follows, its last kernel.
    """
    if re.search(RESTING.get(model.head.name, "$^"), name):
        return True
    if model.branch.init == "he":
        return False
    if name.endswith("branch_factor/factor"):
        return True
    block, _, part = name.partition("/branch/")
    plan = spell_out(model)
    kind = plan.block if block.startswith("backbone/") else "basic"
    last = model.shortcut.span or 2
    if kind in ("bottleneck", "inverted", "mbconv"):
        last = 2 if kind != "bottleneck" and model.backbone.expansion == 1 else 3
    if kind == "ghost":  # of three where it strides
        last = 3 if f"{block}/branch" in names else 2
    of = {"depthwise": "pointwise/", "ghost": "primary/"}.get(kind, "")
    learns = {f"conv{last}/{of}kernel"}
    if plan.order in ("post", "linear", "relu_only_pre") and model.norm != "none":
        learns = {f"norm{last}/{model.norm}/{leaf}" for leaf in ("scale", "bias")}
    return part != "" and part not in learns


def check(drawn):
    config = valid(drawn)
    model, size = build_segmenter(config.model, CLASSES), config.data.crop
    images = jax.random.normal(jax.random.key(1), (BATCH, *size, 3))
    target = jax.random.normal(jax.random.key(2), (BATCH, *size, CLASSES))

    # Compiling takes the time here, not computing.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(key, variables):
        held = {name: value for name, value in variables.items() if name != "taps"}
        evaluated = model.apply(held, images)

        def loss(params, taps):
            outputs, new = model.apply(
                variables | {"params": params, "taps": taps},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            errors = [((scores - target) ** 2).mean() for scores in outputs.values()]
            return sum(errors), new

        taps = variables["taps"]
        (value, new), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(
            variables["params"], taps
        )
        return evaluated, value, new, gradients

    evaluated, value, new, (gradient, taps) = run(
        jax.random.key(0), tiny.drawn(model, images)
    )
    wanted = {"logits", "aux"} if config.model.aux.weight else {"logits"}
    assert set(evaluated) == wanted
    for scores in evaluated.values():
        assert scores.shape == target.shape and scores.dtype == jnp.float32
    for leaf in jax.tree.leaves((evaluated, value, new, gradient, taps)):
        assert jnp.isfinite(leaf).all()
    for fork, measured in statistics_by_fork(taps).items():
        assert not measured.nonfinite.any() and not measured.total_nonfinite, fork

    flat = traverse_util.flatten_dict(gradient, sep="/")
    parts = {name.rpartition("/conv3")[0] for name in flat}  # branches of three
    dead = {name for name, leaf in flat.items() if not jnp.abs(leaf).max() > 0}
    assert not {name for name in dead if not may_rest(name, config.model, parts)}

    odd = jax.eval_shape(
        lambda key, x: model.apply(model.init(key, x), x)["logits"],
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, 45, 59, 3), jnp.float32),
    )
    assert odd.shape == (1, 45, 59, CLASSES)

    described = Blueprint.of(config, CLASSES, config.data.crop).description
    assert described.params == sum(leaf.size for leaf in flat.values())
    assert described.forks == len(statistics_by_fork(taps))


@hypothesis.settings(SETTINGS, max_examples=2)
@hypothesis.given(overrides())
def test_a_few_random_networks_compute_and_learn(drawn):
    check(drawn)


@pytest.mark.slow
@hypothesis.settings(SETTINGS, max_examples=60)
@hypothesis.given(overrides())
def test_many_random_networks_compute_and_learn(drawn):
    check(drawn)
