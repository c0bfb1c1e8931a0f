"""What this process compiles, and its peak on the device, as JAX reports them."""

import threading
from typing import NamedTuple

import jax
import jax.monitoring

from resseg.programs.kept import LOADED

_COMPILED = "/jax/core/compile/backend_compile_duration"
_HIT = "/jax/compilation_cache/cache_hits"
TRAIN_STEP = "jit(train_step)"


class Count(NamedTuple):
    """Programs since some moment.

    Attributes:
        programs: compiled by XLA.
        train_steps: those of them that are train steps.
        cached: taken from what earlier processes kept instead.
        seconds: all of it took.
    """

    programs: int = 0
    train_steps: int = 0
    cached: int = 0
    seconds: float = 0.0

    def since(self, earlier: "Count") -> "Count":
        """What came after `earlier`."""
        return Count(
            self.programs - earlier.programs,
            self.train_steps - earlier.train_steps,
            self.cached - earlier.cached,
            self.seconds - earlier.seconds,
        )


class Counter:
    """Listens from its making on, once for a process: JAX keeps its listeners."""

    def __init__(self):
        self._count, self._hits = Count(), threading.local()
        jax.monitoring.register_event_listener(self._on_event)
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)

    def now(self) -> Count:
        return self._count

    def _on_event(self, event: str, **_: str | int) -> None:
        if event == _HIT:  # comes right before the duration, in the same thread
            self._hits.pending = True

    def _on_duration(self, event: str, duration_secs: float, **more: str | int) -> None:
        if event == LOADED:
            cached, seconds = self._count.cached + 1, self._count.seconds
            loaded = {"cached": cached, "seconds": seconds + duration_secs}
            self._count = self._count._replace(**loaded)
        if event != _COMPILED:
            return
        hit = getattr(self._hits, "pending", False)
        self._hits.pending = False
        step = str(more.get("fun_name", "")).startswith(TRAIN_STEP[:-1])
        self._count = Count(
            self._count.programs + (not hit),
            self._count.train_steps + (not hit and step),
            self._count.cached + hit,
            self._count.seconds + duration_secs,
        )


def device_peak() -> int | None:
    """Bytes in use at most on the first device; None where it does not say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return None if peak is None else int(peak)
