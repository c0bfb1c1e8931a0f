"""Temperatures in a run folder: one per checkpoint, read back as they were written."""

import pytest

from resseg.errors import UserError
from resseg.runs import calibration
from resseg.runs.calibration import Calibration

FIRST = Calibration(400, 1.25, "cells", "val", 12)
OTHER = Calibration(100, 0.1 + 0.2, "other", "test", 3)


def test_each_checkpoint_has_its_own(tmp_path):
    assert calibration.read_calibrations(tmp_path) == []
    assert calibration.read_calibration(tmp_path, 400) is None
    calibration.write_calibrations(tmp_path, [FIRST, OTHER])
    assert calibration.read_calibrations(tmp_path) == [OTHER, FIRST]
    assert calibration.read_calibration(tmp_path, 400) == FIRST
    assert calibration.read_calibration(tmp_path, 300) is None


def test_without_any_there_is_no_file(tmp_path):
    calibration.write_calibrations(tmp_path, [FIRST])
    calibration.write_calibrations(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["0", "-1.5", '"NaN"', "null", '"warm"', "[]"])
def test_a_temperature_that_is_none_is_refused(tmp_path, text):
    calibration.write_calibrations(tmp_path, [FIRST])
    file = tmp_path / "calibration.json"
    file.write_text(file.read_text().replace("1.25", text))
    with pytest.raises(UserError, match=r"calibration.json: holds other values"):
        calibration.read_calibrations(tmp_path)
