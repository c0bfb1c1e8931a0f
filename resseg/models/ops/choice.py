"""Which formulation an operation gets. Decided while a program is traced."""

import contextlib
import contextvars
import enum
from collections.abc import Iterator

import jax

from resseg import xla


class Formulation(enum.Enum):
    """What a program is written for.

    PLAIN is as a textbook has it: for TPU, and who reads a program. GPU has resizing,
    pooling and depthwise convolutions as loops over memory. CPU is for
    XLA's CPU backend, where grouped convolutions, gradients of pooling, of small sums
    and of some kernels are slow, and where what a long chain puts out is computed again
    by each operation that reads it. ONEDNN is for the same where the convolutions are
    oneDNN's, see `resseg.xla`.
    """

    PLAIN = enum.auto()
    GPU = enum.auto()
    CPU = enum.auto()
    ONEDNN = enum.auto()


GPUS = ("gpu", "cuda", "rocm")  # names of JAX

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


def current() -> Formulation:
    """That of the device JAX computes on, unless `formulation` says otherwise."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    device = jax.config.jax_default_device
    platform = getattr(device, "platform", device) or jax.default_backend()
    if platform != "cpu":
        return Formulation.GPU if platform in GPUS else Formulation.PLAIN
    return Formulation.ONEDNN if xla.has_onednn() else Formulation.CPU


def for_cpu() -> bool:
    """Whether a program is traced for a CPU."""
    return current() in (Formulation.CPU, Formulation.ONEDNN)


def for_gpu() -> bool:
    """Whether a program is traced for a GPU."""
    return current() is Formulation.GPU
