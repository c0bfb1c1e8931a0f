"""Claims of studies: what is refused when a study is read, what holds in a table."""

import json
import math

import pytest
from fake_sweeps import KIND, attempt, finish, write_sweep

from resseg.errors import UserError
from resseg.sweeps import ordering, ratio, threshold
from resseg.sweeps.study import load_study
from resseg.sweeps.table.table import load_table
from resseg.sweeps.table.words import claim as words

IDENTITY, NONE = {KIND: "identity"}, {KIND: "none"}
HEAD = "model.head.name"
WIDTH = "model.backbone.width"


def claims_of(study, text):
    head = "from resseg.sweeps import ordering, ratio, threshold\nCLAIMS = "
    return load_study(study(study.text + head + text)).claims


def test_claims_become_plain_values(study):
    found = claims_of(
        study,
        """[
        ordering("w", [{"model.backbone.width": 8, "seed": None},
                       {"model.backbone.width": 4, "data.crop": (32, 32)}],
                 metric="train_loss", lower=True, each=("seed",)),
        ratio("r", {}, {"model.backbone.width": 4}, at_least=2),
        threshold("t", {"optim.learning_rate": 1e-3}, at_most=.5, where={"seed": 1}),
        ]""",
    )
    assert json.loads(json.dumps(found)) == list(found)
    order, quotient, bound = found
    assert order == {
        "kind": "ordering",
        "name": "w",
        "selectors": [{WIDTH: 8}, {WIDTH: 4, "data.crop": [32, 32]}],
        "metric": "train_loss",
        "lower": True,
        "where": {},
        "each": ["seed"],
    }
    assert quotient["selectors"] == [{}, {WIDTH: 4}]
    assert (quotient["at_least"], quotient["at_most"]) == (2, None)
    assert (bound["where"], bound["at_most"]) == ({"seed": 1}, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "CLAIMS=3: expected a list"),
        ("[{}]", r"entry 1 is \{\}: expected ordering"),
        (
            "[threshold('t', {'model.backbone.widht': 4}, at_least=0)]",
            r"claim 't': config.model.backbone.widht: no such key \(did you mean",
        ),
        (
            "[threshold('t', {'model.backbone.width': 'x'}, at_least=0)]",
            "claim 't': config.model.backbone.width='x': expected int",
        ),
        (
            "[threshold('t', {'model.backbone.width': 5}, at_least=0)]",
            "claim 't': no run of the study has model.backbone.width=5",
        ),
        (
            "[threshold('t', {}, at_least=0, where={'seed': 9})]",
            "claim 't': no run of the study has seed=9",
        ),
        (
            "[threshold('t', {'seed': 1}, at_least=0, each=['seed'])]",
            "claim 't': no run of the study has seed=0 seed=1",
        ),
        (
            "[threshold('t', {}, at_least=0, metric='mean_iu')]",
            r"claim 't': metric='mean_iu': choose from .*did you mean 'mean_iou'",
        ),
        ("[threshold('t', {})]", "claim 't': it needs a bound"),
        ("[threshold('t', {}, at_least='1')]", "the bound '1' is no number"),
        ("[threshold('t', {}, at_least=float('nan'))]", "the bound nan is no number"),
        ("[threshold('t', 3, at_least=1)]", "the selector 3 is no mapping"),
        ("[threshold('t', {}, at_least=1, each='seed')]", "each='seed': expected a li"),
        ("[threshold('t', {}, at_least=1, each=['sed'])]", "config.sed: no such key"),
        ("[threshold('', {}, at_least=1)]", "name='': expected the claim in words"),
        ("[ordering('o', [{}])]", "claim 'o': an ordering needs two selectors"),
        ("[ordering('o', {'seed': 1})]", "selectors: expected a list"),
        ("[threshold('t', {}, at_least=1)] * 2", "two of them are called 't'"),
    ],
)
def test_a_wrong_claim_is_refused_before_any_run(study, text, message):
    with pytest.raises(UserError, match=message) as caught:
        claims_of(study, text)
    assert "study.py: " in str(caught.value) and "\n" not in str(caught.value)


WANTED = [
    (f"{head[0]}{kind[0]}{seed}", {HEAD: head, KIND: kind, "seed": seed})
    for head in ("fcn", "unet")
    for kind in ("identity", "none")
    for seed in range(2)
]
SCORES = {"fi0": 0.6, "fi1": 0.8, "fn0": 0.3, "fn1": 0.4}
SCORES |= {"ui0": 0.5, "ui1": 0.6, "un0": 0.7, "un1": 0.8}


def judged(folder, *claims, scores=SCORES, **more):
    plan = write_sweep(folder / "sweep", WANTED, claims=claims)
    for run in plan.runs:
        if run.id in scores:
            finish(run, plan, scores[run.id], **more)
    return load_table(plan)


