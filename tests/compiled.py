"""Where the programs of tests are kept: the same, in this process or another, once."""

import os
import shutil
import tempfile

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
# "" where the process that started this one made it, or the user.
OWN = "" if VARIABLE in os.environ else tempfile.mkdtemp(prefix="resseg-")
os.environ.setdefault(VARIABLE, OWN)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def remove():
    """The folder, by the process that made it."""
    if OWN:
        shutil.rmtree(OWN, ignore_errors=True)
