"""Calibration errors against plain numpy in float64, from the definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.inference import probability_bins as binned
from resseg.inference.calibration import Calibration
from resseg.inference.probability_counts import boundary_band, boundary_bands, count

# Half of a bin and what it averages to; and that sorted pixels share no cell.
TOLERANCE = {"mce": 1.4e-4, "ece": 1e-5, "ace": 2e-3}
CLASSES, SIZES = 4, [(40, 48), (33, 20)]


@pytest.fixture(scope="module")
def counted():
    """Two images of a batch: their counts, and the pixels that count, by area.

    The first is sharper than it is right; the last class is never true.
    """
    rng = np.random.default_rng(0)
    label = np.full((2, 40, 48), 255, np.int32)
    for image, (height, width) in enumerate(SIZES):
        coarse = rng.integers(0, CLASSES - 1, (height // 8 + 1, width // 8 + 1))
        blocks = np.kron(coarse, np.ones((8, 8), int))[:height, :width]
        label[image, :height, :width] = np.where(
            rng.random((height, width)) < 0.1, 255, blocks
        )
    logits = rng.normal(size=(*label.shape, CLASSES)) * [[[[6]]], [[[2]]]]
    logits += 4 * (label[..., None] == np.arange(CLASSES))
    batch = {"label": label, "size": np.array(SIZES)}
    batch["band"] = boundary_bands(batch, 0.02)
    softmax = jax.nn.softmax(jnp.asarray(logits, jnp.float32))
    masks = softmax.argmax(-1).astype(jnp.uint8)
    given = (softmax, masks, label, batch["band"])
    calibration = Calibration(CLASSES)
    calibration.add_batch(batch, jax.device_get(jax.jit(count)(*given)))
    valid = label < 255
    probabilities = np.asarray(softmax, np.float64)[valid]
    return calibration, probabilities, label[valid], batch["band"][valid]


def by_width(sure, right, bins=15):
    """Weight and gap of each bin that has a pixel."""
    place = np.minimum((sure * bins).astype(int), bins - 1)
    for each in range(bins):
        inside = place == each
        if inside.any():
            yield inside.mean(), abs(right[inside].mean() - sure[inside].mean())


def by_mass(sure, right, bins=15):
    order = np.argsort(sure, kind="stable")
    for part in np.array_split(order, bins):
        yield part.size / sure.size, abs(right[part].mean() - sure[part].mean())


def expected(sure, right):
    weights, gaps = map(np.array, zip(*by_width(sure, right), strict=True))
    masses, others = map(np.array, zip(*by_mass(sure, right), strict=True))
    return {"ece": weights @ gaps, "mce": gaps.max(), "ace": masses @ others}


def test_scores_are_those_of_their_definitions(counted):
    calibration, probabilities, label, band = counted
    scores = calibration.scores()
    one_hot = label[:, None] == np.arange(CLASSES)
    squares = ((probabilities - one_hot) ** 2).sum(1)
    nll = -np.log(probabilities[np.arange(label.size), label])
    for area, of in (("", band | True), ("boundary_", band), ("interior_", ~band)):
        top = probabilities[of].max(1), probabilities[of].argmax(1) == label[of]
        for name, value in expected(*top).items():
            tolerance = TOLERANCE[name]
            assert scores[area + name] == pytest.approx(value, abs=tolerance), name
        assert scores[f"{area}nll"] == pytest.approx(nll[of].mean(), rel=1e-6)
        assert scores[f"{area}brier"] == pytest.approx(squares[of].mean(), rel=1e-6)
    assert scores["ece"] > 0.05 and scores["boundary_ece"] != scores["interior_ece"]
    for each in range(CLASSES):
        values = expected(probabilities[:, each], label == each)
        for name, value in values.items():
            tolerance = TOLERANCE[name]
            assert scores[f"class_{name}"][each] == pytest.approx(value, abs=tolerance)
        part = ((probabilities[:, each] - one_hot[:, each]) ** 2).mean()
        assert scores["class_brier"][each] == pytest.approx(part, abs=2e-5)
    assert scores["class_brier"].sum() == pytest.approx(scores["brier"], abs=2e-5)
    assert scores["class_nll"][0] == pytest.approx(nll[label == 0].mean(), rel=1e-6)
    assert np.isnan(scores["class_nll"][-1])


def test_what_a_reliability_diagram_shows_is_each_pixel_once(counted):
    calibration, probabilities, label, band = counted
    tables = calibration.reliability()
    assert tables["top"].shape == (3, 15, 3)
    assert tables["classes"].shape == (CLASSES, 3, 15, 3)
    for place, of in enumerate((band | True, band, ~band)):
        right = (probabilities.argmax(1) == label)[of].sum()
        sums = of.sum(), probabilities[of].max(1).sum(), right
        np.testing.assert_allclose(tables["top"][place].sum(0), sums, rtol=1e-5)
        sums = of.sum(), probabilities[of, 1].sum(), (label[of] == 1).sum()
        np.testing.assert_allclose(tables["classes"][1, place].sum(0), sums, rtol=1e-5)


def test_sums_of_images_are_those_of_all(counted):
    calibration, _, label, band = counted
    sums = calibration.sums()
    assert [len(value) for value in sums.values()] == [2] * 4
    pixels = [[np.sum(label[band == b] == c) for b in (0, 1)] for c in range(CLASSES)]
    np.testing.assert_array_equal(sums["pixels"].sum(0), pixels)
    assert (sums["top"].sum((1, 2))[:, 0] == sums["pixels"].sum((1, 2))).all()


def test_every_probability_is_in_its_bin_and_close_to_the_middle():
    rng = np.random.default_rng(0)
    near = 10 ** rng.uniform(-9, 0, 20_000)
    values = np.concatenate([rng.random(20_000), near, 1 - near, [0, 1, 0.5]])
    values = values.astype(np.float32)
    bins = np.asarray(binned.fine_bin(jnp.asarray(values)))
    low, high = binned.EDGES[bins], binned.EDGES[bins + 1]
    assert ((low - 1e-6 <= values) & (values <= high + 1e-6)).all()
    assert np.abs(binned.MIDDLES[bins] - values).max() <= 1 / 7680 + 1e-6
    tiny = values < 1e-5
    ratio = (
        binned.MIDDLES[bins[tiny & (values > 1e-8)]] / values[tiny & (values > 1e-8)]
    )
    assert ratio.min() > 0.85 and ratio.max() < 1.2
    assert (np.diff(binned.EDGES) > 0).all() and len(binned.EDGES) == binned.FINE + 1


@pytest.mark.parametrize("bins", [7, 0, 121])
def test_bins_that_cells_cannot_make_are_refused(bins):
    with pytest.raises(ValueError, match=f"^{bins} bins .* divisor of 120"):
        binned.equal_width(np.zeros((binned.CELLS, 3)), bins)


def test_equal_mass_shares_a_cell_that_a_border_falls_into():
    cells = np.zeros((binned.CELLS, 3))
    cells[100] = 30, 20, 10  # all pixels of one probability
    shared = binned.equal_mass(cells, 15)
    np.testing.assert_allclose(shared, [[2, 20 / 15, 10 / 15]] * 15)


def test_the_band_is_where_another_label_is_within_reach():
    label = np.zeros((50, 100), np.int32)
    label[:, 60:] = 1
    label[:, 99] = 255
    band = boundary_band(label, 0.02)  # 2 pixels of a diagonal of 112
    columns = np.flatnonzero(band.any(0))
    assert columns.tolist() == [58, 59, 60, 61, 97, 98, 99]
    assert (band.all(0) == band.any(0)).all()
    np.testing.assert_array_equal(boundary_band(label.T, 0.02), band.T)


def test_what_fills_a_batch_up_has_no_band():
    label = np.zeros((2, 8, 8), np.uint8)
    label[0, :, 4:] = 1
    label[1] = 255
    bands = boundary_bands({"label": label, "size": np.array([[8, 8], [0, 0]])}, 0.02)
    np.testing.assert_array_equal(bands[0].any(0), [0, 0, 0, 1, 1, 0, 0, 0])
    assert not bands[1].any()


def test_what_fills_a_batch_up_is_no_image():
    calibration = Calibration(2)
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet([1, 1], (3, 8, 8)).astype(np.float32)
    batch = {
        "label": draw.integers(0, 2, (3, 8, 8)),
        "size": np.array([[8, 8], [6, 7], [0, 0]]),
    }
    batch["label"][2] = 255
    batch["band"] = boundary_bands(batch, 0.02)
    masks = probabilities.argmax(-1)
    counted = jax.jit(count)(probabilities, masks, batch["label"], batch["band"])
    calibration.add_batch(batch, jax.device_get(counted))
    assert len(calibration.images) == 2
