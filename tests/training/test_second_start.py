"""A second start of a known structure traces nothing, compiles nothing, and trains on
to the same bits; see `resseg.programs`.
"""

import flax.linen as nn
import jax
import numpy as np
import pytest

from resseg import runs
from resseg.models.network import SegmentationNetwork
from resseg.programs import place
from resseg.runs import layout
from resseg.runs.checkpoints import restore_variables
from resseg.training.compilations import Counter
from resseg.training.program import Programs
from resseg.training.run import OpenRun, train_and_evaluate

COUNTER = Counter()


@pytest.fixture
def kept_programs(tmp_path, monkeypatch):
    """An empty folder of programs."""
    monkeypatch.setenv(place.FOLDER, str(tmp_path / "programs"))
    return tmp_path / "programs" / place.OWN


def trained(config, folder, *, keeps=True):
    """Trains as a process of its own would; traces of the network, and the count."""
    traces, before = [], COUNTER.now()

    def watch(call, args, kwargs, context):
        if (
            isinstance(context.module, SegmentationNetwork)
            and context.method_name == "__call__"
        ):
            traces.append(context.module)
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        train_and_evaluate(config, folder, Programs(keeps=keeps))
    return len(traces), COUNTER.now().since(before)


def compare(folder, other):
    """Weights, and every log that the computation determines: bit by bit."""
    one, two = map(runs.open_run, (folder, other))
    assert one.steps == two.steps
    weights = [restore_variables(each.path, each.steps[-1]) for each in (one, two)]
    jax.tree.map(np.testing.assert_array_equal, *weights)
    assert one.gradients.equals(two.gradients)
    lines = {(each.path / layout.METRICS).read_bytes() for each in (one, two)}
    assert len(lines) == 1


@pytest.mark.bits
def test_later_starts_trace_and_compile_nothing_and_give_the_same_bits(
    tiny_config, tmp_path, kept_programs, monkeypatch
):
    """A run that goes on through kept programs, and another one after it."""
    plain, cut, second = (tmp_path / name for name in ("plain", "cut", "second"))
    save = OpenRun.save

    def save_once(run, step, state):
        save(run, step, state)
        if run.folder == cut and step == 2:
            raise KeyboardInterrupt

    with tiny_config.unlocked():
        tiny_config.eval.predictions = 0
    assert trained(tiny_config, plain, keeps=False)[0] >= 1
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(OpenRun, "save", save_once)
        trained(tiny_config, cut)
    # Traces, compiled train steps, loaded programs. Where the first run was cut, there
    # was no evaluation to keep yet.
    for folder, expected in ((cut, (1, 0, 1)), (second, (0, 0, 2))):
        traces, count = trained(tiny_config, folder)
        assert (traces, count.train_steps, count.cached) == expected
        compare(folder, plain)
    for name in (layout.CONFIG, layout.NETWORK, layout.DATASET):
        texts = {(folder / name).read_text() for folder in (plain, cut, second)}
        assert len(texts) == 1, name


@pytest.mark.slow
def test_whatever_is_wrong_with_what_is_kept_a_run_trains(
    tiny_config, tmp_path, kept_programs, capsys
):
    trained(tiny_config, tmp_path / "first")
    for file in kept_programs.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    capsys.readouterr()
    _, count = trained(tiny_config, tmp_path / "second")
    assert count.train_steps == 1
    said = capsys.readouterr().out.count("it is made anew")
    assert said == len(list(kept_programs.iterdir()))
