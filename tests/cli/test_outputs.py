"""Files that commands write: what is in the way is said before anything is computed."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from resseg import figures, text
from resseg.cli import outputs
from resseg.cli.main import main, refusal
from resseg.cli.predict import make_output, write_probabilities
from resseg.data import DatasetSpec
from resseg.errors import UserError
from resseg.inference import pictures
from resseg.inference.gallery import Gallery
from resseg.inference.predictor import file_names, write_pictures
from resseg.runs.json_files import JsonLines, write_json
from resseg.runs.tables import write_parquet

IMAGE = np.zeros((8, 12, 3), np.uint8)
CLASSES = np.zeros((8, 12), np.uint8)
TABLE = pa.table({"step": [1]})


@pytest.fixture
def run(tmp_path):
    """What looks like the folder of a run, to what only looks for its files."""
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "gradients").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("gradients", "it is a folder, expected a file"),
        ("nowhere/x.csv", "there is no folder"),
        ("x" * 300, "File name too long"),
        ("metrics.jsonl", "a file of the run in"),
        ("config.json", "a file of the run in"),
        ("gradients/rows.csv", "a file of the run in"),
        ("metrics.jsonl/x", "there is no folder"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(run, file, reason):
    with pytest.raises(UserError) as caught:
        outputs.check_file("--csv", run / file)
    assert reason in str(caught.value) and str(caught.value).startswith("--csv")
    assert (run / "metrics.jsonl").read_text() == "{}\n"


def test_files_of_ones_own_may_lie_in_a_run_folder_and_be_replaced(run):
    (run / "rows.csv").write_text("old")
    assert outputs.check_file("--csv", run / "rows.csv") == run / "rows.csv"
    outputs.check_file("--out", run / "gradients.png")


def test_two_options_name_two_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outputs.check_files({"--csv": "a", "--json": "b", "--out": None})
    with pytest.raises(UserError, match=r"--csv and --json .*a: expected two files"):
        outputs.check_files({"--csv": "a", "--json": tmp_path / "a"})


@pytest.mark.parametrize(
    "argv",
    [
        ["inspect", "RUN", "--csv", "DIR"],
        ["inspect", "RUN", "--json", "DIR"],
        ["data", "show", "shapes", "--out", "DIR"],
        ["report", "RUN", "--out", "DIR"],
        ["table", "RUN", "--out", "DIR"],
        ["table", "RUN", "--csv", "DIR"],
    ],
)
def test_commands_refuse_a_folder_where_a_file_is_to_go(run, capsys, argv):
    places = {"RUN": str(run), "DIR": str(run / "gradients")}
    assert main([places.get(word, word) for word in argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "it is a folder, expected a file" in line


def images_named(folder, *names):
    folder.mkdir()
    for name in names:
        pictures.write_image(folder / name, IMAGE)
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    ("names", "probabilities"),
    [
        (("a.png", "a_color.png"), False),
        (("a.png", "a_overlay.jpg"), False),
        (("a.png", "a.jpg"), False),
    ],
)
def test_images_that_would_share_a_file_are_refused_before_the_first(
    tmp_path, names, probabilities
):
    images = images_named(tmp_path / "in", *names)
    with pytest.raises(UserError, match=r"written to the same file a\w*\.png; rename"):
        make_output(tmp_path / "out", images, (), probabilities)
    assert list((tmp_path / "out").iterdir()) == []


def test_names_with_dots_are_files_of_their_own(tmp_path):
    images = images_named(tmp_path / "in", "frame.2.png", "frame.3.png", "frame.png")
    out = make_output(tmp_path / "out", images, (), True)
    for image in images:
        write_pictures(out, image.stem, IMAGE, CLASSES, 2)
    assert len(list(out.iterdir())) == 9
    assert (out / "frame.2_overlay.png").is_file()


def test_what_stands_in_the_way_is_found_first(tmp_path):
    (image,) = images_named(tmp_path / "in", "a.png")
    out = tmp_path / "out"
    (out / "a_color.png").mkdir(parents=True)
    with pytest.raises(UserError, match=r"a_color\.png: it is a folder, where a file"):
        make_output(out, [image], (), False)
    (out / "a_color.png").rmdir()
    os.link(image, out / "a_overlay.png")
    with pytest.raises(UserError, match=r"a_overlay\.png: is the input .*in/a\.png"):
        make_output(out, [image], (), False)
    (out / "a_overlay.png").unlink()
    make_output(out, [image], (), False)
    with pytest.raises(UserError, match="File name too long"):
        make_output(out, [tmp_path / "in" / f"{'x' * 250}.png"], (), False)
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"--out .*file cannot be written to: File exists"
    ):
        make_output(tmp_path / "file", [image], (), False)


def test_a_write_that_fails_raises(tmp_path):
    for name in file_names("a", False):
        (tmp_path / name).mkdir()
        with pytest.raises(IsADirectoryError):
            write_pictures(tmp_path, "a", IMAGE, CLASSES, 2)
        (tmp_path / name).rmdir()
    with pytest.raises(OSError, match="File name too long"):
        pictures.write_picture(tmp_path / f"{'x' * 300}.png", CLASSES)
    with pytest.raises(IsADirectoryError):
        (tmp_path / "flow.png").mkdir()
        figures.save(figures.new_figure(1, 1), tmp_path / "flow.png")
    if Path("/dev/full").exists():
        (tmp_path / "full.png").symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left on device"):
            pictures.write_picture(tmp_path / "full.png", CLASSES)


def _append(path):
    with contextlib.closing(JsonLines(path, None)) as lines:
        lines.write({"step": 1})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize(
    ("names", "write"),
    [
        (["rows.csv"], lambda path: text.write(path, "step\n1\n")),
        (["a.png"], lambda path: pictures.write_picture(path, CLASSES)),
        (["flow.png"], lambda path: figures.save(figures.new_figure(1, 1), path)),
        (["flow.svg"], lambda path: figures.save(figures.new_figure(1, 1), path)),
        (["t.parquet", "t.partial"], lambda path: write_parquet(TABLE, path)),
        (["s.json", "s.partial"], lambda path: write_json(path, {"step": 1})),
        (["metrics.jsonl"], _append),
        (
            ["a_color.png"],
            lambda path: write_pictures(path.parent, "a", IMAGE, CLASSES, 2),
        ),
        (
            ["a_probabilities.npy"],
            lambda path: write_probabilities(path.parent, [Path("a.png")], [IMAGE]),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_disk_that_is_full_is_said_of_the_file(tmp_path, names, write):
    """The system names it where a file is opened, not where bytes are written."""
    file, written = tmp_path / names[0], tmp_path / names[-1]
    written.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(file)
    assert refusal(caught.value) == f"{file}: No space left on device"


def test_each_overlay_of_an_evaluation_is_a_file_of_its_own(tmp_path):
    names = ["frame.2", "frame.3", "a/b", "a_b", "x" * 300, "x" * 301, "same", "same"]
    spec = DatasetSpec("cells", ("ground", "cell"), {"val": len(names)})
    gallery = Gallery(tmp_path, spec, "val", len(names))
    for name in names:
        gallery(IMAGE, CLASSES, CLASSES, name)
    drawn = sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(drawn) == len(names)
    assert {"frame.2.png", "frame.3.png", "a_b.png", "a_b-2.png"} <= {*drawn}
