"""A second process loads what the first compiled: same bits, no trace, no compiler."""

import os
import pickle
import random
import zlib
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from resseg import sharding
from resseg.programs import kept, place
from resseg.programs.entries import Entries
from resseg.programs.kept import Store
from resseg.training.compilations import Count, Counter

KEY = {"name": "step", "structure": "small"}
BATCH = {"image": np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)}
traces = []


def step(state, batch, key):
    traces.append(batch["image"].shape)
    noise = jax.random.normal(jax.random.fold_in(key, state["step"]), (6, 6))
    weights = state["weights"] + jnp.tanh(batch["image"] @ noise).sum()
    weights = weights.astype(state["weights"].dtype)
    return {"weights": weights, "step": state["step"] + 1}, {"sum": weights.sum()}


class Process:
    """What a process does with the step, told apart from the one before."""

    counter = Counter()

    def __init__(self, folder, devices=1, key=KEY):
        mesh = sharding.make_mesh(devices)
        self.split, self.whole = sharding.by_batch(mesh), sharding.replicated(mesh)
        shardings = (self.whole, self.split, self.whole)
        function = jax.jit(
            lambda *arguments: step(*arguments),
            in_shardings=shardings,
            out_shardings=self.whole,
            donate_argnums=0,
        )
        store = Store(Entries(folder), list(mesh.devices.flat))
        self.step = store.function(function, key)
        traces.clear()
        self.before = self.counter.now()

    def run(self, dtype: Any = np.float32, batch=BATCH):
        """The arrays after two steps, on the host."""
        state = {"weights": np.ones((3, 5), dtype), "step": np.int32(0)}
        state = jax.device_put(state, self.whole)
        put = sharding.put_batch(batch, self.split)
        state, _ = self.step(state, put, jax.random.key(3))
        return jax.device_get(self.step(state, put, jax.random.key(3)))

    def count(self):
        return self.counter.now().since(self.before)._replace(seconds=0.0)


def equal(one, other):
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b, strict=True), one, other
    )


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_a_second_process_neither_traces_nor_compiles(tmp_path, devices):
    """On some of the devices as on all."""
    first = Process(tmp_path, devices)
    expected = first.run()
    assert len(traces) == 1 and first.count().programs >= 1
    second = Process(tmp_path, devices)
    second.step.expect(BATCH)
    equal(second.run(), expected)
    assert traces == []
    assert second.count() == Count(programs=0, train_steps=0, cached=1)


def test_the_key_tells_programs_apart(tmp_path):
    Process(tmp_path).run()
    Process(tmp_path, key=KEY | {"structure": "large"}).run()
    assert len(traces) == 1
    Process(tmp_path).run(batch={"image": BATCH["image"][:2]})
    assert traces == [(2, 6)]
    Process(tmp_path).run()
    assert traces == []


@pytest.mark.parametrize(
    "name", ["XLA_FLAGS", "jax_default_matmul_precision", "processor", "threads"]
)
def test_in_other_surroundings_it_is_another_program(tmp_path, monkeypatch, name):
    Process(tmp_path).run()
    if name == "XLA_FLAGS":
        flags = os.environ.get(name, "")
        monkeypatch.setenv(name, f"{flags} --xla_cpu_enable_fast_math=true")
    elif name == "processor":
        monkeypatch.setattr(place, "processor", lambda: "model: 1")
    elif name == "threads":
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    else:
        jax.config.update(name, "highest")
    try:
        Process(tmp_path).run()
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    assert len(traces) == 1


def test_arrays_of_another_type_are_taken_by_the_jitted_function(tmp_path):
    Process(tmp_path).run()
    process = Process(tmp_path)
    (state, _) = process.run(np.float16)
    assert state["weights"].dtype == np.float16 and len(traces) >= 1


def test_of_corrupted_programs_none_is_run(tmp_path, capsys):
    """Each is compiled anew, with a line, and kept again; bits stay."""
    expected = Process(tmp_path).run()
    (file,) = (tmp_path / place.OWN).iterdir()
    entry, rng = file.read_bytes(), random.Random(3)
    for _ in range(6):
        at = rng.randrange(len(entry))
        broken = bytes([entry[at] ^ 1 << rng.randrange(8)])
        changed = entry[:at] + rng.choice([broken + entry[at + 1 :], b""])
        file.write_bytes(changed)
        capsys.readouterr()
        equal(Process(tmp_path).run(), expected)
        assert len(traces) == 1
        assert capsys.readouterr().out.count("\n") == 1
    Process(tmp_path).run()
    assert traces == []


@pytest.mark.parametrize(
    "content",
    [
        b"no compressed bytes",
        zlib.compress(b"no pickle"),
        zlib.compress(pickle.dumps(("no executable", None, None))),
        zlib.compress(pickle.dumps((pickle.dumps((1, 2, 3)), None, None))),
    ],
)
def test_what_xla_does_not_take_is_compiled_anew(tmp_path, capsys, content):
    """An entry that is whole, and of this key."""
    process = Process(tmp_path)
    key = KEY | {"batch": kept._shapes(BATCH)}
    process.step._store.write(key, content)
    process.run()
    assert len(traces) == 1
    assert capsys.readouterr().out.count("\n") == 1
    Process(tmp_path).run()
    assert traces == []


def test_a_program_that_fails_when_it_runs_costs_nothing(tmp_path, capsys, monkeypatch):
    """Not even the state, which it has consumed."""
    expected = Process(tmp_path).run()

    def failing(state, *_):
        jax.tree.map(lambda leaf: leaf.delete(), state)
        raise jax.errors.JaxRuntimeError("NOT_FOUND: a function\nof it")

    with monkeypatch.context() as patched:
        load = "deserialize_and_load"
        patched.setattr(kept.serialize_executable, load, lambda *_, **__: failing)
        equal(Process(tmp_path).run(), expected)
    assert len(traces) == 1
    assert "is of no use (NOT_FOUND: a function); it is" in capsys.readouterr().out
    equal(Process(tmp_path).run(), expected)
    assert traces == []


def test_what_jax_has_loaded_from_its_own_cache_is_not_kept(tmp_path):
    """It would be a program without code, which fails when it runs."""
    jitted = Process(tmp_path / "other").step._function
    arguments = ({"weights": np.ones((3, 5), np.float32), "step": np.int32(0)}, BATCH)
    name = "jax_persistent_cache_min_compile_time_secs"
    before = jax.config.values[name]
    jax.config.update(name, 0.0)
    try:
        jitted.lower(*arguments, jax.random.key(3)).compile()
        Process(tmp_path).run()
    finally:
        jax.config.update(name, before)
    Process(tmp_path).run()
    assert traces == []


def test_facts_are_kept(tmp_path):
    facts = {"value": 0.1, "none": None, "list": [1, "zwei"]}
    store = Store(Entries(tmp_path), jax.devices())
    assert store.facts(KEY) is None
    store.keep_facts(KEY, facts)
    assert Store(Entries(tmp_path), jax.devices()).facts(KEY) == facts


def test_where_it_would_be_no_help_there_is_no_store(tmp_path, monkeypatch):
    monkeypatch.setenv(place.FOLDER, str(tmp_path))
    assert Store.open(jax.devices()) is not None
    with jax.debug_nans(True):
        assert Store.open(jax.devices()) is None
    monkeypatch.setenv(place.SWITCH, "0")
    assert Store.open(jax.devices()) is None
    monkeypatch.delenv(place.SWITCH)
    monkeypatch.setenv(place.FOLDER, "")
    assert Store.open(jax.devices()) is None
