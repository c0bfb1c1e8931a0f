"""What the C library does with memory that a step has freed: it keeps it.

XLA asks for the memory of a step anew each time it runs one, hundreds of megabytes, and
glibc takes so much from the system and gives it back. Each page of it is then a fault,
and cleared once more: a tenth of a train step of a ResNet-18 U-Net on two cores. Kept,
the pages are there. Nothing is computed differently.
"""

import ctypes
import os
import sys
from collections.abc import Mapping

ASKED = "RESSEG_KEEP_MEMORY"  # 1 = on any number of cores, 0 = on none
# Whoever chose an allocator, or how it works, has done so for a reason.
CHOSEN = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_")
# So much memory is kept by the main arena alone, which all threads share therefore.
# Those that compile wait for each other: two took 10 s in place of 6, and had it back
# after 80 steps. More of them were not tried. On a busy machine they wait longer, so
# that the workers of a sweep, whose runs are short, do not do it.
MOST_CORES = 4
# Names and numbers of <malloc.h>, names for the environment, and values: one arena for
# all threads, nothing by mmap, nothing given back.
SETTINGS = (
    ("M_ARENA_MAX", -8, "MALLOC_ARENA_MAX", 1),
    ("M_MMAP_MAX", -4, "MALLOC_MMAP_MAX_", 0),
    ("M_TRIM_THRESHOLD", -1, "MALLOC_TRIM_THRESHOLD_", -1),
)


def keep_freed() -> bool:
    """Does so in this process, and says whether.

    For one that trains, before it starts a thread, which would bring an arena of its
    own.
    """
    if not keeps(os.environ, len(cores())):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(number, value) for _, number, _, value in SETTINGS
    )


def keeping(environment: Mapping[str, str], count: int) -> dict[str, str]:
    """What makes a process do so that has yet to start, in this `environment`.

    Args:
        count: of the cores that it may use.
    """
    if not keeps(environment, count):
        return {}
    return {name: str(value) for _, _, name, value in SETTINGS}


def keeps(environment: Mapping[str, str], count: int) -> bool:
    """Whether a process in this `environment`, on `count` cores, is to keep memory."""
    asked = environment.get(ASKED, "")
    if not sys.platform.startswith("linux") or asked == "0":
        return False
    chosen = any(environment.get(name) for name in CHOSEN)
    return not chosen and (asked == "1" or count <= MOST_CORES)


def cores() -> set[int]:
    """Those that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
