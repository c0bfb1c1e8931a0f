"""What XLA is told before it starts. No other module sets a flag of XLA.

JAX 0.12 has the convolutions of oneDNN inside and does not use them unless told to:
train steps of U-Nets are a fifth faster with them. It cannot write a program that holds
one to disk (JAX 0.12.0.1: `MemoryError` out of `serialize`), so that every start
compiles anew. That is why it is for the user to ask: RESSEG_ONEDNN=1.
"""

import os
from importlib.metadata import PackageNotFoundError, version

ASKED = "RESSEG_ONEDNN"
ONEDNN = "--xla_cpu_experimental_onednn_custom_call"
# Products stay with YNNPACK: with the first flag alone they fall to a slow path.
FLAGS = f"{ONEDNN}=true --xla_cpu_experimental_ynn_fusion_type=individual_dot,reduce"
KNOWN = ((0, 12),)  # releases of jaxlib that know them: an unknown flag ends a process


def set_flags() -> None:
    """Adds to `XLA_FLAGS` what the environment asks for; what a user set there stays.

    XLA reads them once, before its first computation.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if os.environ.get(ASKED) == "1" and _jaxlib() in KNOWN and ONEDNN not in given:
        os.environ["XLA_FLAGS"] = f"{given} {FLAGS}".strip()


def has_onednn() -> bool:
    """Whether the flags in force give CPUs the convolutions of oneDNN."""
    return f"{ONEDNN}=true" in os.environ.get("XLA_FLAGS", "").split()


def _jaxlib() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version("jaxlib").split(".")[:2])
    except PackageNotFoundError:
        return ()
