"""Where compiled programs lie between processes, and how much room they take.

One folder, JAX's own: `JAX_COMPILATION_CACHE_DIR`, or else one in the cache folder of
the user, which this module names to JAX. Programs that JAX keeps by itself lie in it,
those of `entries` in its folder `resseg`. `JAX_ENABLE_COMPILATION_CACHE=false` turns
both off. Imports no JAX: all this has to be said before JAX is imported.
"""

import contextlib
import hashlib
import os
import platform
import stat
from collections.abc import Iterable
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
SWITCH = "JAX_ENABLE_COMPILATION_CACHE"
BOUND = "JAX_COMPILATION_CACHE_MAX_SIZE"
LARGEST = 2 << 30  # bytes, where BOUND says nothing
OWN = "resseg"
_OFF = ("0", "f", "false", "n", "no", "off")
# What tells the instructions and the scheduling of a processor from those of another.
_PROCESSOR = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),
)


def settle() -> None:
    """Names a folder to JAX where nobody has named one: of the user, and closed.

    And has it keep all programs but the smallest, where nobody has said which.
    """
    if is_off():
        return
    os.environ.setdefault(SHORTEST, "0.1")
    with contextlib.suppress(OSError, RuntimeError):  # there is no home to write to
        folder, named = default_folder(), os.environ.get(FOLDER)
        # What another machine named for itself came here with a worker.
        if named and Path(named).parent != folder.parent:
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if is_private(folder.stat()) and os.access(folder, os.W_OK):
            os.environ[FOLDER] = str(folder)
            trim(folder)


def is_off() -> bool:
    """Whether the user wants no program to be kept."""
    return os.environ.get(SWITCH, "true").lower() in _OFF


def default_folder() -> Path:
    """Of this user and kind of processor: code for another may end a process.

    Raises:
        RuntimeError: the user has no home.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kind = hashlib.sha256(processor().encode()).hexdigest()[:12]
    return Path(cache, "resseg", f"{platform.machine()}-{kind}")


def processor() -> str:
    """What code is compiled for, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        # Next to nothing is said here: no other machine counts as the same.
        return f"{platform.platform()} {platform.processor()} {platform.node()}"
    said: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        said.setdefault(name.strip(), value.strip())
    return "\n".join(f"{name}: {said[name]}" for name in _PROCESSOR if name in said)


def is_private(status: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and nobody else can write or read it."""
    own = hasattr(os, "geteuid") and status.st_uid == os.geteuid()
    return own and not stat.S_IMODE(status.st_mode) & 0o077


def largest() -> int:
    """How many bytes kept programs may take in all."""
    said = os.environ.get(BOUND, "")
    return int(said) if said.isdigit() else LARGEST


def trim(folder: Path) -> None:
    """Removes what was not used for longest, until the rest is within the bound.

    Of a folder that the user named, our own part alone: the rest may be anyone's.

    Args:
        folder: the one that JAX knows.
    """
    with contextlib.suppress(OSError, RuntimeError):
        whole = folder == default_folder()
        _trim((folder if whole else folder / OWN).rglob("*"), largest())


def _trim(files: Iterable[Path], bound: int) -> None:
    known = []
    for file in files:
        with contextlib.suppress(OSError):  # another process was faster
            status = file.lstat()
            if stat.S_ISREG(status.st_mode):
                used = max(status.st_atime_ns, status.st_mtime_ns)
                known.append((used, status.st_size, file))
    total = sum(size for _, size, _ in known)
    for _, size, file in sorted(known):
        if total <= bound:
            break
        with contextlib.suppress(OSError):
            file.unlink()
        total -= size
