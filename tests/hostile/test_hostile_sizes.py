"""Files of a run that say they are larger than they are: bounded before memory is."""

import io
import json
import os
import shutil
import struct
import zipfile

import hypothesis.strategies as st
import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorstore
from hypothesis import given, settings

from resseg.errors import UserError
from resseg.interop.files import read_weights
from resseg.runs import checkpoints, layout, parquet_pages, tables, unpacking
from resseg.runs.gradients_table import BLOCK_COLUMNS
from resseg.runs.parts import read_parts

WEIGHTS = {"params": {"w": np.arange(300, dtype=np.float32)}}
TRAINING = {"moment": np.zeros(300, np.float32)}
HUGE = 10**12


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with checkpoints of steps 2 and 4, without their checksums."""
    folder = tmp_path_factory.mktemp("saved")
    with checkpoints.Checkpoints(folder) as saved:
        for step in (2, 4):
            saved.save(step, WEIGHTS, TRAINING, {"next_batch": step})
    for sums in folder.rglob(layout.CHECKSUMS):
        sums.unlink()
    return folder


@pytest.fixture
def run(tmp_path, saved):
    return shutil.copytree(saved, tmp_path / "run")


def rewrite(run, item, **values):
    """What an item of step 4 stores, and then others of its values."""
    place = {"driver": "file", "path": f"{run}/checkpoints/4/{item}/"}
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": place}).result()
    (key,) = (key for key in store.list().result() if key.endswith(b"/.zarray"))
    said = json.loads(store[key])
    chunk = values.pop("chunk", None)
    store[key] = json.dumps(said | values).encode()
    if chunk is not None:
        store[key.replace(b".zarray", b"0")] = chunk


def packed(size):
    return pa.Codec("zstd").compress(bytes(size), asbytes=True)


CASES = {
    "shape": ({"shape": [HUGE]}, "would unpack to 3,814,697 MiB"),
    "shape and chunks": ({"shape": [HUGE], "chunks": [HUGE]}, "other size than"),
    "chunks": ({"chunks": [HUGE]}, "no description"),
    "type": ({"dtype": [["x", "<f4", [HUGE]]]}, "no description"),
    "type of bytes": ({"dtype": f"|V{HUGE}"}, "no description"),
    "no numbers": ({"shape": ["300"]}, "no description"),
    "nothing": ({"shape": None}, "no description"),
    "packing": ({"compressor": {"id": "bz2"}}, "no description"),
    "bomb": ({"chunk": packed(64 << 20)}, "other size than 1200 bytes"),
    "short": ({"chunk": packed(1199)}, "other size than 1200 bytes"),
    "bare": ({"compressor": None, "chunk": bytes(1201)}, "other size than 1200 bytes"),
}


@pytest.mark.parametrize("case", CASES)
def test_arrays_larger_than_what_is_stored_of_them_are_damage(run, case):
    values, said = CASES[case]
    rewrite(run, "variables", **values)
    with pytest.raises(UserError, match=f"checkpoints/4: damaged checkpoint .*{said}"):
        checkpoints.restore_variables(run, 4)


@pytest.mark.parametrize("item", ["variables", "training"])
def test_a_run_goes_on_without_them(run, item):
    rewrite(run, item, shape=[HUGE])
    with checkpoints.Checkpoints(run) as saved:
        restored = saved.restore(WEIGHTS, TRAINING)
    assert restored.step == 2 and "checkpoints/4: damaged" in restored.lines[0]


def test_arrays_of_zeros_are_believed_where_the_network_has_them(tmp_path, monkeypatch):
    """What an optimizer begins with unpacks to thousands of times its size."""
    monkeypatch.setattr(unpacking, "_SMALL", 0)
    moments = {"moment": np.zeros(1 << 16, np.float32)}
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save(2, WEIGHTS, moments, {"next_batch": 2})
        restored = saved.restore(WEIGHTS, jax.tree.map(jax.numpy.asarray, moments))
    assert restored.step == 2


@pytest.mark.parametrize(
    "content", ["[]", '{"tree_metadata": 3}', '{"use_zarr3": true}', "null"]
)
@pytest.mark.parametrize("item", ["variables", "training"])
def test_an_index_with_other_content_is_damage(run, item, content):
    file = run / "checkpoints" / "4" / item / layout.ITEM_INDEX
    whole = json.loads(file.read_text())
    said = json.loads(content)
    file.write_text(json.dumps(whole | said if isinstance(said, dict) else said))
    with checkpoints.Checkpoints(run) as saved:
        restored = saved.restore(WEIGHTS, TRAINING)
    assert restored.step == 2 and "checkpoints/4" in restored.lines[0]


@pytest.mark.parametrize("content", ["[]", '{"init_timestamp_nsecs": "x"}', "[" * 9999])
def test_a_description_with_other_content_is_one_line(run, content):
    (run / "checkpoints" / "4" / "_CHECKPOINT_METADATA").write_text(content)
    with pytest.raises(UserError, match="_CHECKPOINT_METADATA in it is damaged"):
        checkpoints.Checkpoints(run)


def numpy_file(path, shape):
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", header.getvalue() + bytes(64))


def safetensors_file(path, shape, end=64):
    said = {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}
    header = json.dumps(said).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))


def test_weights_larger_than_their_file_are_refused(tmp_path):
    for shape in (HUGE,), (2**62, 4), (-1,):
        numpy_file(tmp_path / "w.npz", shape)
        with pytest.raises(UserError, match=r"w\.npz: cannot be read"):
            read_weights(tmp_path / "w.npz")
        for end in 64, 4 * HUGE:
            safetensors_file(tmp_path / "w.safetensors", shape, end)
            with pytest.raises(UserError, match=r"w\.safetensors: damaged"):
                read_weights(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(UserError, match=r"w\.safetensors: damaged"):
        read_weights(tmp_path / "w.safetensors")


def log(**columns):
    """Five rows of the log of blocks, with other columns."""
    rows = {"step": range(5), "block": ["b"] * 5}
    rows |= {column.name: [1.0] * 5 for column in BLOCK_COLUMNS[2:]}
    return pa.table({name: list(values) for name, values in rows.items()} | columns)


def belittled(path, column):
    """The footer says that a column unpacks to 100 bytes; its pages say the truth."""
    said = pq.read_metadata(path).row_group(0).column(column).total_uncompressed_size
    content = path.read_bytes()
    (size,) = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - size : -8]
    number = varint(2 * said)
    lied = footer.replace(number, varint(200, len(number)))
    assert lied != footer
    path.write_bytes(content[: -8 - size] + lied + content[-8:])


def varint(number, length=1):
    digits = []
    while number or len(digits) < length:
        digits.append(number & 127)
        number >>= 7
    return bytes([*(digit | 128 for digit in digits[:-1]), digits[-1]])


TABLES = {
    "rows": (log(), "_MOST_CELLS", 29, "5 rows of 6 columns"),
    "columns": (log(more=[1] * 5), "_MOST_CELLS", 30, "5 rows of 7 columns"),
    "list": (log(step=[[1] * 9] * 5), None, 0, r"'step.list.element' with more than"),
    "long": (log(block=["x" * 5000] * 5), None, 0, "'block' with texts of 5,000 bytes"),
    "pages": (log(block=["x" * 4000] * 5), "_MOST_BYTES", 4000, "'block' with 4,... b"),
    "type": (
        log(step=pa.array([b"x" * 9] * 5, pa.binary(9))),
        None,
        0,
        "'step' with m",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_log_larger_than_any_is_refused(tmp_path, monkeypatch, case):
    table, bound, value, said = TABLES[case]
    part = tmp_path / "part-000000000.parquet"
    pq.write_table(table, part, compression="zstd")
    if bound:
        read_parts(tmp_path, BLOCK_COLUMNS)
        monkeypatch.setattr(tables, bound, value)
    if case == "pages":
        belittled(part, 1)
    with pytest.raises(UserError, match=f"000.parquet: would unpack to {said}"):
        read_parts(tmp_path, BLOCK_COLUMNS)
    with pytest.raises(UserError, match="would unpack to"):
        tables.read_table(part)


def test_a_log_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    pq.write_table(log(), tmp_path / "part-000000000.parquet")
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 239}.get(name, 1))
    with pytest.raises(UserError, match="5 rows take 0 GiB, this machine has 0"):
        read_parts(tmp_path, BLOCK_COLUMNS)
    assert len(read_parts(tmp_path, BLOCK_COLUMNS, ["step"])) == 5


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None, database=None, derandomize=True)
def test_headers_of_pages_are_read_or_damaged(content):
    try:
        found = list(parquet_pages.pages(io.BytesIO(content), 0, len(content)))
    except pa.ArrowInvalid:
        return
    assert all(page.packed >= 0 and page.unpacked >= 0 for page in found)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["zstd", "none", "snappy"])
def test_pages_are_as_large_as_the_footer_of_an_honest_file_says(
    tmp_path, version, compression
):
    """All pages are found: their headers and contents fill what there is."""
    path = tmp_path / "a.parquet"
    rows = pa.table({"a": np.arange(5000) % 7, "b": [f"name {i}" for i in range(5000)]})
    pq.write_table(
        rows,
        path,
        compression=compression,
        data_page_version=version,
        data_page_size=999,
    )
    for number in range(2):
        column = pq.read_metadata(path).row_group(0).column(number)
        with path.open("rb") as file:
            found = list(tables._pages(file, column))
        headers = column.total_compressed_size - sum(page.packed for page in found)
        unpacked = sum(page.unpacked for page in found)
        assert len(found) > 2
        assert unpacked + headers == column.total_uncompressed_size
