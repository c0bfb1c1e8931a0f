"""`resseg data` on folders as people have them: what was meant, or a line."""

import io
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import trees
from hypothesis import given
from ml_collections import ConfigDict
from PIL import Image
from verdict import assert_one_line, call, cases, contents

from resseg.data import sources


def prepare(root, data, name, *options):
    return call("data", "prepare", name, "--folder", root, "--dir", data, *options)


def stored(data, name, split):
    """Image and mask by name, as Pillow decodes what was stored."""
    source = sources.open_split(ConfigDict({"name": name, "dir": str(data)}), split)
    result = {}
    for index in range(len(source)):
        label, *files = source.stored(index)
        image, mask = (Image.open(io.BytesIO(file)) for file in files)
        result[label.decode()] = np.array(image.convert("RGB")), np.array(mask)
    return result


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A prepared data set, `cells`, that nothing may harm."""
    root = tmp_path_factory.mktemp("good")
    colors, labels = np.zeros((4, 5, 3), np.uint8), np.eye(4, 5, dtype=np.uint8)
    pair = trees.Pair(trees._png(colors), trees._png(labels), colors, labels)
    trees.write(root / "tree", {"train": {"a": pair}, "val": {"b": pair}}, ())
    status, *_ = prepare(root / "tree", root / "data", "cells", "--classes", "x,y,z")
    assert status == 0
    return root / "data"


@cases()
@given(trees.trees())
def test_a_tree_is_stored_as_it_was_meant_or_refused(good, tree):
    kind, splits, litter = tree
    before = contents(good)
    with tempfile.TemporaryDirectory() as folder:
        root, data = Path(folder, "tree"), Path(folder, "data")
        trees.write(root, splits, litter)
        written = contents(root)
        classes = ",".join(trees.CLASSES)
        checked, *_ = call("data", "check", "--folder", root, "--classes", classes)
        status, out, err = prepare(root, data, "cells", "--classes", classes)
        assert contents(root) == written
        meant = all(p.labels is not None for s in splits.values() for p in s.values())
        assert (status == 0) == meant, (kind, out, err)
        assert checked == status, kind
        if status:
            assert_one_line(err)
            assert not data.exists() or not any(p.is_file() for p in data.rglob("*"))
        else:
            for split, pairs in splits.items():
                assert_pairs(stored(data, "cells", split), pairs)
        # The same command into a folder with a data set of that name.
        again, _, err = prepare(root, good, "cells", "--classes", classes)
        assert again == 2 and contents(good) == before
        assert_one_line(err)
        if status:
            options = ("--classes", classes, "--overwrite")
            assert prepare(root, good, "cells", *options)[0] == 2
            assert contents(good) == before


def assert_pairs(found, pairs):
    assert len(found) == len(pairs)
    for name, pair in pairs.items():
        image, mask = found[name]
        np.testing.assert_array_equal(mask, pair.labels)
        if pair.colors is not None:
            np.testing.assert_array_equal(image, pair.colors)


WORDS = st.one_of(
    st.sampled_from(trees.STEMS),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=12),
    st.sampled_from(("", " ", "\t", "\0", "a\nb", "\x1b[31m", "\u202e", "a" * 3000)),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252")


@cases()
@given(st.lists(WORDS, min_size=1, max_size=5), st.sampled_from(ENCODINGS))
def test_class_lists_are_read_or_refused(good, words, encoding):
    content = "\n".join(words).encode(encoding, "replace")
    with tempfile.TemporaryDirectory() as folder:
        root, data, names = (Path(folder, name) for name in ("tree", "data", "names"))
        names.write_bytes(content)
        labels = np.zeros((3, 4), np.uint8)
        pair = trees.Pair(trees._png(labels), trees._png(labels), labels, labels)
        trees.write(root, {"train": {"a": pair}, "val": {"b": pair}}, ())
        status, _, err = prepare(root, data, "odd", "--classes", names)
        if status:
            assert_one_line(err)
            return
        spec = sources.dataset_spec(ConfigDict({"name": "odd", "dir": str(data)}))
        # Read again by the codec itself; without a mark only UTF-8 is accepted.
        marked = encoding in ("utf-8-sig", "utf-16", "utf-32")
        text = content.decode(encoding if marked else "utf-8")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        while lines and not lines[-1].strip():
            lines.pop()
        assert list(spec.classes) == [line.strip() for line in lines]
        for command in (("data", "list"), ("data", "check", "odd")):
            status, out, err = call(*command, "--dir", data)
            assert status == 0, err
        for name in spec.classes:
            assert name in out.replace("\n", " ") or len(name) > 20


CELLS = st.sampled_from(
    ("train", "val", "test", "a", "b", "c", "", " a", "b ", '"a"', "split", "\ufeff")
)


@cases(0.5)
@given(
    st.sampled_from(("split,name", "split, name", "name,split", "split;name", "")),
    st.one_of(
        st.lists(st.tuples(CELLS, CELLS), max_size=5),
        st.permutations("abc").map(
            lambda n: list(zip(("train", "val", "val"), n, strict=True))
        ),
    ),
    st.sampled_from(ENCODINGS),
)
def test_split_files_say_where_each_pair_goes_or_are_refused(
    good, header, rows, encoding
):
    lines = [header, *(",".join(row) for row in rows)]
    with tempfile.TemporaryDirectory() as folder:
        root, table = Path(folder), Path(folder, "split.csv")
        table.write_bytes("\n".join(lines).encode(encoding, "replace"))
        for kind in ("images", "masks"):
            (root / kind).mkdir()
            for name in "abc":
                content, suffix = trees._png(np.full((3, 4), ord(name) % 2, np.uint8))
                (root / kind / f"{name}{suffix}").write_bytes(content)
        data = shutil.copytree(good, root / "data")
        status, out, err = call(
            *("data", "prepare", "cells", "--dir", data, "--classes", "x,y"),
            *("--images", root / "images", "--masks", root / "masks"),
            *("--split-file", table, "--overwrite"),
        )
        if status:
            assert_one_line(err)
            assert contents(data) == contents(good)
            return
        columns = [name.strip() for name in header.split(",")]
        cells = [dict(zip(columns, map(_cell, row), strict=True)) for row in rows]
        cells = [cell for cell in cells if any(cell.values())]
        named = [cell["name"] for cell in cells]
        assert len(set(named)) == len(named) and set(named) <= set("abc")
        for name in set("abc") - set(named):
            assert f"images/{name}.png: not in" in out
        spec = sources.dataset_spec(ConfigDict({"name": "cells", "dir": str(data)}))
        assert spec.splits == Counter(cell["split"] for cell in cells)


def _cell(text):
    return text.strip().strip('"')
