import json
import math
import struct

import numpy as np
import pandas as pd
import pytest
from tensorboardX.proto import event_pb2

from resseg.errors import UserError
from resseg.runs import RunWriter, layout
from resseg.runs.gradients_table import BLOCK_COLUMNS, COLUMNS
from resseg.runs.json_files import read_lines
from resseg.runs.parts import parts, read_parts


def tables(folder):
    return (
        read_parts(folder / layout.GRADIENTS, COLUMNS),
        read_parts(folder / layout.BLOCKS, BLOCK_COLUMNS),
    )


def write(folder, steps, log_step, *, resume=None, flush_at=(), buffer_rows=65_536):
    """A process that logs `steps`; returns without closing, as if killed."""
    folder.mkdir(exist_ok=True)
    writer = RunWriter(
        folder, tensorboard=False, resume_step=resume, buffer_rows=buffer_rows
    )
    for step in steps:
        log_step(writer, step)
        if step in flush_at:
            writer.flush()
    return writer


@pytest.fixture
def whole(tmp_path, log_step):
    write(tmp_path / "whole", range(1, 13), log_step).close()
    return tmp_path / "whole"


@pytest.mark.parametrize("buffer_rows", [1, 20, 65_536])
@pytest.mark.parametrize(
    ("killed", "checkpoint"), [(5, 4), (9, 4), (12, 8), (4, 4), (3, 0)]
)
def test_a_killed_and_resumed_run_leaves_the_same_logs(
    tmp_path, whole, log_step, killed, checkpoint, buffer_rows
):
    folder = tmp_path / "killed"
    options = {"flush_at": (4, 8), "buffer_rows": buffer_rows}
    writer = write(folder, range(1, killed + 1), log_step, **options)
    writer._metrics.close(), writer._timing.close()
    with open(folder / layout.METRICS, "a") as file:
        file.write('{"step": 13, "spl')  # torn by the kill
    (folder / layout.GRADIENTS).mkdir(exist_ok=True)
    (folder / layout.GRADIENTS / "part-000000099.partial").write_bytes(b"half")

    rest = range(checkpoint + 1, 13)
    write(folder, rest, log_step, resume=checkpoint, **options).close()

    for name in (layout.METRICS, layout.TIMING):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    for mine, other in zip(tables(folder), tables(whole), strict=True):
        pd.testing.assert_frame_equal(mine, other, check_exact=True)
        numbers = mine.select_dtypes("float64").to_numpy()
        assert numbers.tobytes() == other.select_dtypes("float64").to_numpy().tobytes()
    assert not list(folder.rglob("*.partial"))


def test_rows_keep_the_order_of_depth_and_path(whole, forks):
    gradients, blocks = tables(whole)
    first = gradients[gradients["step"] == 1]
    expected = [(fork.name, path) for fork in forks for path in fork.paths]
    assert list(zip(first["fork"], first["path"], strict=True)) == expected
    assert gradients["step"].is_monotonic_increasing
    assert list(blocks["block"][:2]) == ["stage2", "stage1"]
    third = gradients[gradients["step"] == 3].iloc[0]
    assert math.isnan(third["l2"]) and third["nonfinite"] == 5


def test_a_straddling_part_is_rewritten_and_others_are_left_alone(tmp_path, log_step):
    folder = tmp_path / "run"
    writer = write(folder, range(1, 10), log_step, flush_at=(3, 6, 9))
    writer.close()
    kept = parts(folder / layout.GRADIENTS)[0].read_bytes()
    RunWriter(folder, tensorboard=False, resume_step=5).close()
    names = [part.name for part in parts(folder / layout.GRADIENTS)]
    assert names == ["part-000000001.parquet", "part-000000004.parquet"]
    assert parts(folder / layout.GRADIENTS)[0].read_bytes() == kept
    assert sorted(set(tables(folder)[0]["step"])) == [1, 2, 3, 4, 5]


def test_the_buffer_is_bounded_without_any_flush(tmp_path, log_step):
    writer = write(tmp_path / "run", range(1, 7), log_step, buffer_rows=14)
    assert len(parts(tmp_path / "run" / layout.GRADIENTS)) == 3  # 7 rows a step
    writer.close()


def test_steps_must_increase_and_rows_must_be_of_their_step(tmp_path, log_step):
    writer = write(tmp_path / "run", [1, 2], log_step)
    with pytest.raises(ValueError, match="step 2 after those of 2"):
        log_step(writer, 2)
    with pytest.raises(ValueError, match="rows of other steps than 4"):
        writer.write_blocks(4, {"step": [3]})
    with pytest.raises(ValueError, match="expected"):
        writer.write_blocks(3, {"step": [3]})
    writer.close()


def test_logs_of_another_run_are_not_written_over(whole):
    before = (whole / layout.METRICS).read_bytes()
    with pytest.raises(UserError, match=r"already holds metrics\.jsonl"):
        RunWriter(whole, tensorboard=False, resume_step=None)
    assert (whole / layout.METRICS).read_bytes() == before


def test_metrics_read_back_bit_equal_and_stay_json(tmp_path):
    values = {
        "loss": np.float32(0.1),
        "tiny": 5e-324,
        "third": 1 / 3,
        "per_class": np.array([0.25, np.nan]),
        "diverged": math.inf,
        "lost": -math.inf,
        "pixels": 12,
    }
    with RunWriter(tmp_path, tensorboard=False, resume_step=None) as writer:
        writer.write_metrics(7, "val", values)
    text = (tmp_path / layout.METRICS).read_text()

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(text, parse_constant=refuse)["diverged"] == "Infinity"
    (line,) = read_lines(tmp_path / layout.METRICS)
    assert list(line) == ["step", "split", *values]
    assert line["loss"] == float(np.float32(0.1)) and line["tiny"] == 5e-324
    assert line["third"] == 1 / 3 and line["pixels"] == 12
    assert line["diverged"] == math.inf and line["lost"] == -math.inf
    assert line["per_class"][0] == 0.25 and math.isnan(line["per_class"][1])


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nwhat\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2: not JSON"):
        read_lines(tmp_path / "metrics.jsonl")


def events(folder):
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            yield event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def test_event_files_hold_the_scalars_and_purge_on_resume(tmp_path):
    for resume, step in ((None, 1), (4, 5)):
        with RunWriter(tmp_path, tensorboard=True, resume_step=resume) as writer:
            values = {"miou": 0.5, "iou": [0.25, 0.75], "batch_hash": "0000beef"}
            writer.write_metrics(step, "val", values)
            writer.write_timing(step, {"images_per_second": 8.0})
    found = list(events(tmp_path / layout.EVENTS))
    scalars = {
        (event.step, value.tag): value.simple_value
        for event in found
        for value in event.summary.value
    }
    assert scalars[1, "val/miou"] == 0.5 and scalars[1, "val_iou/1"] == 0.75
    assert scalars[5, "timing/images_per_second"] == 8.0
    starts = [event.step for event in found if event.HasField("session_log")]
    assert starts == [5]