def test_an_ordering_is_of_means_over_all_selected_runs(tmp_path):
    # Identity .625 and plain .55 over both heads; .7 and .35, .55 and .75 within each.
    table = judged(
        tmp_path,
        ordering("all", [IDENTITY, NONE]),
        ordering("reverse", [NONE, IDENTITY], lower=True),
        ordering("each", [IDENTITY, NONE], each=[HEAD]),
        ordering("fcn", [IDENTITY, NONE], where={HEAD: "fcn"}),
        ordering("equal", [IDENTITY, IDENTITY]),
    )
    assert [(v.name, v.verdict) for v in table.claims] == [
        ("all", "holds"),
        ("reverse", "holds"),
        ("each", "fails"),
        ("fcn", "holds"),
        ("equal", "fails"),
    ]
    assert not table.passed
    whole, _, each, *_ = table.claims
    assert [mean.value for mean in whole.parts[0].means] == pytest.approx([0.625, 0.55])
    assert [(part.group, part.verdict) for part in each.parts] == [
        ({HEAD: "fcn"}, "holds"),
        ({HEAD: "unet"}, "fails"),
    ]
    assert words(whole) == [
        "Claim holds: all (mean_iou, best first): model.shortcut.kind=identity 0.6250 "
        "(4 runs) > model.shortcut.kind=none 0.5500 (4 runs)"
    ]
    assert words(each) == [
        "Claim fails: each (mean_iou, best first)",
        "  holds for model.head.name=fcn: model.shortcut.kind=identity 0.7000 (2 runs) "
        "> model.shortcut.kind=none 0.3500 (2 runs)",
        "  fails for model.head.name=unet: model.shortcut.kind=identity 0.5500 (2 "
        "runs) < model.shortcut.kind=none 0.7500 (2 runs)",
    ]


def test_ratios_and_thresholds_include_their_bounds(tmp_path):
    fcn = {HEAD: "fcn"}
    table = judged(
        tmp_path,
        ratio("twice", IDENTITY, NONE, where=fcn, at_least=1.99, at_most=2.01),
        ratio("more", IDENTITY, NONE, where=fcn, at_least=2.01),
        threshold("best", {**IDENTITY, **fcn, "seed": 1}, at_least=0.8),
        threshold("worse", {**IDENTITY, **fcn, "seed": 1}, at_most=0.79),
        threshold("every seed", {}, at_least=0.55, each=["seed"]),
    )
    verdicts = [v.verdict for v in table.claims]
    assert verdicts == ["holds", "fails", "holds", "fails", "fails"]
    assert table.claims[0].parts[0].value == pytest.approx(2.0)
    # seed 0: (.6 + .3 + .5 + .7) / 4 = .525; seed 1: .65
    values = [part.value for part in table.claims[4].parts]
    assert values == pytest.approx([0.525, 0.65])
    assert words(table.claims[0]) == [
        "Claim holds: twice (ratio of mean_iou at least 1.99 and at most 2.01): "
        "model.shortcut.kind=identity 0.7000 (2 runs) / model.shortcut.kind=none "
        "0.3500 (2 runs) = 2.0000"
    ]
    assert words(table.claims[3]) == [
        "Claim fails: worse (mean_iou at most 0.79): model.head.name=fcn "
        "model.shortcut.kind=identity seed=1 0.8000 (1 run)"
    ]


def test_a_claim_with_a_run_missing_is_open(tmp_path):
    scores = {name: score for name, score in SCORES.items() if name != "un1"}
    table = judged(
        tmp_path,
        ordering("all", [IDENTITY, NONE]),
        ordering("fcn", [IDENTITY, NONE], where={HEAD: "fcn"}),
        ordering("each", [NONE, IDENTITY], each=[HEAD]),
        scores=scores,
    )
    attempt(table.sweep.runs[-1], "failed")
    assert [v.verdict for v in table.claims] == ["open", "holds", "fails"]
    assert not table.passed
    assert "model.shortcut.kind=none 0.4667 (3 of 4 runs)" in words(table.claims[0])[0]


def test_without_any_run_there_is_no_number(tmp_path):
    half = ratio("half", IDENTITY, NONE, at_most=0.5)
    table = judged(tmp_path, half, ordering("o", [IDENTITY, NONE]), scores={})
    assert [v.verdict for v in table.claims] == ["open", "open"]
    assert words(table.claims[0])[0].endswith(
        "kind=identity - (0 of 4 runs) / model.shortcut.kind=none - (0 of 4 runs) = -"
    )
    assert "identity - (0 of 4 runs) ? model" in words(table.claims[1])[0]


def test_a_score_that_is_no_number_fails_a_claim(tmp_path):
    table = judged(
        tmp_path,
        ordering("all", [IDENTITY, NONE]),
        ratio("zero", IDENTITY, NONE, metric="train_loss", at_least=0),
        threshold("bound", IDENTITY, at_most=2),
        scores=SCORES | {"fi0": math.nan},
        losses=[0.0],
    )
    assert [v.verdict for v in table.claims] == ["fails"] * 3
    assert "identity nan (4 runs) ? model" in words(table.claims[0])[0]


def test_claims_are_about_all_runs_whatever_is_shown(tmp_path):
    plan = write_sweep(
        tmp_path / "s", WANTED, claims=[ordering("all", [IDENTITY, NONE])]
    )
    for run in plan.runs:
        finish(run, plan, SCORES[run.id])
    (verdict,) = load_table(plan, only="*none*").claims
    assert verdict.verdict == "holds"
    assert [mean.planned for mean in verdict.parts[0].means] == [4, 4]
