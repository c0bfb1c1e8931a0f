"""What a run was computed with: versions, devices, commit, command, time."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from resseg import __version__
from resseg.runs import layout
from resseg.runs.json_files import read_json, write_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_SOURCE = Path(__file__).resolve().parents[2]


def write_environment(workdir: str | os.PathLike, devices: Mapping[str, Any]) -> None:
    """Describes this start; earlier starts of the same run stay in `earlier_starts`.

    Args:
        workdir: The run folder.
        devices: What the trainer knows of them, such as kind and count.
    """
    path = Path(workdir) / layout.ENVIRONMENT
    earlier = []
    if path.exists():
        last = read_json(path)
        earlier = [*last.pop("earlier_starts"), last]
    write_json(path, {**describe(devices), "earlier_starts": earlier})


def describe(devices: Mapping[str, Any]) -> dict[str, Any]:
    """This process: no machine or user name except what the command line says."""
    return {
        "command": _command(),
        "devices": dict(devices),
        "git": _git(),
        "packages": versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str | None]:
    """Of resseg and what it computes with; None where one is not installed."""
    # Of this source: metadata may be of an older one.
    return {"resseg": __version__, **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _command() -> str:
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return shlex.join(["python", "-m", program.parent.name, *sys.argv[1:]])
    return shlex.join([program.name, *sys.argv[1:]])


def _git() -> dict[str, Any] | None:
    """Commit of the checkout this package lies in, and whether its code is changed."""
    if not (_SOURCE / ".git").exists():
        return None  # installed somewhere else, perhaps within another repository
    try:
        commit = _ask_git("rev-parse", "HEAD")
        changed = _ask_git("status", "--porcelain", "--", "resseg", "configs")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changed)}


def _ask_git(*arguments: str) -> str:
    command = ["git", "-C", os.fspath(_SOURCE), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()
