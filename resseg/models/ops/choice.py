"""Which formulation an operation gets. Decided while a program is traced."""

import contextlib
import contextvars
import enum
from collections.abc import Iterator

import jax


class Formulation(enum.Enum):
    """What a program is written for.

    PLAIN is as a textbook has it: for GPU, TPU, and who reads a program. CPU is for
    XLA's CPU backend, where grouped convolutions, gradients of pooling, of small sums
    and of some kernels are slow, and where what a long chain puts out is computed again
    by each operation that reads it.
    """

    PLAIN = enum.auto()
    CPU = enum.auto()


_chosen: contextvars.ContextVar[Formulation | None]
_chosen = contextvars.ContextVar("formulation", default=None)


@contextlib.contextmanager
def formulation(chosen: Formulation) -> Iterator[None]:
    """Programs traced in here are written so, whatever the device."""
    token = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(token)


def for_cpu() -> bool:
    """Whether a program is traced for a CPU: what JAX computes on, unless told."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen is Formulation.CPU
    device = jax.config.jax_default_device
    platform = getattr(device, "platform", device) or jax.default_backend()
    return platform == "cpu"
