"""Coefficients: what a config may say, the schedules they become, and one program."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

import resseg
from resseg import runs, sharding
from resseg.config.coefficients import (
    Schedule,
    constant,
    expand,
    is_neutral,
    is_scheduled,
)
from resseg.data import DatasetSpec
from resseg.errors import UserError
from resseg.gradients.coefficients import on_line
from resseg.training.program import Programs

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "configs" / "quickstart.py"
STAGES = ("stage1", "stage2", "stage2", "stage3")


def starts(value, places=STAGES, neutral=1.0):
    return [s.start for s in expand(value, len(places), places, neutral)]


def test_every_form_becomes_one_schedule_per_block():
    assert starts(0.5) == [0.5] * 4
    assert starts((1, 2, 3, 4)) == [1, 2, 3, 4]
    assert starts('{"depth": [1.0, 0.25]}') == [1.0, 0.75, 0.5, 0.25]
    assert starts('{"power": -0.5}') == [0.5] * 4
    assert starts({"stage2": 0.5}) == [1, 0.5, 0.5, 1]
    assert starts({"stage2": [0.1, 0.2]}, neutral=0.0) == [0, 0.1, 0.2, 0]
    moving = Schedule(1.0, 0.0, 10, 20)
    assert expand('{"linear": [1, 0, 10, 20]}', 2) == (moving, moving)
    mixed = expand((0.5, '{"linear": [1, 0, 10, 20]}'), 2)
    assert mixed == (constant(0.5), moving)
    assert [on_line(moving, step) for step in (0, 10, 15, 20, 99)] == [1, 1, 0.5, 0, 0]


def test_a_step_computes_the_line_that_is_logged():
    """To the last bit in float32: rising, falling, a constant, a jump."""
    lines = [(0.1, 1.0, 0, 7), (1.0, -0.3, 3, 10), (0.7, 0.7, 0, 0), (0.0, 1.0, 4, 4)]
    for line in np.asarray(lines, np.float32):
        for step in range(12):
            logged = on_line(line, step)
            assert on_line(jnp.asarray(line), jnp.int32(step)) == logged
    jump = jnp.asarray(lines[3], jnp.float32)
    assert [on_line(jump, jnp.int32(step)) for step in (4, 5)] == [0, 1]


def test_what_moves_and_what_is_neutral():
    assert is_scheduled({"stage1": {"linear": [1, 0, 0, 5]}})
    assert not is_scheduled('{"depth": [1, 0]}') and not is_scheduled((1.0, 0.5))
    assert is_neutral((1.0, 1)) and is_neutral(0.0, 0.0)
    assert not is_neutral('{"linear": [1, 0, 0, 5]}') and not is_neutral((1, 0.5))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"lineal": [1, 0, 0, 9]}', "did you mean 'linear'"),
        ('{"linear": [1, 0, 9]}', "linear: expected 4 finite numbers"),
        ('{"linear": [1, 0, 9, 3]}', r"\[from, to, first step, last step\]"),
        ('{"stage7": 1}', "'stage7' is none of stage1, stage2"),
        ('{"stage2": [1, 2, 3]}', "expected one number or 1, got 3"),
        ('{"linear": [1, 0, 0, 9], "stage1": 1}', "expected 'linear' alone"),
        ("(1, 2)", "expected one number or 4, one per block; got 2"),
        ("half", "expected finite float, list of them, or a schedule such as"),
    ],
)
def test_a_wrong_coefficient_is_refused_in_one_line(value, message):
    key = "model.gradient.shortcut"
    with pytest.raises(UserError, match=message) as caught:
        resseg.load_config(QUICKSTART, {key: resseg.config.load.parse(key, value)})
    assert str(caught.value).startswith(f"config.{key}=")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.gradient.bypass": 1.5}, "bypass=1.5: expected numbers between 0"),
        (
            {"model.gradient.detach_rate": 1.0},
            "expected numbers of 0 or above, below 1",
        ),
        (
            {"model.shortcut.kind": "none", "model.gradient.bypass": 0.5},
            "bypass=0.5: impossible without shortcuts",
        ),
        (
            {
                "model.branch.learn": "scalar",
                "model.branch.scale": '{"linear": [0, 1, 0, 9]}',
            },
            "model.branch.scale.*has no schedule",
        ),
        ({"model.branch.init": "fixup"}, "is for networks with norm 'none'"),
        (
            {
                "model.branch.init": "zero_gamma",
                "model.backbone.order": "relu_before_add",
            },
            "dead at zero",
        ),
        (
            {
                "model.shortcut.span": 1,
                "model.branch.init": "fixup",
                "model.norm": "none",
            },
            "fixup needs 2 convolutions",
        ),
        ({"model.long_skip.kind": "concat", "model.head.name": "fcn8s"}, "only add"),
    ],
)
def test_impossible_ablations_are_refused(keys, message):
    with pytest.raises(UserError, match=message):
        resseg.load_config(QUICKSTART, keys)


def test_a_dict_in_a_config_file_is_stored_as_text_and_loads_again(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from resseg.config import builtin\n"
        "def get_config():\n"
        '    config = builtin.get_config("quickstart")\n'
        "    config.model.gradient.shortcut = {'linear': [1.0, 0.0, 0, 100]}\n"
        "    return config\n"
    )
    config = resseg.load_config(file, {"data.dir": str(tmp_path)})
    assert json.loads(config.model.gradient.shortcut) == {"linear": [1.0, 0.0, 0, 100]}
    runs.write_config(tmp_path, config)
    assert resseg.load_config(tmp_path) == config


SHAPE = (4, 16, 16, 3)
SPEC = DatasetSpec("shapes", ("a", "b", "c"), {})
SMALL = {
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.width": 4,
    "model.backbone.output_stride": 4,
    "data.crop": SHAPE[1:3],
    "data.batch_size": SHAPE[0],
}
VARIANTS = (
    {},
    {"model.shortcut.scale": 0.5},
    {"model.branch.scale": (0.5, 0.25)},
    {"model.gradient.shortcut": 0.0},
    {"model.gradient.shortcut": '{"stage2": 0.5}'},
    {"model.gradient.branch_in": 0.5, "model.gradient.branch_out": 2.0},
    {"model.gradient.bypass": 1.0},
    {"model.long_skip.scale": '{"stem": 0.7}', "model.gradient.long_skip": 0.1},
    {"optim.learning_rate": 1e-4},
    {"optim.schedule": "poly", "optim.warmup_steps": 2, "optim.weight_decay": 0.3},
    {"optim.b1": 0.5, "optim.backbone_factor": 0.1, "train.steps": 7, "seed": 3},
)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    image = rng.normal(size=SHAPE).astype(np.float32)
    return {"image": image, "label": rng.integers(0, 3, SHAPE[:3], np.int32)}


@functools.cache
def program():
    """The program of the plain config; every variant runs through it."""
    config = resseg.load_config(QUICKSTART, SMALL)
    return Programs()(config, SPEC, sharding.make_mesh(1))


def begin(overrides):
    """State and step of a variant, all through the same two programs."""
    config = resseg.load_config(QUICKSTART, SMALL | overrides)
    return program().begin(config), program().step


def test_numeric_variants_are_one_compiled_program(batch):
    begin({})[1](begin({})[0], batch, jax.random.key(1))  # compiles
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        results = []
        for overrides in VARIANTS:
            state, step = begin(overrides)
            for _ in range(2):
                state, log = step(state, batch, jax.random.key(1))
            # Not the loss alone: Adam hides from it what scales a gradient.
            results.append(tuple(map(float, log["scalars"].values())))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == []
    assert len(set(results)) == len(VARIANTS)  # and yet they differ


def test_the_seed_draws_the_first_weights():
    """To the last bit, as a compiled program draws them; not those of another seed.

    And those of the averages are the same.
    """
    drawing = jax.jit(program().blueprint.drawing())
    for seed in (0, 3):
        state = begin({"seed": seed})[0]
        for found in (state.params, state.variables()["params"]):
            expected = drawing(jax.random.key(seed))["params"]
            jax.tree.map(np.testing.assert_array_equal, found, expected)
    stems = [begin({"seed": s})[0].params["backbone"]["stem"] for s in (0, 3)]
    assert not np.array_equal(*(stem["conv"]["kernel"] for stem in stems))


def test_a_schedule_moves_while_training_and_is_one_program_too(batch):
    moving = '{"linear": [1.0, 0.0, 1, 3]}'
    state, step = begin({"model.gradient.shortcut": moving})
    seen = []
    for _ in range(5):
        state, log = step(state, batch, jax.random.key(1))
        fork = state.paths["backbone"]["stage2"]["block1"]["fork"]
        seen.append(float(fork["shortcut"]))
        measured = log["forks"]["backbone/stage2/block1"]
        assert (measured.squares[0] == 0) == (seen[-1] == 0)
    assert seen == [1.0, 1.0, 0.5, 0.0, 0.0]
    before = step._cache_size()
    other = '{"linear": [0.5, 0.25, 0, 2]}'
    step(begin({"model.branch.scale": other})[0], batch, jax.random.key(1))
    assert step._cache_size() == before


SCRIPT = """
import sys
import jax, jax.monitoring
sys.path[:0] = [{tests!r}, {root!r}]
counts = dict(hits=0, misses=0)
def listen(event, **_):
    for name in counts:
        counts[name] += event == f"/jax/compilation_cache/cache_{{name}}"
jax.monitoring.register_event_listener(listen)
import numpy as np
import test_coefficients as t
rng = np.random.default_rng(0)
batch = dict(image=np.zeros(t.SHAPE, np.float32), label=np.zeros(t.SHAPE[:3], np.int32))
state, step = t.begin({variant!r})
step(state, batch, jax.random.key(1))
print(counts["hits"], counts["misses"])
"""


def test_processes_share_the_compiled_programs(tmp_path):
    counts = []
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
    }
    for variant in VARIANTS[:2]:
        tests = str(Path(__file__).parent)
        script = SCRIPT.format(tests=tests, root=str(ROOT), variant=variant)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        counts.append(tuple(map(int, done.stdout.split()[-2:])))
    (_, compiled), *others = counts
    assert compiled >= 1  # the step
    assert all(hits >= 1 for hits, _ in others)
    slow_programs = [misses for _, misses in others]
    assert all(misses < compiled for misses in slow_programs), counts
