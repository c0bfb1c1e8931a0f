"""Whatever is not finite, the pass over the batch names it, and names it first."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from tiny import tiny_shapes

import resseg
from resseg import sharding
from resseg.training.examination import Examiner
from resseg.training.faults import STAGES, Fault
from resseg.training.prepare import prepare
from resseg.training.program import Programs

DEVICES, CLASSES = 4, 7
BLOCK1, BLOCK2 = "backbone/stage1/block1", "backbone/stage2/block1"
NAN, INF = np.float32(np.nan), np.float32(np.inf)


class Subject:
    """A step on four devices, of one image each, and its one examiner."""

    def __init__(self, overrides, folder):
        config, programs = resseg.load_config("quickstart", overrides), Programs()
        prepared = prepare(config, folder, programs)
        self.mesh = prepared.mesh
        program = programs(config, prepared.spec, self.mesh)
        self.examiner = Examiner(program, config, CLASSES, self.mesh)
        self.state = program.begin(config)
        self.batch = {name: a.copy() for name, a in next(prepared.loader).items()}
        prepared.loader.close()

    def faults(self, state=None, batch=None):
        batch = sharding.put_batch(batch or self.batch, sharding.by_batch(self.mesh))
        return self.examiner(state or self.state, batch, jax.random.key(0))

    def put(self, value):
        return jax.device_put(value, sharding.replicated(self.mesh))


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    overrides = {
        **tiny_shapes(tmp_path_factory.mktemp("data")),
        "model.backbone.width": 8,
        "model.backbone.stage_sizes": (1, 1),
        "model.backbone.stage_strides": (2, 2),
        "model.backbone.output_stride": 4,
        "mesh.data": DEVICES,
        "optim.ema": 0.9,
    }
    return Subject(overrides, tmp_path_factory.mktemp("run"))


def changed(subject, tree, path, value, *, whole=False):
    """The tree with one entry of the leaf at `path`, or all, replaced by `value`."""
    flat = traverse_util.flatten_dict(tree, sep="/")
    leaf = np.array(flat[path])
    leaf.reshape(-1)[slice(None) if whole else slice(0, 1)] = value
    flat[path] = subject.put(leaf)
    return traverse_util.unflatten_dict(flat, sep="/")


def in_image(index, value):
    def inject(subject):
        image = subject.batch["image"].copy()
        image[index, 3, 4, 1] = value
        return {"batch": subject.batch | {"image": image}}

    return inject


def in_label(index, value):
    """An integer has no NaN: what a float that is none becomes in it."""

    def inject(subject):
        label = subject.batch["label"].copy()
        label[index, 3, 4] = value
        return {"batch": subject.batch | {"label": label}}

    return inject


def in_state(part, path, value, *, whole=False):
    def inject(subject):
        tree = changed(subject, getattr(subject.state, part), path, value, whole=whole)
        return {"state": subject.state.replace(**{part: tree})}

    return inject


def in_coefficients(values):
    """Coefficients that stay, by path."""

    def inject(subject):
        lines = subject.state.schedules
        for path, value in values.items():
            line = np.array([value, value, 0, 1], np.float32)
            lines = changed(subject, lines, path, line, whole=True)
        return {"state": subject.state.replace(schedules=lines)}

    return inject


def on_one_device(device, path, value):
    def inject(subject):
        flat = traverse_util.flatten_dict(subject.state.params, sep="/")
        arrays = []
        for index, where in enumerate(subject.mesh.devices.flat):
            leaf = np.array(flat[path])
            leaf.reshape(-1)[0] = value if index == device else leaf.reshape(-1)[0]
            arrays.append(jax.device_put(leaf, where))
        flat[path] = jax.make_array_from_single_device_arrays(
            flat[path].shape, sharding.replicated(subject.mesh), arrays
        )
        params = traverse_util.unflatten_dict(flat, sep="/")
        return {"state": subject.state.replace(params=params)}

    return inject


def in_optimizer(moment, path, value):
    def inject(subject):
        def replaced(node):
            if not hasattr(node, moment):
                return node
            tree = changed(subject, getattr(node, moment), path, value)
            return node._replace(**{moment: tree})

        adam = jax.tree.map(
            replaced, subject.state.opt_state, is_leaf=lambda node: hasattr(node, "mu")
        )
        return {"state": subject.state.replace(opt_state=adam)}

    return inject


def in_numbers(name, value):
    def inject(subject):
        numbers = subject.state.numbers | {name: subject.put(np.float32(value))}
        return {"state": subject.state.replace(numbers=numbers)}

    return inject


def cases():
    """50 injections, and the stage and part that has to be named first."""
    weights = (
        *("backbone/stem/conv/kernel", "backbone/stem/norm/batch/scale"),
        *(f"{BLOCK2}/branch/conv2/kernel", "head/classifier/conv/bias"),
    )
    coefficients = (
        *(f"{BLOCK1}/fork/shortcut", f"{BLOCK2}/fork/branch"),
        *(f"{BLOCK1}/shortcut_factor/factor", "backbone/long_skip_stem/skip"),
    )
    for value in (NAN, INF):
        for index in range(DEVICES):
            place = f"{index} of the batch (device {index} of {DEVICES})"
            yield in_image(index, value), "image", place
        for path in weights:
            yield in_state("params", path, value), "parameter", path
        for path in coefficients:
            yield in_coefficients({path: value}), "coefficient", path
        statistic = f"{BLOCK1}/branch/norm1/batch/var"
        yield in_state("batch_stats", statistic, value), "statistic", statistic
        for moment in ("mu", "nu"):
            path = f"{BLOCK2}/branch/conv1/kernel"
            yield in_optimizer(moment, path, value), "optimizer", f"{moment}/{path}"
        yield in_state("ema", weights[0], value), "average", weights[0]
    for index in (0, 3):
        for value in (np.iinfo(np.int32).min, CLASSES):
            yield in_label(index, value), "label", f"{index} of the batch"
    for device in range(DEVICES):
        place = f"{weights[0]} (device {device} of {DEVICES})"
        yield on_one_device(device, weights[0], NAN), "parameter", place
    # Finite, and too large for what is computed with it.
    huge = np.float32(3e38)
    for path, module in (
        ("backbone/stem/conv/kernel", "backbone/stem/conv"),
        (f"{BLOCK1}/branch/conv2/kernel", f"{BLOCK1}/branch/conv2"),
        (f"{BLOCK2}/shortcut/norm/batch/scale", f"{BLOCK2}/shortcut/norm/batch"),
    ):
        yield in_state("params", path, huge, whole=True), "forward", module
    for index in (0, CLASSES - 1):
        scores = np.where(np.arange(CLASSES) == index, huge, -huge)
        path = "head/classifier/conv/bias"
        yield in_state("params", path, scores, whole=True), "loss", "cross_entropy"
    factor = {f"{BLOCK2}/shortcut_factor/factor": huge}
    yield in_coefficients(factor), "forward", f"{BLOCK2}/shortcut_factor"
    for way in ("shortcut", "branch"):
        both = {f"{block}/fork/{way}": 1e30 for block in (BLOCK1, BLOCK2)}
        yield in_coefficients(both), "backward", f"fork {BLOCK1}, path {way}"
    path = "head/classifier/conv/kernel"
    yield in_optimizer("nu", path, np.float32(-1)), "update", path
    first = f"{BLOCK1}/branch/conv1/kernel"
    yield in_numbers("learning_rate", INF), "update", first


CASES = list(cases())


def test_a_step_that_is_finite_has_no_fault(subject):
    assert subject.faults() == []


@pytest.mark.parametrize(
    ("inject", "stage", "name"), CASES, ids=[f"{s} {n}" for _, s, n in CASES]
)
def test_what_was_injected_is_named_first(subject, inject, stage, name):
    (first, *others) = subject.faults(**inject(subject))
    assert (first.stage, first.name) == (stage, name)
    places = [STAGES.index(fault.stage) for fault in (first, *others)]
    assert places == sorted(set(places))


def test_fifty_places():
    assert len(CASES) == 50
    assert {stage for _, stage, _ in CASES} == {*STAGES}


def test_how_much_of_it_is_said(subject):
    image = subject.batch["image"].copy()
    image[1, 0, 0], image[1, 0, 1] = np.nan, -np.inf
    first, *_ = subject.faults(batch=subject.batch | {"image": image})
    words = "3 NaN, 3 infinite of 3,072 entries"
    assert first == Fault("image", "1 of the batch (device 1 of 4)", words)
    assert str(first) == f"image 1 of the batch (device 1 of 4): {words}"


def test_an_update_without_an_end_is_a_fault(subject):
    """Finite, but the sum of its squares is not: what is next is not finite."""
    (fault,) = subject.faults(**in_numbers("learning_rate", 1e30)(subject))
    assert fault.stage == "update"
    assert fault.detail == "finite, but its squares add up to more than float32 holds"
