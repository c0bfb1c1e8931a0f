"""What the C library does with memory that a step has freed: asked to, it keeps it.

XLA asks for the memory of a step anew each time it runs one, hundreds of megabytes, and
glibc takes so much from the system and gives it back. Each page of it is then a fault,
and cleared once more: a tenth of a train step of a ResNet-18 U-Net on two cores. Kept,
the pages are there. Nothing is computed differently.

So much memory is kept by the main arena alone, which all threads share therefore. Those
that compile wait for each other, and leave it in pieces: a small network whose programs
are not kept yet steps slower than without. That is why it is for the user to ask.
"""

import ctypes
import os
import sys
from collections.abc import Mapping

ASKED = "RESSEG_KEEP_MEMORY"  # 1 = keep it
# Whoever chose an allocator, or how it works, has done so for a reason.
CHOSEN = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_")
# Names and numbers of <malloc.h>, names for the environment, and values: one arena for
# all threads, nothing by mmap, nothing given back.
SETTINGS = (
    ("M_ARENA_MAX", -8, "MALLOC_ARENA_MAX", 1),
    ("M_MMAP_MAX", -4, "MALLOC_MMAP_MAX_", 0),
    ("M_TRIM_THRESHOLD", -1, "MALLOC_TRIM_THRESHOLD_", -1),
)


def keep_freed() -> bool:
    """Does so in this process where it is asked for, and says whether.

    For one that trains, before it starts a thread, which would bring an arena of its
    own.
    """
    if not keeps(os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(number, value) for _, number, _, value in SETTINGS
    )


def keeping(environment: Mapping[str, str]) -> dict[str, str]:
    """What makes a process do so that has yet to start, in this `environment`."""
    if not keeps(environment):
        return {}
    return {name: str(value) for _, _, name, value in SETTINGS}


def keeps(environment: Mapping[str, str]) -> bool:
    """Whether a process in this `environment` is to keep memory."""
    asked = sys.platform.startswith("linux") and environment.get(ASKED) == "1"
    return asked and not any(environment.get(name) for name in CHOSEN)
