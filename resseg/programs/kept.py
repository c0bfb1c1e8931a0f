"""Jitted functions whose compiled programs, and facts whose computation, are kept."""

import contextlib
import json
import os
import pickle
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import jax
import jax.monitoring
import numpy as np
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

from resseg.console import say
from resseg.programs import place
from resseg.programs.entries import Damaged, Entries, Key
from resseg.programs.surroundings import surroundings

_SETTINGS: Any = jax.config  # no type checker knows what is in it
LOADED = "/resseg/programs/loaded"  # event: a program came from here; with its name


class Store:
    """What earlier processes compiled and found out, for the devices of a mesh.

    Whatever is wrong with an entry, it is as if it were not there, but for a line.

    Args:
        entries: where it is kept.
        devices: that programs are for, in the order of the mesh.
    """

    def __init__(self, entries: Entries, devices: Sequence[Any]):
        self.devices = tuple(devices)
        self._entries = entries
        self._surroundings = surroundings(self.devices)

    @classmethod
    def open(cls, devices: Sequence[Any]) -> Self | None:
        """That of this user; None where there is none, or where it would be no help.

        Processes that compute together must compile together, and what is debugged has
        to be traced.
        """
        folder = os.environ.get(place.FOLDER)
        debugged = _SETTINGS.jax_disable_jit or _SETTINGS.jax_debug_nans
        if not folder or place.is_off() or debugged or jax.process_count() > 1:
            return None
        return cls(Entries(Path(folder)), devices)

    def facts(self, key: Key) -> Any:
        """What was kept as JSON for this key; None where there is nothing."""
        content = self.read(key)
        return None if content is None else json.loads(content)

    def keep_facts(self, key: Key, facts: Any) -> None:
        self.write(key, json.dumps(facts).encode())

    def function(self, function: Any, key: Key) -> "Kept":
        """The jitted `function(first, batch, ...)`; `key` says all that it is."""
        return Kept(function, self, key)

    def read(self, key: Key) -> bytes | None:
        """The entry of a key in these surroundings."""
        try:
            return self._entries.read(self._whole(key))
        except Damaged as damage:
            say(f"{damage}; it is made anew")
            return None

    def write(self, key: Key, content: bytes) -> None:
        self._entries.write(self._whole(key), content)

    def remove(self, key: Key) -> None:
        self._entries.remove(self._whole(key))

    def _whole(self, key: Key) -> dict[str, Any]:
        return {"surroundings": self._surroundings, "of": dict(key)}


class Kept:
    """A jitted function that runs programs of earlier processes.

    A program is looked for when a batch of new shapes comes, else compiled and kept.
    All other arguments have the shapes that follow from `key`: where a program does
    not take them after all, the jitted function does.

    Args:
        function: jitted, `function(first, batch, ...)`, the batch a dict of arrays.
        store: that programs are kept in.
        key: all that the function is; ready for JSON, with a `name`.
    """

    def __init__(self, function: Any, store: Store, key: Key):
        self._function, self._store, self._key = function, store, dict(key)
        self._programs: dict[str, Callable[..., Any]] = {}
        self._coming: dict[str, Future] = {}

    def expect(self, batch: Mapping[str, Any]) -> None:
        """Begins to load the program for batches of these shapes, if there is one."""
        shapes = _shapes(batch)
        thread = ThreadPoolExecutor(1)
        self._coming[shapes] = thread.submit(self._load, shapes)
        thread.shutdown(wait=False)

    def __call__(self, *arguments: Any) -> Any:
        shapes = _shapes(arguments[1])
        if shapes not in self._programs:
            return self._first(shapes, arguments)
        return self._programs[shapes](*arguments)

    def _first(self, shapes: str, arguments: tuple) -> Any:
        program = self._found(shapes)
        if program is not None:
            return self._first_of_kept(shapes, program, arguments)
        with _uncached():
            program = self._function.lower(*arguments).compile()
        try:
            result = program(*arguments)
        except (TypeError, ValueError):
            return self._by_jit(shapes, arguments)
        self._programs[shapes] = program
        self._save(shapes, program)  # while the device computes
        return result

    def _first_of_kept(self, shapes: str, program: Any, arguments: tuple) -> Any:
        # Some faults of a program show when it runs, and it may consume what it is
        # given: nothing is lost by them.
        first = jax.tree.map(np.array, arguments[0])
        try:
            result = jax.block_until_ready(program(*arguments))
        except (TypeError, ValueError):
            return self._by_jit(shapes, arguments)
        except jax.errors.JaxRuntimeError as error:
            self._forget(shapes, error)
            first = jax.tree.map(_placed_as, first, arguments[0])
            return self._first(shapes, (first, *arguments[1:]))
        self._programs[shapes] = program
        return result

    def _by_jit(self, shapes: str, arguments: tuple) -> Any:
        """A compiled program refused arrays of other types or places, and took none."""
        self._programs[shapes] = self._function
        return self._function(*arguments)

    def _found(self, shapes: str) -> Any:
        began = time.monotonic()
        coming = self._coming.pop(shapes, None)
        program = self._load(shapes) if coming is None else coming.result()
        if program is not None:
            seconds, name = time.monotonic() - began, self._key["name"]
            jax.monitoring.record_event_duration_secs(LOADED, seconds, fun_name=name)
        return program

    def _forget(self, shapes: str, error: Exception) -> None:
        self._store.remove(self._key | {"batch": shapes})
        (line, *_) = str(error).splitlines() or [type(error).__name__]
        say(f"a kept {self._key['name']} is of no use ({line}); it is made anew")

    def _load(self, shapes: str) -> Any:
        content = self._store.read(self._key | {"batch": shapes})
        if content is None:
            return None
        try:
            # The entry has proved to be this user's own, whole, and of this key.
            serialized, *trees = pickle.loads(zlib.decompress(content))
            return serialize_executable.deserialize_and_load(
                serialized, *trees, execution_devices=self._store.devices
            )
        except Exception as error:  # whatever XLA or a pickle may say
            self._forget(shapes, error)
            return None

    def _save(self, shapes: str, program: Any) -> None:
        try:
            content = pickle.dumps(serialize_executable.serialize(program))
        except Exception:  # not every program of every platform can be kept
            return
        # The fastest level: a step of 6 MB is 1 MB then.
        packed = zlib.compress(content, 1)
        self._store.write(self._key | {"batch": shapes}, packed)


@contextlib.contextmanager
def _uncached() -> Iterator[None]:
    """Compiles what is compiled, and takes nothing from JAX's own cache.

    A program that JAX has loaded has no code that could be kept (XLA for CPUs, JAX
    0.10.2 and 0.12.0.1): what is written of it loads, and fails when it runs.
    """
    name = "jax_enable_compilation_cache"
    before = _SETTINGS.jax_enable_compilation_cache
    compilation_cache.reset_cache()
    jax.config.update(name, False)
    try:
        yield
    finally:
        jax.config.update(name, before)
        compilation_cache.reset_cache()


def _placed_as(copy: np.ndarray, array: Any) -> Any:
    return jax.device_put(copy, array.sharding) if hasattr(array, "sharding") else copy


def _shapes(batch: Mapping[str, Any]) -> str:
    return " ".join(f"{n}:{batch[n].dtype}{batch[n].shape}" for n in sorted(batch))
