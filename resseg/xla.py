"""What XLA is told before it starts. No other module sets a flag of XLA.

JAX 0.12 has the convolutions of oneDNN inside, up to three times as fast on a CPU as
XLA's own, and does not use them unless told to. Products stay with YNNPACK: left to the
first flag alone they would fall to a slow path.
"""

import os
from importlib.metadata import PackageNotFoundError, version

ONEDNN = "--xla_cpu_experimental_onednn_custom_call"
PRODUCTS = "--xla_cpu_experimental_ynn_fusion_type"
_FLAGS = {ONEDNN: "true", PRODUCTS: "individual_dot,reduce"}
_KNOWN = ((0, 12),)  # releases of jaxlib that know them: an unknown flag ends a process


def set_flags() -> None:
    """Adds the flags to `XLA_FLAGS`, where jaxlib knows them; a user's own stay.

    Call it before the first computation: the backend reads them once.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if _jaxlib() not in _KNOWN or ONEDNN in given or PRODUCTS in given:
        return
    flags = " ".join(f"{name}={value}" for name, value in _FLAGS.items())
    os.environ["XLA_FLAGS"] = f"{given} {flags}".strip()


def has_onednn() -> bool:
    """Whether the flags in force give the CPU oneDNN's convolutions."""
    given = os.environ.get("XLA_FLAGS", "").split()
    return _jaxlib() in _KNOWN and f"{ONEDNN}=true" in given


def _jaxlib() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version("jaxlib").split(".")[:2])
    except PackageNotFoundError:
        return ()
