"""Loading, overriding, comparing and refusing configs."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resseg import runs
from resseg.config import keys
from resseg.config.heads import HEADS
from resseg.config.load import (
    check_against_data,
    describe,
    diff,
    flatten,
    load_config,
    parse,
    validate,
)
from resseg.config.rows import KEYS
from resseg.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "configs" / "quickstart.py"
EXPERIMENTS = sorted(
    path
    for path in (ROOT / "configs").rglob("*.py")
    if path.name not in ("__init__.py", "base.py")
)
EXPERIMENT = """
from resseg.config import base

def get_config():
    config = base.get_config()
{lines}
    return config
"""


def experiment(folder, *lines):
    path = folder / "experiment.py"
    path.write_text(EXPERIMENT.format(lines="\n".join(f"    {line}" for line in lines)))
    return path


def refused(**overrides):
    """The message for overrides written with `__` in place of dots."""
    with pytest.raises(UserError) as error:
        load_config(QUICKSTART, {k.replace("__", "."): v for k, v in overrides.items()})
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_experiment_is_valid_and_says_how_to_run_it(path):
    load_config(path)
    name = path.relative_to(ROOT / "configs").with_suffix("")
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert f"\nresseg train --config {name} --workdir runs/" in docstring
    assert re.search(r"\b(min|minutes|seconds|hours)\b", docstring), "how long it takes"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_experiment_can_be_tried_for_a_few_steps(path):
    """A long warm-up would refuse the shortest of trials."""
    assert load_config(path, {"train.steps": 5}).train.steps == 5


def test_overrides_land_and_the_rest_stays(tmp_path):
    path = experiment(tmp_path, "config.train.steps = 7", "config.seed = 3")
    config = load_config(path, {"train.steps": 5, "model.head.name": "fcn"})
    assert diff(config, keys.base_config()) == [
        ("model.head.name", "fcn", "unet"),
        ("seed", 3, 0),
        ("train.steps", 5, 300),
    ]


def test_the_tiny_run_of_other_tests_is_a_valid_config(tiny_config, data_dir):
    assert tiny_config.data.dir == str(data_dir)
    assert tiny_config.data.crop == (32, 32) and tiny_config.train.steps == 4


def test_config_is_locked():
    config = load_config(QUICKSTART)
    with pytest.raises(AttributeError):
        config.optim.learning_rat = 1.0


def test_ints_of_float_keys_become_floats_and_lists_tuples(tmp_path):
    path = experiment(
        tmp_path, "config.optim.learning_rate = 1", "config.data.crop = [64, 96]"
    )
    config = load_config(path, {"data.scale": [1, 2], "loss.terms.dice": 1})
    assert type(config.optim.learning_rate) is float
    assert config.data.crop == (64, 96) and type(config.data.crop) is tuple
    assert config.data.scale == (1.0, 2.0) and type(config.data.scale[0]) is float
    assert type(config.loss.terms.dice) is float


def test_a_number_or_one_per_block():
    factors = (1.0, 0.5, 0.25, 0.0)
    config = load_config(QUICKSTART, {"model.shortcut.scale": list(factors)})
    assert config.model.shortcut.scale == factors
    assert (
        load_config(QUICKSTART, {"model.shortcut.scale": 0}).model.shortcut.scale == 0
    )


def test_an_experiment_file_may_set_a_list_where_base_has_a_number(tmp_path):
    path = experiment(
        tmp_path,
        "with config.ignore_type():",
        "    config.model.gradient.long_skip = (1, 1, 1, 0)",
        "    config.loss.class_weights = 'median_frequency'",
    )
    config = load_config(path)
    assert config.model.gradient.long_skip == (1.0, 1.0, 1.0, 0.0)
    assert config.loss.class_weights == "median_frequency"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("train.steps", "5", 5),
        ("optim.learning_rate", "1", 1.0),
        ("optim.learning_rate", "1e-3", 1e-3),
        ("log.tensorboard", "false", False),
        ("log.tensorboard", "True", True),
        ("model.head.name", "fcn", "fcn"),
        ("data.name", "123", "123"),
        ("model.backbone.block", "", ""),
        ("data.crop", "128,160", (128, 160)),
        ("data.crop", "(128, 160)", (128, 160)),
        ("data.crop", "[128, 160]", (128, 160)),
        ("data.rare_classes", "3", (3,)),
        ("data.rare_classes", "()", ()),
        ("data.rare_classes", "", ()),
        ("data.scale", "1,2", (1.0, 2.0)),
        ("model.shortcut.scale", "0.5", 0.5),
        ("model.shortcut.scale", "0.5,1", (0.5, 1.0)),
        ("model.gradient.long_skip", "(0.5,)", (0.5,)),
        ("loss.class_weights", "median_frequency", "median_frequency"),
        ("loss.class_weights", "1,1,8,8", (1.0, 1.0, 8.0, 8.0)),
        ("optim.clip_norm", "none", None),
        ("optim.clip_norm", "1", 1.0),
    ],
)
def test_text_is_read_by_the_type_of_the_key(key, text, value):
    read = parse(key, text)
    assert read == value and type(read) is type(value)
    if isinstance(value, tuple):
        assert [type(item) for item in read] == [type(item) for item in value]


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("train.steps", "abc", "config.train.steps=abc: expected int"),
        ("train.steps", "1.5", "config.train.steps=1.5: expected int"),
        ("train.steps", "none", "config.train.steps=none: expected int"),
        ("train.steps", "true", "config.train.steps=true: expected int"),
        ("log.tensorboard", "1", "config.log.tensorboard=1: expected true or false"),
        ("optim.ema", "nan", "config.optim.ema=nan: expected finite float"),
        ("data.crop", "a,b", "config.data.crop=a,b: expected list of ints"),
        (
            "optim.lr",
            "1",
            "config.optim.lr: no such key (did you mean 'optim.learning_rate'?)",
        ),
        ("optim.beta1", "1", "config.optim.beta1: no such key; config.optim holds b1,"),
        (
            "optim.decay",
            "1",
            "config.optim.decay: no such key (did you mean 'optim.weight_decay'?)",
        ),
        ("lr", "1", "config.lr: no such key (did you mean 'optim.learning_rate'?)"),
        (
            "train.eval_every",
            "1",
            "config.train.eval_every: no such key (did you mean 'eval.every'?)",
        ),
        ("model.head", "fcn", "config.model.head: a section, not a key; it holds"),
    ],
)
def test_text_of_another_type_is_refused(key, text, expected):
    with pytest.raises(UserError) as error:
        parse(key, text)
    assert str(error.value).startswith(expected)


def test_config_json_and_run_folder_reload_to_the_same_config(tmp_path):
    config = load_config(
        ROOT / "configs" / "road_defects" / "deeplab.py",
        {
            "model.gradient.pyramid": (1, 1, 0.5, 1, 1),
            "data.rare_classes": (),
            "data.dir": str(tmp_path),
        },
    )
    assert config.optim.clip_norm is None
    runs.write_config(tmp_path, config)
    assert load_config(tmp_path) == config
    assert load_config(tmp_path / "config.json") == config
    clipped = load_config(tmp_path, {"optim.clip_norm": 2})
    assert diff(clipped, config) == [("optim.clip_norm", 2.0, None)]
    again = load_config(tmp_path, {"optim.clip_norm": None})
    assert again == config and clipped != config
    reloaded = load_config(tmp_path)
    assert [type(v) for v in flatten(reloaded).values()] == [
        type(v) for v in flatten(config).values()
    ]


def test_a_stored_config_with_an_unknown_key_is_refused(tmp_path):
    stored = tmp_path / "config.json"
    stored.write_text(json.dumps({"optim": {"learning_rte": 1.0}}))
    with pytest.raises(UserError, match=r"did you mean 'optim.learning_rate'"):
        load_config(stored)
    stored.write_text("{")
    with pytest.raises(UserError, match="not readable as JSON"):
        load_config(stored)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["config.optim.learning_rat = 1"],
            "config.optim.learning_rat: no such key (did",
        ),
        (
            ["config.modle.norm = 'none'"],
            "line 6: `config.modle.norm = 'none'`: Attribut",
        ),
        (
            ["config.train.steps = 'abc'"],
            "line 6: `config.train.steps = 'abc'`: field 'steps': expected int, f",
        ),
        (
            ["x = 1", "config.seed = 1 / 0"],
            "line 7: `config.seed = 1 / 0`: ZeroDivisionE",
        ),
        (["config.seed ="], "line 6: invalid syntax"),
        (["import absent"], "line 6: `import absent`: ModuleNotFoundError"),
        (["return 3"], "needs a get_config() that returns a ConfigDict"),
        (
            ["config.loss.terms = {'dice': 1.0}"],
            "config.loss.terms.cross_entropy: missing; start from base.get_config()",
        ),
        (["config.model.head = 'fcn'"], "config.model.head"),
    ],
)
def test_a_broken_experiment_file_is_one_line_with_its_place(tmp_path, lines, expected):
    with pytest.raises(UserError) as error:
        load_config(experiment(tmp_path, *lines))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_paths_that_are_no_config(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty.py").write_text("")
    for path, expected in [
        (tmp_path / "absent.py", "no such config file"),
        (tmp_path, "not a run folder, it has no config.json"),
        (tmp_path / "notes.txt", "expected an experiment file"),
        (tmp_path / "empty.py", "needs a get_config()"),
    ]:
        with pytest.raises(UserError, match=re.escape(expected)):
            load_config(path)


CHOICES = {key: row.value.options for key, row in KEYS.items() if row.value.options}


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_wrong_names_show_the_choices(key):
    wrong = 7 if key.endswith("depth") else "nonsense"
    message = refused(**{key: wrong})
    assert message.startswith(f"config.{key}={wrong!r}: choose from ")
    assert all(str(option) in message for option in CHOICES[key])


# The quickstart has a U-Net on stages of 1, 1, 1, 1 blocks, output stride 16.
REFUSALS = [
    (
        {"model.head.name": "unett"},
        f"config.model.head.name='unett': choose from {', '.join(HEADS)} "
        "(did you mean 'unet'?)",
    ),
    (
        {"optim.learning_rat": 1.0},
        "config.optim.learning_rat: no such key (did you mean 'optim.learning_rate'?)",
    ),
    ({"steps": 1}, "config.steps: no such key (did you mean 'train.steps'?)"),
    ({"train.steps": "abc"}, "config.train.steps='abc': expected int"),
    ({"train.steps": True}, "config.train.steps=True: expected int"),
    ({"train.steps": 0}, "config.train.steps=0: expected above 0"),
    ({"seed": -1}, "config.seed=-1: expected 0 or above, below 2**32"),
    ({"data.flip": 1.5}, "config.data.flip=1.5: expected between 0 and 1"),
    ({"optim.clip_norm": 0}, "config.optim.clip_norm=0.0: expected above 0"),
    (
        {"optim.learning_rate": float("inf")},
        "config.optim.learning_rate=inf: expected finite float",
    ),
    (
        {"data.scale": (2, 1)},
        "config.data.scale=(2.0, 1.0): expected the smaller factor first",
    ),
    (
        {"data.crop": (96,)},
        "config.data.crop=(96,): expected 2 numbers, got 1",
    ),
    ({"data.name": ""}, "config.data.name='': expected a name"),
    (
        {"data.crop": (96, 100)},
        "config.data.crop=(96, 100): height and width must be multiples of the output "
        "stride 16, or such a multiple and 1",
    ),
    (
        {"data.crop": (1, 96)},
        "config.data.crop=(1, 96): height and width must be multiples of the output "
        "stride 16, or such a multiple and 1",
    ),
    (
        {"model.backbone.stage_strides": (2, 2)},
        "config.model.backbone.stage_strides=(2, 2): expected 4 numbers, one per "
        "stage, got 2",
    ),
    (
        {"model.backbone.stage_strides": (2, 2, 2, 3)},
        "config.model.backbone.stage_strides=(2, 2, 2, 3): expected 1 or 2",
    ),
    (
        {"model.backbone.output_stride": 32},
        "config.model.backbone.output_stride=32: stem '3x3' with stage_strides "
        "(2, 2, 2, 2) can have 16, 8, 4, 2",
    ),
    (
        {"model.backbone.output_stride": 8},
        "config.model.backbone.output_stride=8: head 'unet' decodes every stride of "
        "its backbone, expected 16 (a dilated backbone goes with an fcn or deeplab "
        "head)",
    ),
    (
        {
            "model.head.name": "fcn8s",
            "model.backbone.stage_sizes": (1, 1),
            "model.backbone.stage_strides": (2, 2),
            "model.backbone.output_stride": 4,
        },
        "config.model.head.name='fcn8s': needs 3 stages in the backbone, which has 2",
    ),
    (
        {
            "model.head.name": "fcn",
            "model.aux.weight": 0.4,
            "model.backbone.stage_sizes": (5,),
            "model.backbone.stage_strides": (1,),
            "model.backbone.output_stride": 1,
        },
        "config.model.aux.weight=0.4: needs 2 stages in the backbone, it has 1",
    ),
    (
        {"model.head.channels": (64, 32, 16)},
        "config.model.head.channels=(64, 32, 16): expected 4 numbers, one per decoder "
        "block, got 3",
    ),
    (
        {"model.head.name": "fcn", "model.head.channels": (64,)},
        "config.model.head.channels=(64,): head 'fcn' has no decoder",
    ),
    (
        {"model.head.rates": (1, 2, 3)},
        "config.model.head.rates=(1, 2, 3): head 'unet' has no pyramid",
    ),
    (
        {"model.head.name": "deeplabv3", "model.head.rates": (1, 2)},
        "config.model.head.rates=(1, 2): expected 0 or 3 numbers, got 2",
    ),
    (
        {"model.head.name": "deeplabv3", "model.backbone.output_stride": 4},
        "config.model.head.rates=(): output stride 4 needs 3 dilations (only 8, 16, 32 "
        "have defaults)",
    ),
    (
        {"model.shortcut.scale": (1, 2)},
        "config.model.shortcut.scale=(1.0, 2.0): expected one number or 4, one per "
        "block; got 2",
    ),
    (
        {"model.long_skip.scale": (1, 2)},
        "config.model.long_skip.scale=(1.0, 2.0): expected one number or 4, one per "
        "long skip; got 2",
    ),
    (
        {"model.head.name": "fcn", "model.gradient.long_skip": (1, 2)},
        "config.model.gradient.long_skip=(1.0, 2.0): expected one number, there is no "
        "long skip; got 2",
    ),
    (
        {"model.head.name": "deeplabv3", "model.gradient.pyramid": (1, 2, 3)},
        "config.model.gradient.pyramid=(1.0, 2.0, 3.0): expected one number or 5, one "
        "per pyramid branch; got 3",
    ),
    *(
        (
            {"model.shortcut.kind": "none", key: value},
            f"config.{key}={value!r}: impossible without shortcuts (kind 'none'), set "
            f"{neutral!r}",
        )
        for key, value, neutral in [
            ("model.shortcut.scale", 0.5, 1.0),
            ("model.gradient.shortcut", 0.5, 1.0),
            ("model.backbone.stochastic_depth", 0.2, 0.0),
            ("model.branch.init", "zero_gamma", "he"),
        ]
    ),
    (
        {"model.head.name": "deeplabv3plus", "model.long_skip.kind": "add"},
        "config.model.long_skip.kind='add': head 'deeplabv3plus' can only concatenate",
    ),
    (
        {"model.head.name": "fcn", "model.long_skip.kind": "none"},
        "config.model.long_skip.kind='none': head 'fcn' has no long skips",
    ),
    (
        {"model.long_skip.kind": "none", "model.gradient.long_skip": 0.5},
        "config.model.gradient.long_skip=0.5: impossible without long skips (kind "
        "'none')",
    ),
    *(
        (
            {
                "model.branch.init": "zero_gamma",
                "model.weight_standardization": True,
                key: value,
            },
            "config.model.branch.init='zero_gamma': the last kernel cannot be both "
            "zero and standardised",
        )
        for key, value in [
            ("model.norm", "none"),
            ("model.backbone.order", "pre"),
            ("model.backbone.variant", "v2"),
        ]
    ),
    *(
        (
            {key: value},
            f"config.{key}={value!r}: basic blocks have no such part, set {neutral!r} "
            "or block 'bottleneck'",
        )
        for key, value, neutral in [
            ("model.backbone.groups", 32, 1),
            ("model.backbone.group_width", 4, 64),
            ("model.backbone.stride_on", "1x1", ""),
        ]
    ),
    (
        {
            "model.backbone.block": "bottleneck",
            "model.backbone.groups": 32,
            "model.backbone.group_width": 4,
            "model.backbone.width": 8,
        },
        "config.model.backbone.width=8: width_factor and group_width leave the blocks "
        "no channel, expected at least 16",
    ),
    (
        {"model.backbone.width_factor": 0.05},
        "config.model.backbone.width=16: width_factor and group_width leave the blocks "
        "no channel, expected at least 20",
    ),
    (
        {"model.backbone.width_factor": 0},
        "config.model.backbone.width_factor=0.0: expected above 0",
    ),
    (
        {"model.backbone.stem": "deep", "model.backbone.width": 9}
        | {"model.backbone.output_stride": 64},
        "config.model.backbone.width=9: the deep stem halves it, expected even",
    ),
    (
        {"model.backbone.multi_grid": (1, 2, 4)},
        "config.model.backbone.multi_grid=(1, 2, 4): expected 1 numbers, one per block "
        "of the last stage, got 3",
    ),
    (
        {"model.backbone.multi_grid": (0,)},
        "config.model.backbone.multi_grid=(0,): expected above 0",
    ),
    (
        {"model.backbone.se_reduction": -1},
        "config.model.backbone.se_reduction=-1: expected 0 or above",
    ),
    (
        {"model.shortcut.kind": "none", "model.shortcut.transition": "D"},
        "config.model.shortcut.transition='D': impossible without shortcuts (kind "
        "'none'), set ''",
    ),
    (
        {"model.head.name": "resunet", "model.shortcut.transition": "A"},
        "config.model.shortcut.transition='A': the blocks of a resunet decoder lose "
        "channels, which 'A' cannot",
    ),
    (
        {"model.shortcut.kind": "conv1x1", "model.shortcut.transition": "A"},
        "config.model.shortcut.transition='A': has no 1x1 convolution and kind "
        "'conv1x1' has one everywhere",
    ),
    (
        {"model.backbone.width_factor": 0.5, "model.shortcut.transition": "A"},
        "config.model.shortcut.transition='A': a width_factor below 1 loses channels, "
        "which 'A' cannot",
    ),
    (
        {"model.head.name": "resunet", "model.shortcut.scale": (1, 1, 1, 1)},
        "config.model.shortcut.scale=(1.0, 1.0, 1.0, 1.0): expected one number or 8, "
        "one per block; got 4",
    ),
    (
        {"model.head.name": "resunet", "model.backbone.output_stride": 8},
        "config.model.backbone.output_stride=8: head 'resunet' decodes every stride of "
        "its backbone, expected 16 (a dilated backbone goes with an fcn or deeplab "
        "head)",
    ),
    (
        {"model.backbone.depth": 20},
        "config.model.backbone.stage_strides=(2, 2, 2, 2): expected 3 numbers, one per "
        "stage, got 4",
    ),
    (
        {"model.head.name": "deeplabv3", "model.head.rates": (6, 12, 6)},
        "config.model.head.rates=(6, 12, 6): expected 3 different dilations",
    ),
    *(
        ({key: value}, f"config.{key}={value!r}: head 'unet' has no pyramid")
        for key, value in [("model.head.width", 64), ("model.head.separable", True)]
    ),
    (
        {"model.head.name": "deeplabv3", "model.head.convs": (1, 1)},
        "config.model.head.convs=(1, 1): head 'deeplabv3' has no such layers",
    ),
    (
        {"model.head.name": "deeplabv3plus", "model.head.convs": (1,)},
        "config.model.head.convs=(1,): expected 2 numbers, got 1",
    ),
    (
        {"init.variables_from": "a", "init.backbone_from": "b"},
        "config.init.backbone_from='b': init.variables_from is set too",
    ),
    (
        {"loss.class_weights": "median"},
        "config.loss.class_weights='median': choose from median_frequency (did you "
        "mean 'median_frequency'?)",
    ),
    (
        {"loss.class_weights": (0, 0)},
        "config.loss.class_weights=(0.0, 0.0): expected at least one above 0",
    ),
    (
        {"loss.terms.cross_entropy": 0.0, "loss.terms.dice": 0.0},
        "config.loss.terms: expected at least one of boundary, cross_entropy, dice, "
        "focal, hausdorff, jaccard, lovasz, ohem, rmi, top_k, tversky above 0",
    ),
    (
        {"loss.terms.lovas": 1.0},
        "config.loss.terms.lovas: no such key (did you mean 'loss.terms.lovasz'?)",
    ),
    (
        {"loss.tversky_alpha": 0.0, "loss.tversky_beta": 0.0},
        "config.loss.tversky_beta=0.0: tversky_alpha is 0 too, expected above 0",
    ),
    (
        {"loss.terms.rmi": 1.0, "loss.rmi_stride": 99},
        "config.loss.rmi_stride=99: a region has 3 cells a side, expected at most 21 "
        "for crops of (64, 64)",
    ),
    (
        {"mesh.data": 3},
        "config.data.batch_size=8: expected a multiple of config.mesh.data=3",
    ),
    (
        {"mesh.data": -1, "mesh.space": -1},
        "config.mesh.space=-1: expected the number of devices that share an image, as "
        "config.mesh.data=-1 takes what is left; or config.mesh.data=1",
    ),
    (
        {"mesh.space": 0},
        "config.mesh.space=0: expected above 0, or -1",
    ),
    (
        {"mesh.space": 3, "data.crop": (64, 80), "model.backbone.output_stride": 16},
        "config.data.crop=(64, 80): expected a height divisible by 48: of stage4, at "
        "output stride 16, each of 3 devices (config.mesh.space) has 1.33 rows; "
        "nearest: 48, or config.mesh.space=2",
    ),
    (
        {"mesh.space": 2, "model.head.name": "pan", "data.crop": (64, 80)},
        "config.data.crop=(64, 80): expected a height divisible by 256: of stage4, at "
        "output stride 16, each of 2 devices (config.mesh.space) has 2 rows, and head "
        "'pan' needs a multiple of 8; nearest: 256, or config.mesh.space=1",
    ),
    *(
        (
            {"model.head.name": head, "model.long_skip.kind": kind},
            f"config.model.long_skip.kind={kind!r}: head {head!r} can only {can}",
        )
        for head, kind, can in [
            ("fpn", "concat", "add"),
            ("linknet", "concat", "add"),
            ("unetplusplus", "add", "concatenate"),
        ]
    ),
    (
        {"model.head.name": "pspnet", "model.long_skip.scale": (0.5,)},
        "config.model.long_skip.scale=(0.5,): expected one number, there is no long "
        "skip; got 1",
    ),
    (
        {"model.head.name": "unetplusplus", "model.gradient.pyramid": '{"stem2": 0.5}'},
        "config.model.gradient.pyramid='{\"stem2\": 0.5}': 'stem2' is none of stage3, "
        "stage2, stage1, stem, x_1_1, x_2_2, x_1_2, x_3_3, x_2_3, linear, depth, power "
        "(did you mean 'stem'?)",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSALS)
def test_refusals(overrides, message):
    assert refused(**overrides) == message


@pytest.mark.parametrize(
    "overrides",
    [
        {"model.head.name": "fcn16s", "model.long_skip.kind": "add"},
        {"model.head.name": "fcn8s", "model.long_skip.kind": "none"},
        {"model.head.name": "fcn8s", "model.long_skip.scale": (1.0, 0.5)},
        {"model.head.name": "fcn16s", "model.gradient.long_skip": (0.5,)},
        {"model.long_skip.kind": "none"},
        {"model.long_skip.scale": (1.0, 1.0, 1.0, 0.0)},
        {"model.head.channels": (64, 32, 16, 8)},
        {
            "model.backbone.stem": "7x7",
            "model.backbone.stage_strides": (1, 2, 2, 2),
            "model.backbone.output_stride": 32,
            "model.head.channels": (64, 32, 16, 8, 8),
        },
        {
            "model.head.name": "deeplabv3plus",
            "model.backbone.output_stride": 8,
            "model.gradient.pyramid": (1, 1, 1, 1, 0),
        },
        {
            "model.head.name": "deeplabv3",
            "model.backbone.output_stride": 4,
            "model.head.rates": (24, 48, 72),
        },
        {"model.shortcut.kind": "none"},
        {"model.gradient.branch_in": (0, 1, 1, 1)},
        {"model.branch.init": "zero_gamma", "model.norm": "group"},
        {"model.branch.init": "zero_gamma", "model.norm": "none"},
        {"model.branch.init": "zero_gamma", "model.backbone.order": "pre"},
        {"model.branch.init": "zero_gamma", "model.weight_standardization": True},
        {"model.backbone.width_factor": 2.0, "model.shortcut.transition": "A"},
        {
            "model.backbone.block": "bottleneck",
            "model.backbone.groups": 32,
            "model.backbone.group_width": 4,
            "model.backbone.stride_on": "1x1",
        },
        {"model.head.name": "resunet", "model.shortcut.scale": (1.0,) * 8},
        {
            "model.head.name": "deeplabv3plus",
            "model.backbone.output_stride": 8,
            "model.backbone.multi_grid": (2,),
            "model.head.convs": (1, 1),
            "model.head.separable": True,
        },
        {
            "model.head.name": "fcn",
            "model.backbone.stage_sizes": (5,),
            "model.backbone.stage_strides": (1,),
            "model.backbone.output_stride": 1,
            "data.crop": (97, 101),
        },
        {"mesh.data": 4, "loss.class_weights": "median_frequency"},
        {"data.crop": (513, 513)},
        {
            "model.head.name": "deeplabv3plus",
            "model.backbone.output_stride": 8,
            "data.crop": (321, 513),
        },
    ],
)
def test_possible_combinations_are_not_refused(overrides):
    config = load_config(QUICKSTART, overrides)
    for key, value in overrides.items():
        assert flatten(config)[key] == value


def test_validate_refuses_what_was_changed_after_loading():
    config = load_config(QUICKSTART)
    validate(config)
    config.train.steps = 0
    with pytest.raises(UserError, match=r"config.train.steps=0: expected above 0"):
        validate(config)


def test_classes_are_checked_against_the_data():
    config = load_config(
        QUICKSTART, {"loss.class_weights": (1, 1, 8), "data.rare_classes": (2,)}
    )
    check_against_data(config, 3)
    with pytest.raises(UserError, match="shapes has 4 classes, got 3 weights"):
        check_against_data(config, 4)
    uniform = load_config(QUICKSTART, {"data.rare_classes": (2,)})
    with pytest.raises(UserError, match="has classes 0 to 1, not 2"):
        check_against_data(uniform, 2)


def test_describe_aligns_and_marks_what_differs():
    config = load_config(QUICKSTART, {"seed": 4})
    lines = describe(config).splitlines()
    assert len(lines) == len(KEYS)
    assert len({line.index(" = ") for line in lines}) == 1
    starred = {line.split()[1] for line in lines if line.startswith("*")}
    assert starred == {key for key, _, _ in diff(config, keys.base_config())}
    assert re.search(r"(?m)^\* seed +  = 4  \(base: 0\)$", describe(config))


def test_diff_of_equal_configs_is_empty():
    assert diff(load_config(QUICKSTART), load_config(QUICKSTART)) == []


def test_loading_from_elsewhere_works_and_imports_no_jax(tmp_path):
    path = experiment(tmp_path, "config.seed = 11")
    code = (
        "import sys; from resseg.config.load import load_config; "
        f"assert load_config({str(path)!r}).seed == 11; "
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
