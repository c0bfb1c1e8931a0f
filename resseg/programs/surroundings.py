"""What a compiled program holds for: any difference makes another program."""

import functools
import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import jaxlib
import numpy as np
import optax

from resseg.programs import place

_SOURCE = Path(__file__).resolve().parents[1]
_VARIABLES = ("CUDA_", "LIBTPU_", "NVIDIA_", "OMP_", "ONEDNN_", "TF_XLA_", "XLA_")


def surroundings(devices: Sequence[Any]) -> dict[str, Any]:
    """All that decides beside a config what is compiled, ready for JSON.

    Args:
        devices: that it is compiled for, in their order.
    """
    names = sorted(os.environ)
    return {
        "versions": {
            "python": platform.python_version(),
            **{
                package.__name__: package.__version__
                for package in (flax, jax, jaxlib, np, optax)
            },
        },
        "source": source(),
        "settings": {
            name: repr(value)
            for name, value in jax.config.values.items()
            if "cache" not in name  # where programs lie is no part of them
        },
        "environment": {
            name: os.environ[name] for name in names if name.startswith(_VARIABLES)
        },
        "processor": place.processor(),
        # Sums are shared out among the threads.
        "threads": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "backend": devices[0].client.platform_version,
        "devices": [[device.id, device.device_kind] for device in devices],
        "all": jax.device_count(),
    }


@functools.cache
def source() -> str:
    """Digest of this package: its code is part of what is traced."""
    digest = hashlib.sha256()
    for file in sorted(_SOURCE.rglob("*.py")):
        digest.update(str(file.relative_to(_SOURCE)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
