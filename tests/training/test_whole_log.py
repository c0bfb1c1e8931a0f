"""One training with everything on: each number of its log, computed again by hand.

At the level of optimisation that users run. The other side is `by_hand`, in float64:
another network, loss, optimizer and average, from the same batches and first weights.
"""

import contextlib
import functools

import by_hand
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from scipy import ndimage
from tiny import tiny_shapes

import resseg
from resseg import runs, sharding
from resseg.config.load import load_config
from resseg.data import pipeline, sources
from resseg.runs import layout
from resseg.training import run as train
from resseg.training.batch_hash import as_text, batch_hash
from resseg.training.program import Programs

pytestmark = [pytest.mark.bits]
if jax.__version_info__ < (0, 12):  # which compiles it for minutes
    pytestmark.append(pytest.mark.slow)
# Of the other side any level will do.
jitted = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)

SEED, STEPS, CLASSES, SIDE, BATCH = 3, 5, 7, 32, 4
LINES = {  # of the coefficients that move: from, to, first step, last step
    "backbone/stage1/block1/fork/shortcut": (1.0, 0.2, 0, 4),
    "backbone/stage1/block2/fork/shortcut": (0.6, 0.6, 0, 0),
    "backbone/stage2/block1/fork/shortcut": (0.9, 0.5, 1, 3),
}
SHORTCUT = (
    '{"linear": [1.0, 0.2, 0, 4]}',
    0.6,
    '{"linear": [0.9, 0.5, 1, 3]}',
)
PATHS = {
    "model.shortcut.scale": ("shortcut_factor/factor", (0.9, 1.1, 0.8)),
    "model.gradient.branch_in": ("fork/branch", (0.7, 1.2, 0.9)),
    "model.gradient.branch_out": ("branch_out", (1.3, 0.8, 0.9)),
    "model.gradient.bypass": ("bypass", (0.1, 0.3, 0.2)),
    "model.gradient.detach_rate": ("detach_rate", (0.4, 0.25, 0.5)),
}
SKIPS = {"model.gradient.long_skip": (0.8, 0.6), "model.long_skip.scale": (0.9, 0.7)}
STARTS = {"model.branch.scale": (0.9, 0.7, 1.2), "model.shortcut.gate_bias": (-1, 0, 1)}
SETTINGS = {
    "side": SIDE,
    "dropout": 0.2,
    "stochastic_depth": 0.5,
    "detach": PATHS["model.gradient.detach_rate"][1],
    "head_dropout": 0.25,
    "aux_weight": 0.35,
    "terms": {"cross_entropy": 1.0, "dice": 0.5, "focal": 0.25},
    "label_smoothing": 0.1,
    "class_weights": (0.5, 1.0, 1.5, 2.0, 1.2, 0.7, 3.0),
    "gamma": 1.5,
    "peak": 0.01,
    "warmup": 2,
    "steps": STEPS,
    "end_factor": 0.1,
    "b1": 0.8,
    "b2": 0.95,
    "weight_decay": 0.05,
    "backbone_factor": 0.5,
    "clip": 0.9,
    "ema": 0.15,
}
KEYS = {
    "seed": SEED,
    "model.backbone.stage_sizes": (2, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.width": 8,
    "model.backbone.output_stride": 4,
    "model.backbone.dropout": SETTINGS["dropout"],
    "model.backbone.stochastic_depth": SETTINGS["stochastic_depth"],
    "model.shortcut.kind": "gate_exclusive",
    "model.branch.learn": "channel",
    "model.gradient.shortcut": SHORTCUT,
    "model.gradient.aux": 0.65,
    **{key: values for key, (_, values) in PATHS.items()},
    **SKIPS,
    **STARTS,
    "model.long_skip.kind": "gate",
    "model.head.dropout": SETTINGS["head_dropout"],
    "model.aux.weight": SETTINGS["aux_weight"],
    **{f"loss.terms.{name}": x for name, x in SETTINGS["terms"].items()},
    "loss.label_smoothing": SETTINGS["label_smoothing"],
    "loss.class_weights": SETTINGS["class_weights"],
    "loss.focal_gamma": SETTINGS["gamma"],
    "optim.learning_rate": SETTINGS["peak"],
    "optim.warmup_steps": SETTINGS["warmup"],
    "optim.end_factor": SETTINGS["end_factor"],
    "optim.b1": SETTINGS["b1"],
    "optim.b2": SETTINGS["b2"],
    "optim.weight_decay": SETTINGS["weight_decay"],
    "optim.backbone_factor": SETTINGS["backbone_factor"],
    "optim.clip_norm": SETTINGS["clip"],
    "optim.ema": SETTINGS["ema"],
    "train.steps": STEPS,
    "log.every": 1,
    "log.gradients.every": 2,
    "eval.every": 3,
    "eval.boundary": 0.06,
    "eval.predictions": 0,
    "checkpoint.every": 2,
    "mesh.data": 1,
}
# By the first part of the path that fits, so that the order matters.
GROUPS = (
    *(name for name, _, _ in by_hand.BLOCKS),
    "backbone/stem",
    "head/decoder1",
    "head/decoder2",
    "head/classifier",
    "head/skip_factor_stage1",
    "head/skip_factor_stem",
    "aux/conv",
    "aux/classifier",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    shapes = tiny_shapes(tmp_path_factory.mktemp("data"))
    return load_config("quickstart", shapes | KEYS)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train.train_and_evaluate(config, folder)
    return resseg.open_run(folder)


def flat(tree):
    leaves = flatten_dict(jax.device_get(dict(tree)), sep="/")
    return {path: np.asarray(leaf, np.float64) for path, leaf in leaves.items()}


def paths_at(step):
    """The collection, from the numbers of the config, by hand."""
    names = [name for name, _, _ in by_hand.BLOCKS]
    paths = {path: by_hand.on_line(line, step) for path, line in LINES.items()}
    for leaf, values in PATHS.values():
        paths |= {f"{n}/{leaf}": x for n, x in zip(names, values, strict=True)}
    paths |= {f"{name}/fork/gate": 1.0 for name in names}
    paths |= {"backbone/auxiliary_stage1/aux": 0.65}
    paths |= {"backbone/auxiliary_stage1/deeper": 1.0}
    backward, forward = SKIPS.values()
    for i, stage in enumerate(("stem", "stage1")):
        paths[f"backbone/long_skip_{stage}/skip"] = backward[i]
        paths[f"backbone/long_skip_{stage}/deeper"] = 1.0
        paths[f"head/skip_factor_{stage}/factor"] = forward[i]
    return paths


def zeros_of(forks):
    """One array of zeros for each path of each fork."""
    return {
        f"{name} {way}": np.zeros(shape)
        for name, shape in forks.items()
        for way in WAYS[kind_of(name)]
    }


WAYS = {
    "block": ("shortcut", "branch", "gate"),
    "auxiliary": ("aux", "deeper"),
    "long_skip": ("skip", "deeper"),
}


def kind_of(name):
    return next(kind for kind in WAYS if kind in name.rpartition("/")[2])


def confusion_of(label, guess):
    valid = label != by_hand.VOID
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (label[valid], guess[valid]), 1)
    return counts


def mean_iou_of(confusion):
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return np.mean(hits[union > 0] / union[union > 0])


@contextlib.contextmanager
def wide():
    """float64, and channels meet pictures as numpy has it."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def by_steps(config):
    """What each step measures, and weights, averages and statistics after it."""
    spec = sources.dataset_spec(config.data)
    begun = Programs()(config, spec, sharding.make_mesh(1)).begin(config)
    params, statistics = flat(begun.params), flat(begun.batch_stats)
    zero = {path: np.zeros_like(leaf) for path, leaf in params.items()}
    state = {"params": params, "m": dict(zero), "v": dict(zero)}
    ema, loader, shapes = dict(params), pipeline.TrainLoader(config.data, SEED), {}

    def forward(params, zeros, statistics, paths, draws, image, label):
        run = by_hand.Forward(params, statistics, paths, draws, zeros)
        logits, aux = run(image)
        shapes.update(run.forks)
        value, parts = by_hand.losses(logits, label, SETTINGS)
        parts["aux"], _ = by_hand.losses(aux, label, SETTINGS)
        value = value + SETTINGS["aux_weight"] * parts["aux"]
        return value, (parts, run.statistics, logits, run.addends)

    both = jitted(jax.value_and_grad(forward, (0, 1), has_aux=True))
    steps = []
    for step in range(STEPS):
        batch, draws = next(loader), by_hand.draws_of(SEED, step, SETTINGS, BATCH)
        with wide():
            image, label = batch["image"].astype(np.float64), batch["label"]
            paths = paths_at(step)
            inputs = (statistics, paths, draws, image, label)
            if not shapes:
                jax.eval_shape(forward, params, None, *inputs)
            result = both(params, zeros_of(shapes), *inputs)
            (value, aside), (gradients, taps) = jax.device_get(result)
        parts, statistics, logits, addends = aside
        update, norm, clip, rate = by_hand.adamw(state, gradients, step, SETTINGS)
        before, params = params, {k: x + update[k] for k, x in params.items()}
        state["params"] = params
        ema = by_hand.averaged(ema, params, step, SETTINGS)
        scalars = {
            "loss": value,
            **parts,
            "grad_norm": norm,
            "clip_factor": clip,
            "learning_rate": rate,
            "mean_iou": mean_iou_of(confusion_of(label, logits.argmax(-1))),
        }
        steps.append(
            {
                "batch_hash": as_text(batch_hash(batch)),
                "scalars": scalars,
                "forks": dict(shapes),
                "taps": taps,
                "addends": addends,
                "before": before,
                "gradients": gradients,
                "updates": update,
                "params": params,
                "ema": ema,
                "statistics": statistics,
            }
        )
    return steps


def assert_close(found, expected, what, rtol=1e-4, atol=1e-7):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=what)


def rows_of(run, split):
    return [row for row in runs.read_metrics(run.path) if row["split"] == split]


def test_the_metrics_of_every_step(trained, by_steps):
    rows = rows_of(trained, "train")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    for row, measured in zip(rows, by_steps, strict=True):
        kept = {"batch_hash": measured["batch_hash"], "split": "train"}
        expected = {"step": row["step"], **kept, **measured["scalars"]}
        assert row.keys() == expected.keys()
        assert {name: row[name] for name in kept} == kept
        for name, value in measured["scalars"].items():
            # A pixel or two may fall on the other side in float32.
            atol = 2e-3 if name == "mean_iou" else 1e-6
            assert_close(row[name], value, f"step {row['step']} {name}", atol=atol)
    void = by_steps[0]["scalars"]["loss_pixels"] - BATCH * SIDE**2
    assert void < 0  # there is some
    clips = [step["scalars"]["clip_factor"] for step in by_steps]
    assert min(clips) < 1  # and it was clipped
    rates = [step["scalars"]["learning_rate"] for step in by_steps]
    assert rates[0] == 0 and rates[2] == SETTINGS["peak"] > rates[3] > rates[4] > 0


def test_the_coefficients_of_every_step(trained, by_steps):
    rows = rows_of(trained, "coefficients")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    for step, (row, measured) in enumerate(zip(rows, by_steps, strict=True)):
        expected = {"step": step + 1, "split": "coefficients"}
        for path, line in LINES.items():
            if line[0] != line[1]:
                name = f"{path.removesuffix('/fork/shortcut')} gradient shortcut"
                expected[name] = by_hand.on_line(line, step)
        before = measured["before"]
        for name, _, _ in by_hand.BLOCKS:
            expected[f"{name} W_r"] = before[f"{name}/branch_factor/factor"].mean()
            expected[f"{name} gate bias"] = before[f"{name}/gate/bias"].mean()
        for stage in ("stem", "stage1"):
            name = f"head/skip_factor_{stage}"
            expected[f"{name} gate bias"] = before[f"{name}/gate/bias"].mean()
        assert row.keys() == expected.keys()
        for name in expected.keys() - {"step", "split"}:
            assert_close(row[name], expected[name], name, atol=1e-6)


def fork_rows(step, measured):
    """Rows of the gradient log by hand, from whole cotangents."""
    pixels = measured["scalars"]["loss_pixels"]
    for depth, (name, shape) in enumerate(measured["forks"].items()):
        kind = kind_of(name)
        sent = {way: measured["taps"][f"{name} {way}"] for way in WAYS[kind]}
        squares = {way: np.sum(g**2) for way, g in sent.items()}
        pair = list(sent.values()) if len(sent) == 2 else None
        values = measured["addends"].get(name)
        for way, square in squares.items():
            adds = dict(zip(WAYS["block"], values or (), strict=False))
            yield {
                "step": step,
                "depth": depth,
                "fork": name,
                "kind": kind,
                "path": way,
                "l2": np.sqrt(square),
                "rms": rms(sent[way]),
                "site": rms(sent[way]) * pixels,
                "share": square / sum(squares.values()),
                "cosine": cosine(*pair) if pair else np.nan,
                "value_rms": rms(adds[way]) if way in adds else np.nan,
                "value_cosine": cosine(*values) if values else np.nan,
                "total_l2": np.sqrt(np.sum(sum(sent.values()) ** 2)),
                "nonfinite": 0,
                "numel": np.prod(shape),
                "loss_pixels": pixels,
                "loss_scale": 1.0,
                "clip_factor": measured["scalars"]["clip_factor"],
            }


def rms(x):
    return np.sqrt(np.mean(x**2))


def cosine(a, b):
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


def test_every_column_of_the_gradients(trained, by_steps):
    found = trained.gradients.to_dict("records")
    expected = [row for n in (2, 4) for row in fork_rows(n, by_steps[n - 1])]
    assert [list(row) for row in found] == [list(row) for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        what = f"step {row['step']} {row['fork']} {row['path']}"
        for name, value in wanted.items():
            if isinstance(value, str):
                assert row[name] == value, what
            else:
                atol = 2e-4 if name.endswith("cosine") else 1e-7
                assert_close(row[name], value, f"{what} {name}", atol=atol)
    assert {row["kind"] for row in found} == {"block", "long_skip", "auxiliary"}


def by_group(tree):
    squares = dict.fromkeys(GROUPS, 0.0)
    for path, leaf in tree.items():
        squares[next(g for g in GROUPS if path.startswith(f"{g}/"))] += np.sum(leaf**2)
    return {group: np.sqrt(square) for group, square in squares.items()}


def test_every_column_of_the_blocks(trained, by_steps):
    table = trained.blocks.set_index(["step", "block"])
    assert sorted(table.index) == sorted((n, group) for n in (2, 4) for group in GROUPS)
    columns = ("params_l2", "grad_l2", "update_l2")
    assert list(table.columns) == [*columns, "update_ratio"]
    for step in (2, 4):
        measured = by_steps[step - 1]
        trees = (measured[key] for key in ("before", "gradients", "updates"))
        norms = dict(zip(columns, map(by_group, trees), strict=True))
        for group in GROUPS:
            row, expected = (
                table.loc[(step, group)],
                {name: norm[group] for name, norm in norms.items()},
            )
            expected["update_ratio"] = expected["update_l2"] / expected["params_l2"]
            for name, value in expected.items():
                assert_close(row[name], value, f"step {step} {group} {name}")


def test_what_the_last_checkpoint_holds(trained, by_steps):
    """Averages are what is evaluated; statistics are not averaged."""
    last, saved = by_steps[-1], trained.variables(STEPS)
    assert flat(saved["paths"]).keys() == paths_at(0).keys()
    for path, value in paths_at(STEPS - 1).items():
        assert_close(flat(saved["paths"])[path], value, path)
    for name, key in (("params", "ema"), ("batch_stats", "statistics")):
        found = flat(saved[name])
        assert found.keys() == last[key].keys()
        for path, value in last[key].items():
            size = np.abs(value).max() + 1e-3
            assert_close(found[path], value, path, atol=2e-3 * size)


def boundary_of(label, guess, share):
    """Pixels in both bands and in either, by scipy's erosion."""
    width = max(1, round(share * np.hypot(*label.shape)))
    square = np.ones((2 * width + 1,) * 2)
    valid, counts = label != by_hand.VOID, np.zeros((CLASSES, 2), np.int64)
    for index in range(CLASSES):
        bands = []
        for mask in (label, guess):
            region = valid & (mask == index)
            bands.append(region & ~ndimage.binary_erosion(region, square))
        counts[index] = (bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum()
    return counts


def test_every_score_of_both_evaluations(trained, config, by_steps):
    rows = rows_of(trained, "val")
    assert [row["step"] for row in rows] == [3, 5]
    source = sources.open_split(config.data, "val")

    @jitted
    def scored(ema, statistics, paths, image):
        return by_hand.Forward(ema, statistics, paths, None, None)(image)[0]

    mean, std = np.asarray(config.data.mean), np.asarray(config.data.std)
    for row in rows:
        measured = by_steps[row["step"] - 1]
        paths = paths_at(row["step"] - 1)
        confusion = np.zeros((CLASSES, CLASSES), np.int64)
        boundary = np.zeros((CLASSES, 2), np.int64)
        for i in range(len(source)):
            image = (source[i]["image"] / 255 - mean) / std
            with wide():
                given = measured["ema"], measured["statistics"], paths, image[None]
                logits = jax.device_get(scored(*given))
            label, guess = source[i]["mask"], logits[0].argmax(-1)
            confusion += confusion_of(label, guess)
            boundary += boundary_of(label, guess, 0.06)
        hits, true, guessed = np.diag(confusion), confusion.sum(1), confusion.sum(0)
        with np.errstate(invalid="ignore"):
            expected = {
                "iou": hits / (true + guessed - hits),
                "dice": 2 * hits / (true + guessed),
                "class_accuracy": hits / true,
                "boundary_iou": boundary[:, 0] / boundary[:, 1],
            }
        means = {
            "mean_iou": "iou",
            "mean_dice": "dice",
            "mean_class_accuracy": "class_accuracy",
            "mean_boundary_iou": "boundary_iou",
        }
        expected |= {name: np.nanmean(expected[of]) for name, of in means.items()}
        expected["pixel_accuracy"] = hits.sum() / confusion.sum()
        assert row.keys() == {"step", "split", *expected}
        for name, value in expected.items():
            assert_close(np.asarray(row[name], float), value, name, atol=3e-3)
    best = max(rows, key=lambda row: row["mean_iou"])["step"]
    assert [int(p.name) for p in (trained.path / layout.BEST).iterdir()] == [best]


def test_the_clock_counts_images_of_the_batch(trained):
    timing = trained.timing
    assert timing["step"].tolist() == [1, 2, 3, 4, 5]
    assert_close(timing["seconds_per_step"] * timing["images_per_second"], BATCH, "")
    assert timing["data_wait"].between(0, 1).all()
