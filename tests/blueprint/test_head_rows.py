"""A head is one row: a toy head, put into the table, is known wherever heads are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.blueprint.blueprint import Blueprint
from resseg.cli.main import main
from resseg.config.heads import ADD, HEADS, Head
from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.models.heads.fcn import deepest
from resseg.models.layers import Classifier, Conv
from resseg.models.resizing import resize_nearest
from resseg.models.shortcuts import LongSkip
from resseg.sweeps.study import load_study
from resseg.training.run import train_and_evaluate
from tests.conftest import QUICKSTART


class Toy(nn.Module):
    """One long skip, joined by addition, and scores."""

    num_classes: int
    skips: tuple[str, ...]
    skip_scales: tuple[float, ...]
    separable: bool
    gated: bool = False
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        x = features[deepest(features)]
        for stage, scale in zip(self.skips, self.skip_scales, strict=True):
            skip = LongSkip(scale, self.gated, name=f"skip_factor_{stage}")(
                features[stage]
            )
            x = resize_nearest(x, skip.shape[1:3])
            x = Conv(skip.shape[-1], 1, name=f"merge_{stage}")(x) + skip
        return Classifier(self.num_classes, 0.0, self.dtype, name="classifier")(
            x, train
        )


@pytest.fixture
def toy(monkeypatch):
    row = Head(
        f"{__name__}:Toy",
        stages=3,
        skips=lambda stages: stages[:1],
        joins=(ADD,),
        keys={"separable": "pyramid"},
    )
    monkeypatch.setitem(HEADS, "toy", row)


def config_of(tiny_overrides, **overrides):
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(QUICKSTART, tiny_overrides | {"model.head.name": "toy"} | keys)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model__head__name": "tooy"}, r", toy \(did you mean 'toy'\?\)"),
        ({"model__long_skip__kind": "concat"}, "head 'toy' can only add"),
        ({"model__long_skip__scale": (1.0, 0.5)}, "or 1, one per long skip; got 2"),
        ({"model__head__channels": (8,)}, "head 'toy' has no decoder"),
        ({"model__head__width": 8}, "head 'toy' has no pyramid"),
        ({"model__head__convs": (1, 1)}, "head 'toy' has no such layers"),
        (
            {
                "model__backbone__stage_sizes": (1, 1),
                "model__backbone__stage_strides": (1, 2),
                "model__backbone__output_stride": 0,
            },
            "needs 3 stages in the backbone, which has 2",
        ),
    ],
)
def test_rules_know_a_head_by_its_row(toy, tiny_overrides, overrides, message):
    config_of(tiny_overrides)
    with pytest.raises(UserError, match=message):
        config_of(tiny_overrides, **overrides)


def test_its_own_keys_are_refused_elsewhere_and_taken_here(toy, tiny_overrides):
    assert config_of(tiny_overrides, model__head__separable=True).model.head.separable


def test_sweeps_describe_and_training_know_it(toy, tiny_overrides, tmp_path, capsys):
    study = tmp_path / "study.py"
    study.write_text(
        '"""Does a toy head need its long skip?"""\n'
        f'CONFIG = "{QUICKSTART}"\n'
        "def runs():\n"
        "    for scale in (1.0, 0.5):\n"
        '        yield {"model.head.name": "toy", "model.long_skip.scale": scale}\n'
    )
    assert len(load_study(study).runs) == 2

    settings = ["--config", str(QUICKSTART), "--config.model.head.name=toy"]
    assert main(["describe", *settings]) == 0
    told = capsys.readouterr().out
    assert "toy on ResNet" in told and "merge_stage1" in told

    config = config_of(tiny_overrides, train__steps=2, model__long_skip__scale=0.5)
    plan = Blueprint.of(config, 7)
    assert [fork.name for fork in plan.forks(1) if fork.kind == "long_skip"] == [
        "backbone/long_skip_stage1"
    ]
    scale = plan.paths(config)["head"]["skip_factor_stage1"]["factor"]
    assert scale == np.float32(0.5)
    scores = train_and_evaluate(config, tmp_path / "run")
    assert 0 <= scores["mean_iou"] <= 1
