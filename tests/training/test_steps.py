"""The train step: what taps, devices and repetition may not change."""

import contextlib
import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
from tiny import two_stages

from resseg import sharding
from resseg.blueprint.drawing import Drawing
from resseg.blueprint.trace import trace
from resseg.errors import UserError
from resseg.gradients.fork import Fork, fork_name, scale_cotangent
from resseg.inference.evaluator import make_eval_step
from resseg.training import losses, optim
from resseg.training.steps import init_state, make_train_step

CLASSES, SHAPE = 3, (8, 32, 32, 3)


@pytest.fixture
def batch():
    """Images, and labels of which half of the first image is void."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, SHAPE[:3]).astype(np.int32)
    label[0, :16] = 255
    return {"image": rng.normal(size=SHAPE).astype(np.float32), "label": label}


small_model = functools.partial(two_stages, (1, 1), CLASSES)


@functools.cache
def prepare(model, *, taps=True, devices=1, ema=0.0):
    """What draws a state, the jitted step, and what puts a batch on the mesh."""
    schedule = optim.make_schedule("constant", 0.05, 10, 0, 0.9, 0.0)
    optimizer = optim.make_optimizer(
        "sgd",
        schedule,
        momentum=0.9,
        b1=0.9,
        b2=0.999,
        weight_decay=1e-4,
        backbone_factor=1.0,
        clip_norm=None,
    )
    loss = losses.make_loss({"cross_entropy": 1.0}, num_classes=CLASSES)
    traced = trace(model, SHAPE)
    step = make_train_step(
        model,
        lambda _: (optimizer, schedule),
        loss,
        traced.zero_taps() if taps else {},
        num_classes=CLASSES,
        averages=ema > 0,
    )
    mesh = sharding.make_mesh(devices)
    whole, split = sharding.replicated(mesh), sharding.by_batch(mesh)

    def init(key):
        variables = traced.drawing()(key) | {"paths": traced.paths()}
        state = init_state(variables, optimizer, ema=ema > 0)
        return state.replace(numbers={"aux_weight": 0.4, "ema": ema})

    jitted = jax.jit(
        step,
        in_shardings=(whole, split, whole),
        out_shardings=whole,
        donate_argnums=0,
    )
    put = functools.partial(sharding.put_batch, sharding=split)
    return functools.partial(begin, init, whole), jitted, put


def begin(init, sharding, key):
    """`init(key)` on the mesh, drawn on the host: to compile it takes as long."""
    return jax.device_put(Drawing.of(init, key)(key), sharding)


def run(model, batch, steps=3, **arguments):
    """State after `steps`, the log of each, and the jitted step."""
    init, step, put = prepare(model, **arguments)
    state, logs = init(jax.random.key(0)), []
    for _ in range(steps):
        state, log = step(state, put(batch), jax.random.key(7))
        logs.append(jax.device_get(log))
    return jax.device_get(state), logs, step


def assert_same_bits(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.parametrize("head", ["unet", "deeplabv3plus"])
def test_measuring_changes_no_bit_of_the_parameters(batch, head):
    model = small_model(head, **{"aux.weight": 0.4})
    measured, logs, _ = run(model, batch, steps=10)
    plain, plain_logs, _ = run(model, batch, steps=10, taps=False)
    assert_same_bits(measured.params, plain.params)
    assert_same_bits(measured.batch_stats, plain.batch_stats)
    assert plain_logs[0]["forks"] == {}
    names = {fork.name for fork in trace(model, SHAPE).forks}
    assert set(logs[0]["forks"]) == names
    for statistics in logs[0]["forks"].values():
        assert (statistics.squares > 0).all() and statistics.total_square > 0
        assert not statistics.nonfinite.any() and not statistics.total_nonfinite


def test_without_taps_the_program_is_that_of_a_network_that_cannot_measure(batch):
    """Letter for letter, before any optimisation."""
    model = small_model("deeplabv3plus", **{"aux.weight": 0.4})
    replaced = set()

    def never_measured(call, args, kwargs, context):
        fork = context.module
        if not isinstance(fork, Fork) or context.method_name != "__call__":
            return call(*args, **kwargs)
        replaced.add(fork_name(fork.path))
        x, also = args[0], (args[1] if len(args) > 1 else None) or {}
        factors = [fork.get_variable("paths", path) for path in fork.paths]
        return tuple(
            scale_cotangent(x, factor * also[path] if path in also else factor)
            for path, factor in zip(fork.paths, factors, strict=True)
        )

    init, _, _ = prepare(model)
    state = init(jax.random.key(0))

    def program(*, taps, within=None):
        prepare.cache_clear()  # or a step traced before would be taken again
        _, step, put = prepare(model, taps=taps)
        # The step alone: what is traced for its shapes has no paths yet.
        with within or contextlib.nullcontext():
            return step.lower(state, put(batch), jax.random.key(7)).as_text()

    off, on = program(taps=False), program(taps=True)
    never = nn.intercept_methods(never_measured)
    assert program(taps=False, within=never) == off
    assert replaced == {fork.name for fork in trace(model, SHAPE).forks}
    assert on != off and len(on) > len(off)


def test_four_devices_compute_what_one_does(batch):
    """Batch norm over the global batch, one global quotient as loss, global norms."""
    model = small_model()
    # One step: batch norm amplifies rounding from step to step.
    one, one_logs, _ = run(model, batch, steps=1)
    four, four_logs, _ = run(model, batch, steps=1, devices=4)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, one.params, four.params)
    jax.tree.map(close, one.batch_stats, four.batch_stats)
    for name in ("loss", "loss_pixels"):
        np.testing.assert_allclose(
            one_logs[0]["scalars"][name], four_logs[0]["scalars"][name], rtol=1e-5
        )
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-12),
        one_logs[0]["forks"],
        four_logs[0]["forks"],
    )
    np.testing.assert_array_equal(one_logs[0]["confusion"], four_logs[0]["confusion"])


def test_the_step_compiles_once_and_learns(batch):
    _, logs, step = run(small_model(), batch, steps=8)
    assert step._cache_size() == 1
    values = [log["scalars"]["loss"] for log in logs]
    assert values[-1] < 0.8 * values[0]


def test_the_log_counts_valid_pixels_and_whole_batches(batch):
    _, logs, _ = run(small_model(), batch, steps=1)
    valid = int((batch["label"] != 255).sum())
    assert logs[0]["scalars"]["loss_pixels"] == valid
    assert logs[0]["confusion"].sum() == valid


def test_what_stands_under_void_changes_nothing(batch):
    """Neither weights nor logs see the pixels that are not labelled."""
    model = small_model(**{"backbone.stage_sizes": (1, 1)})
    blank = {"image": batch["image"].copy(), "label": np.full(SHAPE[:3], 255, np.int32)}
    state, logs, _ = run(model, blank, steps=1)
    init, _, _ = prepare(model)
    before = jax.device_get(init(jax.random.key(0)).params)
    # Only weight decay moved the kernels: lr 0.05 x decay 1e-4 of their size.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state.params, before
    )
    assert logs[0]["scalars"]["loss"] == 0
    assert logs[0]["scalars"]["grad_norm"] == 0
    assert logs[0]["confusion"].sum() == 0


def test_block_sums_are_norms_of_the_update_that_was_applied(batch):
    model = small_model()
    init, _, _ = prepare(model)
    before = jax.device_get(init(jax.random.key(0)).params)
    state, logs, _ = run(model, batch, steps=1)
    after, block = state.params, "stage2"
    difference = jax.tree.map(
        lambda a, b: ((a - b) ** 2).sum(),
        after["backbone"][block]["block1"],
        before["backbone"][block]["block1"],
    )
    logged = logs[0]["blocks"]["updates"][f"backbone/{block}/block1"]
    np.testing.assert_allclose(logged, sum(jax.tree.leaves(difference)), rtol=1e-3)


def test_averaged_weights_are_evaluated_and_trail(batch):
    state, _, _ = run(small_model(), batch, ema=0.9)
    assert_same_bits(state.variables()["params"], state.ema)
    gap = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.ema, state.params)
    assert max(jax.tree.leaves(gap)) > 0


def test_evaluation_leaves_the_state_alone_and_counts_exactly(batch):
    model = small_model()
    init, _, put = prepare(model)
    state = init(jax.random.key(0))
    predictions, confusion = jax.jit(make_eval_step(model, CLASSES))(
        state.variables(), put(batch)
    )
    expected = np.zeros((CLASSES, CLASSES), np.int64)
    valid = batch["label"] != 255
    np.add.at(expected, (batch["label"][valid], np.asarray(predictions)[valid]), 1)
    np.testing.assert_array_equal(confusion, expected)


def test_the_mirrored_mean_is_that_of_both_and_mirrors_with_the_image(batch):
    model = small_model()
    init, _, _ = prepare(model)
    variables = init(jax.random.key(0)).variables()
    step = jax.jit(make_eval_step(model, CLASSES, flip=True))
    mirror = {name: value[:, :, ::-1] for name, value in batch.items()}
    predictions, confusion = step(variables, batch)
    mirrored, same = step(variables, mirror)
    # The two sums add in another order: a tie in the last bit may fall either way.
    assert (np.asarray(mirrored)[:, :, ::-1] == predictions).mean() > 0.999
    assert np.abs(np.asarray(confusion) - same).sum() <= 0.002 * confusion.sum()
    both = [model.apply(variables, b["image"])["logits"] for b in (batch, mirror)]
    mean = jax.nn.softmax(both[0]) + jax.nn.softmax(both[1])[:, :, ::-1]
    assert (np.asarray(predictions) == mean.argmax(-1)).mean() > 0.999


@pytest.mark.parametrize("flip", [False, True])
def test_confidence_is_the_probability_of_the_prediction(batch, flip):
    model = small_model()
    init, _, _ = prepare(model)
    variables = init(jax.random.key(0)).variables()
    step = jax.jit(make_eval_step(model, CLASSES, flip, confidence=True))
    predictions, _, confidence = step(variables, batch)
    images = batch["image"]
    mean = jax.nn.softmax(model.apply(variables, images)["logits"])
    if flip:
        mirrored = model.apply(variables, images[:, :, ::-1])["logits"]
        mean = (mean + jax.nn.softmax(mirrored)[:, :, ::-1]) / 2
    assert confidence.dtype == np.uint8 and confidence.shape == predictions.shape
    np.testing.assert_allclose(confidence, 255 * np.asarray(mean).max(-1), atol=0.51)
    assert confidence.min() >= 255 // CLASSES


@pytest.mark.parametrize(
    ("data", "space", "message"),
    [
        (64, 1, "config.mesh.data=64: expected at most 4, the number of cpu devices "),
        (2, 4, "config.mesh.data=2 times config.mesh.space=4: expected at most 4, "),
        (0, 3, "config.mesh.space=3: expected a divisor of 4, the number of cpu "),
        (3, -1, "config.mesh.data=3: expected a divisor of 4, the number of cpu "),
    ],
)
def test_more_devices_than_there_are_is_refused(data, space, message):
    with pytest.raises(UserError, match=f"^{message}"):
        sharding.make_mesh(data, space)


@pytest.mark.parametrize(
    ("data", "space", "shape"),
    [
        (0, 1, (4, 1)),
        (-1, 2, (2, 2)),
        (0, 4, (1, 4)),
        (1, -1, (1, 4)),
        (2, -1, (2, 2)),
        (2, 1, (2, 1)),
    ],
)
def test_an_axis_of_the_mesh_takes_what_the_other_leaves(data, space, shape):
    mesh = sharding.make_mesh(data, space)
    assert mesh.devices.shape == shape
    assert sharding.describe(mesh)["mesh"] == {"data": shape[0], "space": shape[1]}
    shared = f", {shape[1]} to an image" if shape[1] > 1 else ""
    assert sharding.words(mesh) == f"{mesh.size} x cpu{shared}"


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_state_comes_back_from_what_a_checkpoint_holds(batch, ema):
    """Averaged weights are what is evaluated; the others are trained on."""
    state, _, _ = run(small_model(), batch, steps=2, ema=ema)
    init, _, _ = prepare(small_model(), ema=ema)
    other = init(jax.random.key(1))
    assert set(state.training()) == {"step", "opt_state"} | (
        {"params"} if ema else set()
    )
    evaluated = state.ema if ema else state.params
    assert_same_bits(state.variables()["params"], evaluated)
    restored = other.restored(state.variables(), state.training())
    assert_same_bits(restored, state)
