"""Batches: the same bits however they are read, and every image exactly once."""

import json

import grain
import numpy as np
import pytest
from ml_collections import ConfigDict
from plain_transform import PlainTransform

from resseg.config import base
from resseg.data import VOID, pipeline, planning, sources
from resseg.data.normalization import normalize
from resseg.errors import UserError

# Windows of whole pixels inside and beyond the image, resized, turned, shrunk.
PLAIN = (
    {"scale": (1.0, 1.0), "rotate": 0.0, "color": 0.0},
    {"crop": (30, 28)},
    {"color": 0.3},
    {"crop": (16, 20), "scale": (0.3, 2.0)},
    {"rotate": 45.0, "color": 0.0},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("data"))
    sizes = [(20, 30), (33, 30), (20, 25), (64, 64), (17, 31), (33, 40), (20, 30)]
    splits = {
        "train": lambda: (_record(index, 24, 32) for index in range(10)),
        "val": lambda: (_record(50 + i, *size) for i, size in enumerate(sizes)),
        "many": lambda: (_record(80 + i, 8 + i, 40 - i) for i in range(30)),
    }
    sources.write_dataset(folder, "mixed", ("a", "b", "rare"), splits)
    return folder


@pytest.fixture
def data(folder) -> ConfigDict:
    data = base.get_config().data
    data.name, data.dir = "mixed", folder
    data.batch_size, data.eval_batch_size, data.crop = 4, 3, (16, 16)
    data.rotate, data.rare_crop = 10.0, 0.5
    return data


def _record(index: int, height: int, width: int) -> dict:
    rng = np.random.default_rng(index)
    mask = rng.integers(0, 2, (height, width), dtype=np.uint8)
    mask[3, 4] = 2
    mask[:, 0] = VOID
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return {"image": image, "mask": mask, "name": f"n{index}"}


def take(data, count: int, *, seed: int = 3, state: dict | None = None, **options):
    loader = pipeline.TrainLoader(data, seed, **options)
    if state is not None:
        loader.restore(state)
    batches = [next(loader) for _ in range(count)]
    loader.close()
    return batches


def equal(left: list[dict], right: list[dict]) -> bool:
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
        for a, b in zip(left, right, strict=True)
    )


def test_a_batch_is_arrays_of_the_crop(data):
    (batch,) = take(data, 1)
    assert batch["image"].shape == (4, 16, 16, 3)
    assert batch["image"].dtype == np.float32
    assert batch["label"].shape == (4, 16, 16)
    assert batch["label"].dtype == np.int32
    assert set(np.unique(batch["label"])) <= {0, 1, 2, VOID}


def test_batches_are_the_same_for_any_number_of_threads(data):
    data.threads = 0
    expected = take(data, 8)
    for data.threads in (1, 5):
        assert equal(take(data, 8), expected)


def test_batches_are_the_same_for_two_workers_and_after_a_restore(data):
    expected = take(data, 8)
    data.workers = 2
    loader = pipeline.TrainLoader(data, 3)
    assert equal([next(loader) for _ in range(5)], expected[:5])
    state = json.loads(json.dumps(loader.state()))
    loader.close()
    # The position holds for another number of workers as well.
    data.workers = 0
    assert equal(take(data, 3, state=state), expected[5:])


@pytest.mark.parametrize("start", [0, 2, 3])
def test_batches_that_are_left_out_change_no_other(data, start):
    expected = take(data, 8)
    loader = pipeline.TrainLoader(data, 3)
    loader.restore({"next_batch": start})
    loader.leave_out([2, 3, 6])
    numbers = [number for number in range(start, 8) if number not in (2, 3, 6)]
    for number in numbers:
        assert equal([next(loader)], [expected[number]]) and loader.number == number
    assert loader.state() == {"next_batch": 8}
    loader.close()


