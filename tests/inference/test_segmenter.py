"""`resseg.segment` is `resseg predict` without files, to the bit."""

import functools
import re

import cv2
import jax
import numpy as np
import pytest
from runs_without_training import CLASSES, write

import resseg
from resseg import sharding
from resseg.cli.main import main
from resseg.data import sources
from resseg.errors import UserError
from resseg.inference import segmenter
from resseg.inference.averaging import Averaging
from resseg.inference.ensemble import Ensemble
from resseg.inference.members import load_averaged, load_members
from resseg.runs import open_run

SIZES = [(14, 21), (16, 24), (13, 22), (15, 23)]


@pytest.fixture(autouse=True, scope="module")
def every_program_is_cached():
    """The programs of the command and of Python are the same."""
    key = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, key)
    jax.config.update(key, 0)
    yield
    jax.config.update(key, before)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two checkpoints; a network that drops some of what its head sees."""
    keys = {"model.head.dropout": 0.3, "model.head.name": "fcn"}
    return write(tmp_path_factory.mktemp("runs") / "a", (0, 1), bits=12, **keys)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    keys = {"model.head.dropout": 0.3, "model.head.name": "fcn"}
    return write(tmp_path_factory.mktemp("runs") / "b", (2,), bits=12, **keys)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of one padded size: RGB, RGB, grey, and 12 of 16 bits."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    arrays[2] = arrays[2][..., 0]
    arrays[3] = rng.integers(0, 4096, (*SIZES[3], 3)).astype(np.uint16)
    for name, array in zip("abcd", arrays, strict=True):
        stored = array if array.ndim == 2 else array[..., ::-1]
        assert cv2.imwrite(str(folder / f"{name}.png"), stored)
    return folder, arrays


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data set that the runs name, of one image."""
    folder = tmp_path_factory.mktemp("data")
    record = {
        "image": np.zeros((4, 4, 3), np.uint8),
        "mask": np.zeros((4, 4), np.uint8),
    }
    splits = {split: lambda: [record | {"name": "a"}] for split in ("train", "val")}
    sources.write_dataset(str(folder), "none", CLASSES, splits)
    return folder


def predicted(out):
    return [
        (
            cv2.imread(str(out / f"{name}.png"), cv2.IMREAD_UNCHANGED),
            np.load(out / f"{name}_probabilities.npy"),
        )
        for name in "abcd"
    ]


def same(found, files):
    for (mask, values), (mask_there, values_there) in zip(found, files, strict=True):
        np.testing.assert_array_equal(mask, mask_there)
        np.testing.assert_array_equal(values.astype(np.float16), values_there)
        assert values.dtype == np.float32 and mask.dtype == np.uint8


OPTIONS = [
    (["--scales", "0.5,1", "--flip"], {"scales": (0.5, 1.0), "flip": True}),
    (["--samples", "2", "--seed", "3"], {"samples": 2, "seed": 3}),
    (["--tile", "16", "--blend", "gaussian"], {"tile": 16, "blend": "gaussian"}),
]
OPTIONS = [([], {}), *(pytest.param(*each, marks=pytest.mark.slow) for each in OPTIONS)]


@pytest.mark.parametrize(("given", "options"), OPTIONS)
def test_it_is_what_predict_writes(run, photos, tmp_path, given, options):
    folder, arrays = photos
    call = ["predict", str(run), str(folder), "--out", str(tmp_path), *given]
    assert main([*call, "--probabilities"]) == 0
    files = predicted(tmp_path)
    assert len(np.unique(np.concatenate([mask.ravel() for mask, _ in files]))) > 1
    segment = resseg.Segmenter.from_run(run, **options)
    assert segment.classes == CLASSES
    same(segment.batch(arrays), files)
    paths = [folder / f"{name}.png" for name in "abcd"]
    same([resseg.segment(run, path, **options) for path in paths[2:]], files[2:])


def test_networks_stay_loaded_until_there_is_another_checkpoint(run, photos):
    _, arrays = photos
    segmenter._loaded.cache_clear()
    for _ in range(3):
        resseg.segment(str(run), arrays[0])
    assert segmenter._loaded.cache_info().hits == 2
    before = segmenter._state(run)
    (run / "calibration.json").write_text("{}")
    try:
        assert segmenter._state(run) != before
    finally:
        (run / "calibration.json").unlink()


def test_the_mean_of_two_runs_is_that_of_their_probabilities(run, other, photos):
    image = photos[1][0]
    both = resseg.segment([run, other], image)
    each = [resseg.segment(path, image).probabilities for path in (run, other)]
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(both.probabilities, mean, atol=1e-6)
    np.testing.assert_array_equal(both.mask, both.probabilities.argmax(-1))
    assert np.abs(each[0] - each[1]).max() > 0.01
    members = load_members([open_run(path) for path in (run, other)])
    views = Ensemble(members, Averaging(), sharding.make_mesh())._views
    assert views[0] is views[1]  # one structure compiles once


