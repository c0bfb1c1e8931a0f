"""Whether somebody trains in a run folder, asked without taking its lock."""

import os
from pathlib import Path

from resseg.runs import layout

_TABLE = Path("/proc/locks")


def is_locked(workdir: str | os.PathLike) -> bool:
    """Whether a process holds the run folder now; False where the system does not tell.

    The lock itself is left alone: a training that starts at this moment must not be
    kept out by somebody who only looks.
    """
    try:
        status = os.stat(Path(workdir) / layout.LOCK)
        table = _TABLE.read_text(encoding="ascii")
    except OSError:
        return False
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    held = f"{device}:{status.st_ino}"
    # 1: FLOCK  ADVISORY  WRITE 708 103:01:2049 0 EOF; one that waits has "->" in front
    lines = [line.split() for line in table.splitlines() if "->" not in line]
    return any(line[1] == "FLOCK" and line[5] == held for line in lines)