def test_batches_are_the_same_for_four_workers(data):
    """Also where crops are mixed with others of the split."""
    plain = take(data, 9)
    data.update({"mosaic": 0.3, "cutmix": 0.3, "classmix": 0.3})
    data.update({"elastic": 1.0, "noise": 0.1})
    expected = take(data, 9)
    assert not equal(plain, expected)
    data.workers = 4
    assert equal(take(data, 9), expected)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_batches_are_the_same_whatever_is_kept_in_memory(data, monkeypatch, share):
    expected = take(data, 9)
    whole = 10 * 24 * 32 * 4
    monkeypatch.setattr(pipeline, "MIB", int(share * whole))
    data.cache = 1
    assert equal(take(data, 9), expected)


class Counting:
    """A split that writes down what it decodes."""

    def __init__(self, source):
        self.source, self.decoded = source, []

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        self.decoded.append(index)
        return self.source[index]


def test_each_image_is_decoded_once_and_workers_share_the_bound(data, monkeypatch):
    data.threads = 0  # two would decode what both need at once
    source = Counting(sources.open_split(data, "train"))
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "open_split", lambda *_: source)
        loader, decoded = pipeline.TrainLoader(data, 3), source.decoded
    for _ in range(10):  # four epochs
        next(loader)
    assert sorted(decoded) == list(range(10))
    loader.close()  # lets go of them
    next(loader)
    assert len(decoded) > 10
    loader.close()
    data.workers, data.cache = 3, 600
    assert pipeline.TrainLoader(data, 3)._kept._bound == 200 * 2**20


def test_batches_are_those_of_the_plain_pipeline(data):
    data.flip, data.vertical_flip = 0.5, 0.5
    for changes in PLAIN:
        data.update(changes)
        source = sources.open_split(data, "train")
        examples = grain.MapDataset.source(source).seed(3).shuffle().repeat()
        plain = examples.random_map(PlainTransform(data, (2,))).batch(4)
        assert equal(take(data, 6), [plain[number] for number in range(6)])


def test_batches_of_one_are_the_examples_of_a_larger_batch(data):
    (four,) = take(data, 1)
    data.batch_size = 1
    ones = take(data, 4)
    for name in ("image", "label"):
        stacked = np.concatenate([batch[name] for batch in ones])
        assert np.array_equal(stacked, four[name])


def test_restoring_goes_back_too(data):
    loader = pipeline.TrainLoader(data, 3)
    first = [next(loader) for _ in range(4)]
    loader.restore({"next_batch": 1})
    assert loader.state() == {"next_batch": 1}
    assert equal([next(loader) for _ in range(3)], first[1:])
    loader.close()


def test_the_seed_reaches_order_and_augmentation(data):
    assert equal(take(data, 2), take(data, 2))
    assert not equal(take(data, 2), take(data, 2, seed=4))
    data.batch_size, data.color = 10, 0.0
    # All ten images are in both batches, so another order is not the only difference.
    left, right = take(data, 2)
    shares = [
        np.sort((batch["label"] == 1).mean(axis=(1, 2))) for batch in (left, right)
    ]
    assert not np.array_equal(*shares)


