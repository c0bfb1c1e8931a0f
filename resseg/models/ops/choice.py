"""Which formulation an operation gets. Decided while a program is traced."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple

import jax

from resseg import xla


class Formulations(NamedTuple):
    """What a program is written for.

    Attributes:
        cpu: XLA's CPU backend: grouped convolutions, gradients of pooling and sums in
            long chains are slow there, so they are written otherwise.
        onednn: its convolutions are those of oneDNN.
    """

    cpu: bool = False
    onednn: bool = False


PLAIN = Formulations()  # as a textbook has it: GPU, TPU, and who reads a program

_chosen: contextvars.ContextVar[Formulations | None]
_chosen = contextvars.ContextVar("formulations", default=None)


@contextlib.contextmanager
def formulations(chosen: Formulations) -> Iterator[None]:
    """Programs traced in here are written so, whatever the device."""
    token = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(token)


def current() -> Formulations:
    """Those of the device that JAX computes on, unless `formulations` says otherwise."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    device = jax.config.jax_default_device
    platform = getattr(device, "platform", device) or jax.default_backend()
    return Formulations(True, xla.has_onednn()) if platform == "cpu" else PLAIN
