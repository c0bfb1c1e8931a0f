"""The run folder: what a training run leaves behind, written and read in one place."""

from resseg.runs.dataset import read_dataset, write_dataset
from resseg.runs.environment import write_environment
from resseg.runs.folder import (
    check_same_config,
    prepare,
    read_config,
    write_config,
)
from resseg.runs.json_files import read_json, write_json
from resseg.runs.lock import Holder, claimed, is_claimed, is_locked, locked
from resseg.runs.reader import Run, open_run, read_evaluations, read_metrics
from resseg.runs.writer import NoWriter, RunWriter

__all__ = [
    "Holder",
    "NoWriter",
    "Run",
    "RunWriter",
    "check_same_config",
    "claimed",
    "is_claimed",
    "is_locked",
    "locked",
    "open_run",
    "prepare",
    "read_config",
    "read_dataset",
    "read_evaluations",
    "read_json",
    "read_metrics",
    "write_config",
    "write_dataset",
    "write_environment",
    "write_json",
]
