"""Each term of the loss against numpy, in float64, pixel by pixel."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg import sharding
from resseg.training.losses import TERMS, Settings, make_loss
from resseg.training.losses.distances import distance_to

CLASSES, VOID = 4, 255
SHAPE = (4, 8, 6)
WEIGHTS = np.array([0.5, 1.0, 3.0, 7.0])
ADDED = [name for name in TERMS if name not in ("cross_entropy", "dice", "focal")]
# Of the batch as a whole; the others are means over pixels or images.
OF_A_BATCH = {"dice", "jaccard", "tversky", "lovasz", "ohem"}
STEPPED = {"rmi_stride": 2, "ohem_threshold": 0.3, "tversky_gamma": 4 / 3}


def make_batch():
    """Regions of classes 0 to 2, and 3 nowhere; void here and there, and an image."""
    draw = np.random.default_rng(5)
    labels = draw.integers(0, 3, (4, 4, 3)).repeat(2, axis=1).repeat(2, axis=2)
    labels[2] = np.where(labels[2] == 1, 0, labels[2])
    labels[0, 7] = labels[1, 0, 2] = labels[1, 5, :3] = VOID
    labels[3] = VOID
    labels[3, :, 2:] = 1  # one class alone
    logits = 2 * draw.normal(size=(*SHAPE, CLASSES))
    return logits, labels.astype(np.int32)


LOGITS, LABELS = make_batch()
VALID = LABELS != VOID
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
TRUTH = np.eye(CLASSES)[np.where(VALID, LABELS, 0)] * VALID[..., None]


def loss_of(name, options=(), weighted=False):
    return make_loss(
        {name: 1.0},
        num_classes=CLASSES,
        class_weights=WEIGHTS if weighted else None,
        settings=Settings(**dict(options)),
    )


@functools.cache
def compiled(*what):
    return jax.jit(loss_of(*what))


def value(name, batch=(LOGITS, LABELS), weighted=False, **options):
    with jax.enable_x64(True):
        return float(compiled(name, tuple(options.items()), weighted)(*batch)[0])


def by_weight(values, present, weighted):
    weights = present * (WEIGHTS if weighted else np.ones(CLASSES))
    return (values * weights).sum() / weights.sum()


def true_p():
    return (P * TRUTH).sum(-1)[VALID]


def pixel_weights():
    return WEIGHTS[LABELS[VALID]]


def test_pixels_whose_class_is_improbable_are_kept():
    p, w = true_p(), pixel_weights()
    hard = p < 0.3
    expected = (-w * np.log(p))[hard].sum() / hard.sum()
    found = value("ohem", weighted=True, ohem_threshold=0.3, ohem_min_kept=0.1)
    assert hard.mean() > 0.1 and found == pytest.approx(expected, rel=1e-9)


def test_the_hardest_of_a_batch_are_kept_where_few_are_hard():
    p = np.sort(true_p())
    kept = round(0.25 * p.size)
    expected = -np.log(p[:kept]).mean()
    found = value("ohem", ohem_threshold=0.0, ohem_min_kept=0.25)
    assert found == pytest.approx(expected, rel=1e-9)
    alike = value("ohem", (0 * LOGITS, LABELS), ohem_threshold=0.0, ohem_min_kept=0.25)
    assert alike == pytest.approx(np.log(CLASSES))


def test_top_k_keeps_a_share_of_every_image():
    total = 0.0
    for image in range(SHAPE[0]):
        valid = VALID[image]
        weights = WEIGHTS[LABELS[image][valid]]
        losses = -weights * np.log((P * TRUTH)[image].sum(-1)[valid])
        largest = np.sort(losses)[::-1][: round(0.3 * valid.sum())]
        total += largest.mean() * valid.sum()
    found = value("top_k", weighted=True, top_k_share=0.3)
    assert found == pytest.approx(total / VALID.sum(), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_jaccard_and_tversky_are_quotients_of_sums(weighted):
    p, y = P[VALID], TRUTH[VALID]
    present = y.any(0)
    both, extra, missed = (p * y).sum(0), (p * (1 - y)).sum(0), ((1 - p) * y).sum(0)
    options = {"weighted": True, "region_class_weights": weighted}
    found = value("jaccard", **options)
    jaccard = 1 - both / (both + extra + missed)
    assert found == pytest.approx(by_weight(jaccard, present, weighted), rel=1e-9)
    index = both / (both + 0.2 * extra + 0.9 * missed)
    numbers = {"tversky_alpha": 0.2, "tversky_beta": 0.9}
    for gamma in (1.0, 4 / 3):
        found = value("tversky", **options, **numbers, tversky_gamma=gamma)
        expected = by_weight((1 - index) ** (1 / gamma), present, weighted)
        assert found == pytest.approx(expected, rel=1e-9)


def test_class_weights_weigh_the_classes_of_dice_where_they_shall():
    p, y = P[VALID], TRUTH[VALID]
    index = 2 * (p * y).sum(0) / (p + y).sum(0)
    found = value("dice", weighted=True, region_class_weights=True)
    assert found == pytest.approx(by_weight(1 - index, y.any(0), True), rel=1e-9)
    evenly = by_weight(1 - index, y.any(0), False)
    assert value("dice", weighted=True) == pytest.approx(evenly, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_lovasz_is_the_extension_of_the_jaccard_loss_of_sets(weighted):
    """Berman 2018, eq. 8, from the sets of wrong pixels themselves."""
    p, y = P[VALID], TRUTH[VALID].astype(bool)
    values = np.zeros(CLASSES)

    def jaccard_loss(truth, wrong):
        found = truth ^ wrong
        return 1 - (truth & found).sum() / (truth | found).sum()

    for one in range(3):
        errors = np.where(y[:, one], 1 - p[:, one], p[:, one])
        wrong, before = np.zeros(len(errors), bool), 0.0
        for pixel in np.argsort(-errors):
            wrong[pixel] = True
            now = jaccard_loss(y[:, one], wrong)
            values[one] += errors[pixel] * (now - before)
            before = now
    found = value("lovasz", weighted=True, region_class_weights=weighted)
    assert found == pytest.approx(by_weight(values, y.any(0), weighted), rel=1e-9)


def test_lovasz_of_certain_predictions_is_the_jaccard_loss():
    guess = np.random.default_rng(1).integers(0, 3, SHAPE)
    certain = 1e4 * np.eye(CLASSES)[guess]
    truth = TRUTH[..., :3].astype(bool)
    found = np.eye(3, dtype=bool)[guess] & VALID[..., None]
    both, either = (of.sum((0, 1, 2)) for of in (found & truth, found | truth))
    expected = 1 - np.mean(np.divide(both, either))
    assert value("lovasz", (certain, LABELS)) == pytest.approx(expected, rel=1e-6)


def other_side(inside, valid):
    """Distances to the nearest valid pixel of the other side, by all pairs."""
    found = np.zeros(inside.shape)
    inside, outside = inside & valid, valid & ~inside
    if not inside.any() or not outside.any():
        return found
    for at in itertools.product(*map(range, inside.shape)):
        there = np.argwhere(outside if inside[at] else inside)
        found[at] = np.sqrt(((there - at) ** 2).sum(-1).min())
    return found


def distances(inside):
    """`[batch, height, width, classes]`."""
    each = np.stack(
        [
            [other_side(inside[b, ..., c], VALID[b]) for c in range(CLASSES)]
            for b in range(SHAPE[0])
        ]
    )
    return np.moveaxis(each, 1, -1)


def test_distances_are_those_of_all_pairs():
    draw = np.random.default_rng(2)
    for share in (0.02, 0.1, 0.5):
        mask = draw.uniform(size=(1, 11, 17, 3)) < share
        mask[0, 5, 3] = True
        found = np.asarray(distance_to(jnp.asarray(mask)))
        for c in range(3):
            there = np.argwhere(mask[0, ..., c])
            at = np.indices((11, 17)).transpose(1, 2, 0)[:, :, None]
            expected = np.sqrt(((there - at) ** 2).sum(-1).min(-1))
            np.testing.assert_allclose(found[0, ..., c], expected, rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_boundary_and_hausdorff_loss_weigh_by_distance(weighted):
    inside = TRUTH.astype(bool)
    to_truth, to_guess = distances(inside), distances(P > 0.5)
    assert to_truth[3].max() == 0 < to_truth[0].max()
    signed = np.where(inside, np.where(to_truth > 0, 1 - to_truth, 0), to_truth)
    shares = WEIGHTS / WEIGHTS.sum() if weighted else np.full(CLASSES, 1 / CLASSES)
    options = {"weighted": True, "region_class_weights": weighted}
    expected = ((signed * P) @ shares)[VALID].mean()
    assert value("boundary", **options) == pytest.approx(expected, rel=1e-6)
    weights = to_truth**1.5 + to_guess**1.5
    expected = (((P - TRUTH) ** 2 * weights) @ shares)[VALID].mean()
    found = value("hausdorff", **options, hausdorff_power=1.5)
    assert found == pytest.approx(expected, rel=1e-6)


def mutual_information(stride):
    """Zhao 2019, eq. 12 to 14, region by region."""
    total, side = 0.0, 3 * stride
    for image in range(SHAPE[0]):
        corners = itertools.product(
            range(0, SHAPE[1] // stride * stride - side + 1, stride),
            range(0, SHAPE[2] // stride * stride - side + 1, stride),
        )
        regions = [np.s_[image, y : y + side, x : x + side] for y, x in corners]
        regions = [at for at in regions if VALID[at].all()]
        values = []
        for c in range(CLASSES):
            y, p = (
                np.array([_cells(of[at][..., c], stride) for at in regions])
                for of in (TRUTH, P)
            )
            if not y.any():
                continue
            y, p = y - y.mean(0), p - p.mean(0)
            yy, yp, pp = (a.T @ b / len(y) for a, b in ((y, y), (y, p), (p, p)))
            left = yy - yp @ np.linalg.inv(pp + 5e-4 * np.eye(9)) @ yp.T
            values.append(np.linalg.slogdet(left + 5e-4 * np.eye(9))[1] / 2 / 9)
        total += np.mean(values) * VALID[image].sum() if values else 0
    return total / VALID.sum()


def _cells(region, stride):
    side = region.shape[0] // stride
    return region.reshape(side, stride, side, stride).mean((1, 3)).reshape(-1)


@pytest.mark.parametrize("stride", [1, 2])
def test_region_mutual_information_is_a_determinant(stride):
    found = value("rmi", rmi_stride=stride)
    assert found == pytest.approx(mutual_information(stride), rel=1e-4)


def test_the_target_is_soft_where_classes_meet():
    """Islam & Glocker 2021: half of it to the pixel, half to the eight around it."""
    total = 0.0
    for b, y, x in np.argwhere(VALID):
        target = np.zeros(CLASSES)
        for i, j in itertools.product((-1, 0, 1), repeat=2):
            weight = np.exp(-(i * i + j * j) / 2)
            if (i, j) == (0, 0):
                weight = 4 * np.exp(-0.5) + 4 * np.exp(-1)
            inside = 0 <= y + i < SHAPE[1] and 0 <= x + j < SHAPE[2]
            if not inside or not VALID[b, y + i, x + j]:
                i = j = 0
            target += weight * np.eye(CLASSES)[LABELS[b, y + i, x + j]]
        total -= target / target.sum() @ np.log(P[b, y, x])
    found = value("cross_entropy", boundary_smoothing=0.5)
    assert found == pytest.approx(total / VALID.sum(), rel=1e-9)
    flat = LOGITS, np.full_like(LABELS, 2)
    assert value("cross_entropy", flat, boundary_smoothing=0.5) == pytest.approx(
        value("cross_entropy", flat), rel=1e-12
    )


@functools.cache
def each_term(names):
    """`(logits, labels) -> [terms]`, all of them in one program."""
    loss = make_loss(
        dict.fromkeys(names, 1.0),
        num_classes=CLASSES,
        class_weights=WEIGHTS,
        settings=Settings(boundary_smoothing=0.3, **STEPPED),
    )
    return lambda *batch: jnp.stack([loss(*batch)[1][name] for name in names])


@pytest.mark.slow
def test_gradients_agree_with_finite_differences():
    direction = np.random.default_rng(3).normal(size=LOGITS.shape)
    terms = each_term(tuple(ADDED))
    with jax.enable_x64(True):
        function = jax.jit(lambda x: (terms(x, LABELS), jax.jacrev(terms)(x, LABELS)))
        _, gradients = jax.device_get(function(LOGITS))
        ahead = np.asarray(function(LOGITS + 1e-6 * direction)[0])
        behind = np.asarray(function(LOGITS - 1e-6 * direction)[0])
    slopes = (gradients * direction).sum((1, 2, 3, 4))
    assert np.abs(slopes).min() > 0
    np.testing.assert_allclose((ahead - behind) / 2e-6, slopes, rtol=1e-5)
    np.testing.assert_array_equal(gradients[:, ~VALID], 0)


def test_parts_of_a_batch_add_up_but_for_terms_of_a_batch():
    function = jax.jit(each_term(tuple(TERMS)))
    whole, added = function(LOGITS, LABELS), 0.0
    for part in (np.s_[::2], np.s_[1::2]):
        share = VALID[part].sum() / VALID.sum()
        added += share * np.asarray(function(LOGITS[part], LABELS[part]))
    exact = np.isclose(added, whole, rtol=1e-5, atol=0)
    assert {n for n, same in zip(TERMS, exact, strict=True) if not same} == OF_A_BATCH


def test_programs_of_all_terms_can_be_kept_on_disk():
    """They call nothing that a process which did not trace them has not set up."""
    terms = each_term(tuple(TERMS))
    both = jax.jit(lambda x: jax.value_and_grad(lambda x: terms(x, LABELS).sum())(x))
    assert "custom_call" not in both.lower(LOGITS.astype(np.float32)).as_text()


@pytest.mark.slow
def test_several_devices_compute_what_one_does():
    """All terms at once, images and their rows shared out; also with void images."""
    batch = LOGITS.astype(np.float32), LABELS
    loss = make_loss(
        dict.fromkeys(TERMS, 1.0),
        num_classes=CLASSES,
        class_weights=WEIGHTS,
        settings=Settings(boundary_smoothing=0.3, **STEPPED),
    )
    function = jax.value_and_grad(loss, has_aux=True)
    results = []
    for mesh in ((1, 1), (4, 1), (2, 2), (1, 4)):
        mesh = sharding.make_mesh(*mesh)
        split, whole = sharding.by_batch(mesh), sharding.replicated(mesh)
        step = jax.jit(function, in_shardings=split, out_shardings=whole)
        results.append(jax.device_get(step(*sharding.put(batch, split))))
    for (_, parts), gradient in results[1:]:
        for name, one in results[0][0][1].items():
            np.testing.assert_allclose(parts[name], one, rtol=2e-5, err_msg=name)
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-4, atol=1e-5)
