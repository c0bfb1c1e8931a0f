"""The profile of a tiny network against autodiff, and its parts by pixel."""

import jax
import numpy as np
import pandas as pd
import pytest

from resseg.gradients.analysis.cotangents import with_offsets, zero_offsets
from resseg.probes import profile
from resseg.probes.probe import Options


@pytest.fixture(scope="module")
def table(smallest):
    return pd.DataFrame(profile.measure(smallest, Options(batches=1)))


@pytest.fixture(scope="module")
def cotangents(smallest):
    """Of the first batch, by fork and path, as autodiff gives them."""
    (batch,) = smallest.batches(1)

    @jax.jit
    def gradient(offsets):
        def loss(offsets):
            return with_offsets(
                smallest.total_loss, offsets, smallest.variables, batch, train=True
            )

        return jax.grad(loss)(offsets)

    found = jax.device_get(gradient(zero_offsets(smallest.forks)))
    return {
        fork.name: dict(zip(fork.paths, found[fork.name], strict=True))
        for fork in smallest.forks
    }


def test_norms_shares_and_cosines_are_those_of_autodiff(
    table, cotangents, shown, smallest
):
    shown(profile.PROBE, table.to_dict("list"))
    assert not {"pixels", "part"} & set(profile.in_short(table).columns)
    assert len(table) == sum(len(fork.paths) for fork in smallest.forks)
    for row in table.to_dict("records"):
        paths = cotangents[row["fork"]]
        squares = {
            name: float((g.astype(float) ** 2).sum()) for name, g in paths.items()
        }
        np.testing.assert_allclose(row["l2"] ** 2, squares[row["path"]], rtol=1e-4)
        share = squares[row["path"]] / sum(squares.values())
        np.testing.assert_allclose(row["share"], share, rtol=1e-4)
        total = sum(paths.values())
        np.testing.assert_allclose(row["total_l2"], np.linalg.norm(total), rtol=1e-4)
        if len(paths) == 2:
            a, b = (g.astype(float) for g in paths.values())
            cosine = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
            np.testing.assert_allclose(row["cosine"], cosine, rtol=1e-3, atol=1e-6)


def test_ratios_compare_with_the_deepest_and_the_next_block(table):
    blocks = table[table["kind"] == "block"].drop_duplicates("fork")
    norms = blocks["total_l2"].to_numpy()
    np.testing.assert_allclose(blocks["ratio"], norms / norms[-1])
    np.testing.assert_allclose(blocks["preservation"][:-1], norms[:-1] / norms[1:])
    assert np.isnan(blocks["preservation"].iloc[-1])
    assert table[table["kind"] != "block"]["ratio"].isna().all()


@pytest.mark.parametrize("by", ["class", "boundary"])
def test_parts_by_pixel_add_up_to_the_whole(smallest, by, shown):
    """O20: the loss of the quickstart holds Dice, which is no sum over pixels."""
    rows = profile.measure(smallest, Options(batches=2, by=by))
    table = shown(profile.PROBE, rows)
    assert {"pixels", "part"} <= set(profile.in_short(table).columns)
    names = smallest.spec.classes if by == "class" else ("boundary", "interior")
    assert list(table["pixels"].unique()) == ["all", *names]
    parts = table[table["pixels"] != "all"].drop_duplicates(["pixels", "fork"])
    sums = parts.groupby("fork")["part"].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-3)
    whole = table[table["pixels"] == "all"]
    np.testing.assert_allclose(whole["part"], 1, rtol=1e-4)
    assert parts["part"].std() > 0.01


def test_the_part_of_a_class_is_the_gradient_of_its_pixels(smallest):
    """For a sum over pixels: cross-entropy with every other label void, times the
    share of the pixels that stay.
    """
    import dataclasses

    from resseg.training.losses import make_loss

    classes = smallest.spec.num_classes
    plain = make_loss({"cross_entropy": 1.0}, num_classes=classes)
    subject = dataclasses.replace(smallest, loss=plain)
    (batch,) = subject.batches(1)
    label = np.asarray(batch["label"])
    chosen = int(np.bincount(label[label < classes]).argmax())
    share = (label == chosen).sum() / (label != profile.VOID).sum()

    def restricted(scores, labels):
        kept = jax.numpy.where(labels == chosen, labels, profile.VOID)
        value, terms = plain(scores, kept)
        return share * value, terms

    expected = pd.DataFrame(
        profile.measure(
            dataclasses.replace(smallest, loss=restricted), Options(batches=1)
        )
    )
    found = pd.DataFrame(profile.measure(subject, Options(batches=1, by="class")))
    part = found[found["pixels"] == smallest.spec.classes[chosen]]
    np.testing.assert_allclose(part["l2"], expected["l2"], rtol=1e-3)


def test_a_band_lies_on_both_sides_of_a_boundary_and_not_along_void():
    label = np.zeros((1, 8, 12), int)
    label[:, :, 6:] = 1
    band = profile.near_boundary(label, fraction=1 / np.hypot(8, 12))
    np.testing.assert_array_equal(np.flatnonzero(band[0, 3]), [5, 6])
    wide = profile.near_boundary(label, fraction=2 / np.hypot(8, 12))
    np.testing.assert_array_equal(np.flatnonzero(wide[0, 3]), [4, 5, 6, 7])
    label[:, :, 6:] = profile.VOID
    assert not profile.near_boundary(label, 0.1).any()


def test_a_factor_on_the_loss_scales_norms_and_nothing_else(smallest, table):
    """O33."""
    import dataclasses

    def scaled(scores, labels):
        value, terms = smallest.loss(scores, labels)
        return 8.0 * value, terms

    subject = dataclasses.replace(smallest, loss=scaled)
    other = pd.DataFrame(profile.measure(subject, Options(batches=1)))
    for name in ("l2", "rms", "site", "total_l2"):
        np.testing.assert_allclose(other[name], 8 * table[name], rtol=1e-5)
    for name in ("share", "cosine", "ratio", "preservation", "part"):
        np.testing.assert_allclose(other[name], table[name], rtol=1e-5, atol=1e-7)