def test_an_epoch_shows_each_image_once_and_the_next_in_another_order(data):
    data.batch_size, data.crop, data.scale = 5, (24, 32), (1.0, 1.0)
    data.rotate = data.flip = data.color = 0.0
    source = sources.open_split(data, "train")
    masks = [source[index]["mask"].astype(np.int32) for index in range(10)]
    labels = np.concatenate([batch["label"] for batch in take(data, 6)])
    order = [
        next(i for i, mask in enumerate(masks) if np.array_equal(mask, label))
        for label in labels
    ]
    epochs = [order[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_processes_share_each_batch(data):
    whole = take(data, 3)
    parts = [take(data, 3, process_index=i, process_count=2) for i in range(2)]
    for batch, left, right in zip(whole, *parts, strict=True):
        assert len(left["image"]) == len(right["image"]) == 2
        for key, expected in batch.items():
            assert np.array_equal(np.concatenate([left[key], right[key]]), expected)


def test_fewer_images_than_a_batch_is_an_error(data):
    data.batch_size = 11
    with pytest.raises(UserError, match=r"config\.data\.batch_size=11: .* 10 images"):
        pipeline.TrainLoader(data, 0)


def test_a_read_error_names_the_image(data, monkeypatch):
    source = sources.open_split(data, "train")
    records = [dict(source._records[index]) for index in range(10)]
    records[6]["image"] = records[6]["image"][:20]
    source._records = records
    monkeypatch.setattr(pipeline, "open_split", lambda *_: source)
    with pytest.raises(UserError, match="image of 'n6' cannot be decoded"):
        take(data, 3)


def test_rare_crops_aim_at_the_rarest_class_unless_told(data):
    assert pipeline.rare_classes(data) == (2,)
    data.rare_classes = (0, 1)
    assert pipeline.rare_classes(data) == (0, 1)
    data.rare_crop = 0.0
    assert pipeline.rare_classes(data) == ()


def test_class_pixels_count_the_split(data):
    found = pipeline.class_pixels(data, "train")
    masks = np.stack([_record(index, 24, 32)["mask"] for index in range(10)])
    assert found.tolist() == [(masks == label).sum() for label in range(3)]
    assert found.dtype == np.int64


def test_evaluation_reads_each_image_once_at_its_own_size(data):
    seen = {}
    for batch in pipeline.eval_batches(data, "val", 16):
        assert batch["image"].dtype == np.float32
        assert batch["label"].dtype == np.int32
        for place, name in enumerate(batch["name"]):
            assert name not in seen
            height, width = batch["size"][place]
            seen[name] = (
                batch["image"][place, :height, :width],
                batch["label"][place, :height, :width],
            )
            assert (batch["label"][place, height:] == VOID).all()
            assert (batch["label"][place, :, width:] == VOID).all()
            assert (batch["image"][place, height:] == 0).all()
            assert (batch["image"][place, :, width:] == 0).all()
        rest = slice(len(batch["name"]), None)
        assert (batch["label"][rest] == VOID).all()
        assert (batch["size"][rest] == 0).all()
    source = sources.open_split(data, "val")
    assert len(seen) == len(source) == 7
    for index in range(7):
        image, label = seen[source[index]["name"]]
        expected = normalize(source[index]["image"], data.mean, data.std)
        assert np.array_equal(image, expected)
        assert np.array_equal(label, source[index]["mask"])


def test_evaluation_has_one_shape_for_each_padded_size(data):
    shapes = [
        batch["image"].shape[:3] for batch in pipeline.eval_batches(data, "val", 16)
    ]
    # Four images of 32 x 32 in two batches of two; one of 48 x 32, 48 x 48, 64 x 64.
    expected = [(2, 32, 32), (2, 32, 32), (1, 48, 32), (1, 48, 48), (1, 64, 64)]
    assert sorted(shapes) == sorted(expected)
    again = [batch["name"] for batch in pipeline.eval_batches(data, "val", 16)]
    data.threads = 0
    assert again == [batch["name"] for batch in pipeline.eval_batches(data, "val", 16)]


def test_images_are_padded_by_their_own_size_however_many_sizes_there_are(data):
    sizes = {f"n{80 + i}": (8 + i, 40 - i) for i in range(30)}
    for batch in pipeline.eval_batches(data, "many", 1):
        for name in batch["name"]:
            assert batch["image"].shape[1:3] == sizes.pop(name)
    assert not sizes


def test_evaluation_takes_large_images_in_small_batches(data, monkeypatch):
    monkeypatch.setattr(planning, "_EVAL_AREA", 32 * 32)
    data.eval_batch_size = 4
    counts = {
        batch["image"].shape[1:3]: len(batch["image"])
        for batch in pipeline.eval_batches(data, "val", 16)
    }
    assert counts == {(32, 32): 4, (48, 32): 1, (48, 48): 1, (64, 64): 1}


def test_an_evaluation_that_is_left_early_stops_its_threads(data):
    batches = pipeline.eval_batches(data, "many", 8)
    next(batches)
    batches.close()
    assert list(batches) == []