def test_scales_are_the_mean_over_resized_images(run, photos):
    image = photos[1][1]  # 16 x 24, of which half is a multiple of the stride
    (trained,) = load_members([open_run(run)])
    data = trained.config.data
    whole = (image / np.float32(255) - np.float32(data.mean)) / np.float32(data.std)
    found, apply = [], jax.jit(functools.partial(trained.model.apply, train=False))
    for size in ((16, 24), (8, 12)):
        resized = jax.image.resize(whole[None], (1, *size, 3), "bilinear")
        logits = apply(trained.variables, resized)["logits"]
        shape = (1, 16, 24, len(CLASSES))
        found.append(jax.nn.softmax(jax.image.resize(logits, shape, "bilinear")))
    values = resseg.segment(run, image, scales=(1, 0.5)).probabilities
    np.testing.assert_allclose(values, np.mean(found, axis=0)[0], atol=1e-5)


def test_checkpoints_are_averaged_weight_by_weight(run):
    steps = [load_members([open_run(run)], step)[0] for step in (1, 2)]
    mean = load_averaged(open_run(run), None, 2)
    for name in ("params", "batch_stats"):
        for got, one, two in zip(
            *(jax.tree.leaves(each.variables[name]) for each in (mean, *steps)),
            strict=True,
        ):
            assert got.dtype == one.dtype
            np.testing.assert_allclose(got, (one + two) / 2, atol=1e-7)
    assert mean.weights.endswith("batch-norm statistics of steps 1, 2")


def test_samples_are_drawn_by_their_seed(run, photos):
    image = photos[1][0]

    def sampled(**options):
        return resseg.segment(run, image, **options).probabilities

    one, many = sampled(samples=1, seed=1), sampled(samples=2, seed=1)
    assert np.abs(one - many).max() > 1e-3  # the second is another one
    segmenter._loaded.cache_clear()
    np.testing.assert_array_equal(one, sampled(samples=1, seed=1))
    assert np.abs(one - sampled(samples=1, seed=2)).max() > 1e-3


def test_samples_of_what_drops_nothing_are_refused(tmp_path):
    run = write(tmp_path / "dry", **{"model.aux.weight": 0.4, "model.head.name": "fcn"})
    with pytest.raises(UserError, match="--samples: nothing is drawn in this network"):
        resseg.Segmenter.from_run(run, samples=2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4)), "image 0: an array of float64; expected uint8"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\); expected \[height"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.full((4, 4), 4096, np.uint16), "image 0: holds 4096, and 12 bits end at"),
        ("nowhere.png", "nowhere.png: cannot be read"),
    ],
)
def test_an_image_of_another_kind_is_named(run, image, message):
    with pytest.raises(UserError, match=message):
        resseg.segment(run, image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tile", "0"], "--tile 0: expected 1 or more"),
        (["--tile", "18"], "--tile 18: expected a multiple of 4, .* such as 16"),
        (["--tile", "16", "--overlap", "1"], "--overlap 1: expected 0 up to"),
        (["--tile", "8", "--overlap", "0.9"], "--overlap 0.9: .* at most 0.5"),
        (["--tile", "8", "--blend", "han"], "--blend='han': choose from hann, gau"),
        (["--overlap", "0.5"], "--overlap: expected --tile N beside it"),
        (["--seed", "1"], "--seed: expected --samples N beside it"),
        (["--samples", "0"], "--samples 0: expected 1 or more"),
        (["--scales", "0,1"], "--scales 0,1: expected numbers above 0"),
        (["--scales", "nan"], "--scales nan: expected numbers above 0"),
        (["--scales", "1;2"], "--scales 1;2: expected numbers with commas"),
        (["--average-checkpoints", "0"], "--average-checkpoints 0: expected 1 or more"),
        (["--average-checkpoints", "3"], r"has 2 up to there \(1, 2\)"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_what_cannot_be_meant_is_one_line(
    run, data, photos, tmp_path, capsys, command, options, message
):
    out = tmp_path / "out"
    call = ["predict", str(run), str(photos[0]), "--out", str(out)]
    if command == "evaluate":
        call = ["evaluate", str(run), "--data-dir", str(data)]
    assert main([*call, *options]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert re.search(message, line), line


def test_runs_of_other_classes_are_not_averaged(run, tmp_path):
    swapped = write(tmp_path / "c", classes=CLASSES[::-1])
    fewer = write(tmp_path / "d", classes=CLASSES[:2])
    other_mean = write(tmp_path / "e", **{"data.mean": (0, 0, 0)})
    for path, message in (
        (swapped, "class 0 is 'wire', not 'background'"),
        (fewer, "2 classes, not 3"),
        (other_mean, "config.data.mean and std"),
        (run, "given twice"),
    ):
        with pytest.raises(UserError, match=message):
            resseg.Segmenter.from_run(run, path)


def test_the_fields_have_the_ranges_of_the_options():
    with pytest.raises(UserError, match="--seed -1: expected 0 or above"):
        Averaging(samples=1, seed=-1)
    with pytest.raises(UserError, match="--scales : expected"):
        Averaging(scales=())
