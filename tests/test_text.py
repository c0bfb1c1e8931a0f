"""Text files in the encodings that people's programs write."""

import codecs
import io
import subprocess
import sys

import pytest

from resseg import text
from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.runs.json_files import read_json

EXPERIMENT = """{line}
from resseg.config import base

NAME = "Größe"


def get_config():
    config = base.get_config()
    config.seed = len(NAME)
    return config
"""


@pytest.mark.parametrize(
    ("line", "encoding", "mark"),
    [
        ("", "utf-8", b""),
        ("", "utf-8", codecs.BOM_UTF8),
        ("# coding: utf-8", "utf-8", codecs.BOM_UTF8),
        ("# -*- coding: latin-1 -*-", "latin-1", b""),
        ("# vim: set fileencoding=cp1252 :", "cp1252", b""),
        ("# coding: utf-16", "utf-16", b""),
    ],
)
def test_config_files_with_marks_and_coding_lines(tmp_path, line, encoding, mark):
    path = tmp_path / "experiment.py"
    path.write_bytes(mark + EXPERIMENT.format(line=line).encode(encoding))
    assert load_config(path).seed == 5
    name = path.with_name("fails.py")
    broken = EXPERIMENT.replace("len(NAME)", "1 / 0")
    name.write_bytes(mark + broken.format(line=line).encode(encoding))
    with pytest.raises(UserError, match=r"line 9: `config.seed = 1 / 0`: ZeroDivision"):
        load_config(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (EXPERIMENT.format(line="").encode("latin-1"), "byte 0xf6 in line 4"),
        (EXPERIMENT.format(line="# coding: ascii").encode(), "not ascii, as its cod"),
        (EXPERIMENT.format(line="").encode("utf-16-be"), "UTF-16 without a byte-order"),
    ],
)
def test_config_files_in_another_encoding_are_one_line(tmp_path, content, message):
    path = tmp_path / "experiment.py"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_stored_config_with_a_mark_is_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(codecs.BOM_UTF8 + b'{"seed": 3}')
    assert load_config(path).seed == 3


def test_files_of_a_run_that_an_editor_saved_are_read(tmp_path):
    path = tmp_path / "network.json"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text('{"name": "é"}', encoding=encoding)
        assert read_json(path) == {"name": "é"}
    path.write_bytes(b'{"name": "\xe9"}')
    with pytest.raises(UserError, match=r"network\.json: not UTF-8 text \(byte 0xe9"):
        read_json(path)


def test_lines_end_alike_and_the_missing_file_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\r\nb\rc\n")
    assert text.read(path) == "a\nb\nc\n"
    with pytest.raises(UserError, match="missing: No such file"):
        text.read(tmp_path / "missing")
    with pytest.raises(UserError, match="Is a directory"):
        text.read(tmp_path)


def test_what_is_no_text_is_escaped_where_it_is_written(tmp_path):
    text.write(tmp_path / "page", "name \udce9 é")
    assert (tmp_path / "page").read_text("utf-8") == "name \\udce9 é"
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    text.never_raise(stream)
    stream.write("±")
    stream.flush()
    assert stream.buffer.getvalue() == b"\\xb1"


def test_a_command_prints_to_a_terminal_of_another_encoding(tmp_path):
    path = tmp_path / "größe.py"
    path.write_text(EXPERIMENT.format(line="").replace("len(NAME)", "NAME"))
    done = subprocess.run(
        [sys.executable, "-m", "resseg", "config", str(path), "--diff", "quickstart"],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
    )
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert b"gr\\xf6\\xdfe.py" in done.stderr
    path.write_text(EXPERIMENT.format(line=""))
    done = subprocess.run(
        [sys.executable, "-m", "resseg", "config", str(path), "--diff", "quickstart"],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
    )
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert b"gr\\xf6\\xdfe.py | quickstart" in done.stdout
