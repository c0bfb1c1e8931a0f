import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resseg.errors import UserError
from resseg.training.losses import TERMS, Settings, make_loss

CLASSES = 4
VOID = 255
ALL = {"cross_entropy": 1.0, "dice": 0.7, "focal": 0.5}
EVERY = dict.fromkeys(set(TERMS) - {"rmi"}, 1.0)  # which wants larger images
ONE_EACH = [{name: 1.0} for name in ALL]
SETTINGS = set(Settings.names())


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


@pytest.fixture
def batch():
    """Class 3 is absent; the first image has 5 void pixels, the second has 1."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 3, 4, CLASSES)).astype(np.float32)
    labels = random.integers(0, 3, (2, 3, 4)).astype(np.int32)
    labels[0, 0, :] = VOID
    labels[0, 2, 1] = VOID
    labels[1, 1, 1] = VOID
    return logits, labels


@functools.cache
def compiled(terms, options):
    options = dict(options)
    class_weights = options.pop("class_weights", None)
    loss = make_loss(
        dict(terms),
        num_classes=CLASSES,
        class_weights=class_weights,
        settings=Settings(**options),
    )
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def value_and_gradient(terms, batch, options):
    function = compiled(tuple(terms.items()), tuple(options.items()))
    return function(*map(jnp.asarray, batch))


def loss_of(terms, batch, **options):
    return value_and_gradient(terms, batch, options)[0]


def gradient_of(terms, batch, **options):
    return np.asarray(value_and_gradient(terms, batch, options)[1])


def test_two_pixels_by_hand():
    # p(true) is 1/2 in the first pixel and 1/4 in the second, of three and one third.
    p = np.array([[[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]]])
    labels = jnp.asarray([[[0, 1]]])
    loss = make_loss({"cross_entropy": 2.0, "dice": 1.0, "focal": 1.0}, num_classes=3)
    total, parts = jax.jit(loss)(jnp.log(p), labels)
    cross_entropy = (np.log(2) + np.log(4)) / 2
    focal = (0.5**2 * np.log(2) + 0.75**2 * np.log(4)) / 2
    dice = 1 - (2 * 0.5 / (1.0 + 1) + 2 * 0.25 / (0.5 + 1)) / 2
    assert parts["cross_entropy"] == pytest.approx(cross_entropy, rel=1e-6)
    assert parts["focal"] == pytest.approx(focal, rel=1e-6)
    assert parts["dice"] == pytest.approx(dice, rel=1e-6)
    assert total == pytest.approx(2 * cross_entropy + dice + focal, rel=1e-6)
    assert parts["loss_pixels"] == 2


def test_cross_entropy_divides_by_valid_pixels(batch):
    logits, labels = batch
    valid = labels != VOID
    log_p = np.log(softmax(logits.astype(np.float64)))[valid]
    expected = -log_p[np.arange(18), labels[valid]].sum() / 18
    total, parts = loss_of({"cross_entropy": 1.0}, batch)
    assert total == pytest.approx(expected, rel=1e-6)
    assert parts["loss_pixels"] == 18
    assert set(parts) == {"cross_entropy", "loss_pixels"}


def test_class_weights_leave_the_denominator(batch):
    logits, labels = batch
    weights = np.array([0.5, 1.0, 3.0, 7.0], np.float32)
    valid = labels != VOID
    log_p = np.log(softmax(logits.astype(np.float64)))[valid]
    true = labels[valid]
    pixel = -weights[true] * log_p[np.arange(18), true]
    total, _ = loss_of({"cross_entropy": 1.0}, batch, class_weights=tuple(weights))
    assert total == pytest.approx(pixel.sum() / 18, rel=1e-6)
    doubled, _ = loss_of({"focal": 1.0}, batch, class_weights=(2.0,) * CLASSES)
    assert doubled == pytest.approx(2 * float(loss_of({"focal": 1.0}, batch)[0]))


def test_label_smoothing_is_cross_entropy_with_a_soft_target(batch):
    logits, labels = batch
    valid = labels != VOID
    target = 0.9 * np.eye(CLASSES)[labels[valid]] + 0.1 / CLASSES
    expected = optax.softmax_cross_entropy(jnp.asarray(logits[valid]), target).mean()
    total, _ = loss_of({"cross_entropy": 1.0}, batch, label_smoothing=0.1)
    assert total == pytest.approx(float(expected), rel=1e-6)
    assert total != pytest.approx(float(loss_of({"cross_entropy": 1.0}, batch)[0]))


def test_dice_pools_the_batch_and_leaves_absent_classes_out(batch):
    logits, labels = batch
    valid = labels != VOID
    p = softmax(logits.astype(np.float64))[valid]
    y = np.eye(CLASSES)[labels[valid]]
    dice = 2 * (p * y).sum(0) / (p.sum(0) + y.sum(0))
    total, _ = loss_of({"dice": 1.0}, batch)
    assert total == pytest.approx(1 - dice[:3].mean(), rel=1e-6)


def test_perfect_prediction_costs_nothing(batch):
    labels = batch[1]
    logits = 60 * np.eye(CLASSES, dtype=np.float32)[np.where(labels == VOID, 0, labels)]
    total, _ = loss_of(ALL, (logits, labels))
    assert total == pytest.approx(0.0, abs=1e-6)


def test_focal_without_focus_is_cross_entropy(batch):
    total, _ = loss_of({"focal": 1.0}, batch, focal_gamma=0.0)
    cross_entropy, _ = loss_of({"cross_entropy": 1.0}, batch)
    assert total == pytest.approx(float(cross_entropy), rel=1e-6)
    np.testing.assert_allclose(
        gradient_of({"focal": 1.0}, batch, focal_gamma=0.0),
        gradient_of({"cross_entropy": 1.0}, batch),
        atol=1e-7,
    )


@pytest.mark.parametrize("terms", [*ONE_EACH, ALL, EVERY])
@pytest.mark.parametrize("poison", [50.0, -np.inf, np.nan])
def test_logits_under_void_change_nothing(batch, terms, poison):
    logits, labels = batch
    poisoned = np.where((labels == VOID)[..., None], poison, logits).astype(np.float32)
    options = {"label_smoothing": 0.1, "class_weights": (1.0, 2.0, 3.0, 4.0)}
    clean = loss_of(terms, batch, **options)[0]
    assert loss_of(terms, (poisoned, labels), **options)[0] == clean
    gradient = np.asarray(gradient_of(terms, (poisoned, labels), **options))
    np.testing.assert_array_equal(gradient, gradient_of(terms, batch, **options))
    np.testing.assert_array_equal(gradient[labels == VOID], 0)
    assert np.abs(gradient[labels != VOID]).max(axis=-1).min() > 0


def test_void_pixels_do_not_dilute(batch):
    logits, labels = batch
    one = (logits[1:, :1], labels[1:, :1])
    padded = (
        np.pad(one[0], ((0, 0), (0, 5), (0, 3), (0, 0))),
        np.pad(one[1], ((0, 0), (0, 5), (0, 3)), constant_values=VOID),
    )
    assert loss_of(ALL, one)[0] == pytest.approx(float(loss_of(ALL, padded)[0]))


@pytest.mark.parametrize("terms", [*ONE_EACH, ALL, EVERY])
def test_batch_of_nothing_but_void(batch, terms):
    empty = (batch[0], np.full_like(batch[1], VOID))
    total, parts = loss_of(terms, empty)
    assert total == 0
    assert parts["loss_pixels"] == 0
    np.testing.assert_array_equal(gradient_of(terms, empty), 0)


@pytest.mark.parametrize("label", [CLASSES, -1, 254])
@pytest.mark.parametrize("terms", [*ONE_EACH, EVERY])
def test_label_that_is_no_class_does_not_train_quietly(batch, terms, label):
    labels = batch[1].copy()
    labels[1, 0, 0] = label
    total, parts = loss_of(terms, (batch[0], labels))
    assert np.isnan(total) and all(np.isnan(parts[name]) for name in terms)
    gradient = np.asarray(gradient_of(terms, (batch[0], labels)))
    assert np.isnan(gradient[(labels >= 0) & (labels < CLASSES)]).all()


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_halves_combine_by_their_denominators(batch, name):
    whole, parts = loss_of({name: 1.0}, batch)
    halves = [
        loss_of({name: 1.0}, (batch[0][i : i + 1], batch[1][i : i + 1])) for i in (0, 1)
    ]
    pixels = np.array([int(half[1]["loss_pixels"]) for half in halves])
    values = np.array([float(half[0]) for half in halves])
    assert pixels.tolist() == [7, 11]
    assert parts["loss_pixels"] == pixels.sum()
    assert whole == pytest.approx((values * pixels).sum() / pixels.sum(), rel=1e-6)
    assert whole != pytest.approx(values.mean(), rel=1e-3)


def test_constant_added_to_all_logits_of_a_pixel_changes_nothing(batch):
    logits, labels = batch
    shift = np.random.default_rng(1).normal(size=(*labels.shape, 1)) * 100
    moved = ((logits + shift).astype(np.float32), labels)
    assert loss_of(ALL, moved)[0] == pytest.approx(
        float(loss_of(ALL, batch)[0]), rel=1e-4
    )
    np.testing.assert_allclose(np.sum(gradient_of(ALL, batch), axis=-1), 0, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gradient_agrees_with_finite_differences(batch, gamma):
    loss = make_loss(
        ALL,
        num_classes=CLASSES,
        class_weights=[0.5, 1.0, 2.0, 4.0],
        settings=Settings(label_smoothing=0.05, focal_gamma=gamma),
    )
    with jax.enable_x64(True):
        function = jax.jit(jax.value_and_grad(loss, has_aux=True))
        logits, labels = batch[0].astype(np.float64), batch[1]
        gradient = np.asarray(function(logits, labels)[1])
        random = np.random.default_rng(2)
        for _ in range(5):
            direction = random.normal(size=logits.shape)
            ahead = function(logits + 1e-5 * direction, labels)[0][0]
            behind = function(logits - 1e-5 * direction, labels)[0][0]
            slope = float(ahead - behind) / 2e-5
            assert slope == pytest.approx((gradient * direction).sum(), rel=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_extreme_logits_stay_finite(gamma):
    logits = np.array([[[[1e4, -1e4, 0, 0], [-1e4, 1e4, 0, 0]]]], np.float32)
    extreme = (logits, np.array([[[0, 0]]], np.int32))
    total, _ = loss_of(ALL, extreme, focal_gamma=gamma, label_smoothing=0.1)
    assert 5e3 < total < 1e5
    gradient = gradient_of(ALL, extreme, focal_gamma=gamma, label_smoothing=0.1)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("terms", ONE_EACH)
def test_a_class_that_cannot_be_is_no_nan(terms):
    logits = np.array([[[[1.0, 2.0, -np.inf, 0.0]]]], np.float32)
    total, _ = loss_of(terms, (logits, np.array([[[1]]], np.int32)))
    p = softmax(logits[..., [0, 1, 3]].astype(np.float64))[0, 0, 0, 1]
    expected = {
        "cross_entropy": -np.log(p),
        "focal": -((1 - p) ** 2) * np.log(p),
        "dice": 1 - 2 * p / (1 + p),
    }
    assert total == pytest.approx(expected[next(iter(terms))], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": {"dise": 1.0}}, r"loss\.terms='dise': choose from .*mean 'dice'"),
        ({"terms": {"dice": 0.0}}, r"loss\.terms: no term has a weight above 0"),
        ({"terms": {"dice": -1.0}}, r"loss\.terms\.dice=-1\.0"),
        ({"class_weights": [1.0, 2.0]}, r"loss\.class_weights: expected 4 numbers"),
        ({"class_weights": [1, 1, 1, np.nan]}, r"loss\.class_weights=.*nan"),
        ({"class_weights": [1, 1, 1, np.inf]}, r"loss\.class_weights=.*inf"),
        ({"class_weights": [1, 1, 1, -2]}, r"loss\.class_weights=.*-2"),
        ({"terms": {"dice": np.inf}}, r"loss\.terms\.dice=inf"),
        ({"label_smoothing": -0.1}, r"loss\.label_smoothing=-0\.1"),
        ({"focal_gamma": np.inf}, r"loss\.focal_gamma=inf"),
        ({"label_smoothing": 1.0}, r"loss\.label_smoothing=1\.0: expected \[0, 1\)"),
        ({"focal_gamma": -1.0}, r"loss\.focal_gamma=-1\.0"),
        ({"boundary_smoothing": 1.0}, r"loss\.boundary_smoothing=1\.0"),
        ({"ohem_threshold": 1.5}, r"loss\.ohem_threshold=1\.5: expected \[0, 1\]"),
        ({"top_k_share": 0.0}, r"loss\.top_k_share=0\.0: expected \(0, 1\]"),
        ({"tversky_gamma": 0.0}, r"loss\.tversky_gamma=0\.0: expected a number > 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        loss_options = {"terms": ALL, "num_classes": CLASSES} | options
        named = {name: loss_options.pop(name) for name in SETTINGS & set(options)}
        make_loss(**loss_options, settings=Settings(**named))


def test_shapes_that_would_broadcast_are_refused(batch):
    with pytest.raises(ValueError, match="do not fit"):
        loss_of(ALL, (batch[0], batch[1][:1]))
