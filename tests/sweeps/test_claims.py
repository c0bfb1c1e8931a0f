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


SEEDS = range(3)
WANTED = [
    (f"{head[0]}{kind[0]}{seed}", {HEAD: head, KIND: kind, "seed": seed})
    for head in ("fcn", "unet")
    for kind in ("identity", "none")
    for seed in SEEDS
]
# By head and kind, over the seeds. Differences, identity minus plain: in the FCN .30,
# .31, .32, in the U-Net -.22, -.20, -.18; of the means over both heads .04, .055, .07.
SCORES = {"fi": (0.6, 0.7, 0.8), "fn": (0.3, 0.39, 0.48)}
SCORES |= {"ui": (0.5, 0.5, 0.5), "un": (0.72, 0.7, 0.68)}
SCORES = {f"{key}{seed}": SCORES[key][seed] for key in SCORES for seed in SEEDS}
T = 4.3026527  # Student's, 2 degrees of freedom


def judged(folder, *claims, scores=SCORES, **more):
    plan = write_sweep(folder / "sweep", WANTED, claims=claims)
    for run in plan.runs:
        if run.id in scores:
            finish(run, plan, scores[run.id], **more)
    return load_table(plan)


def test_an_ordering_is_of_paired_differences_over_the_seeds(tmp_path):
    table = judged(
        tmp_path,
        ordering("all", [IDENTITY, NONE]),
        ordering("reverse", [NONE, IDENTITY], lower=True),
        ordering("each", [IDENTITY, NONE], each=[HEAD]),
        ordering("wrong", [NONE, IDENTITY], where={HEAD: "fcn"}),
        ordering("equal", [IDENTITY, IDENTITY]),
    )
    assert [(v.name, v.verdict) for v in table.claims] == [
        ("all", "holds"),
        ("reverse", "holds"),
        ("each", "fails"),
        ("wrong", "fails"),
        ("equal", "fails"),
    ]
    assert not table.passed
    whole, reverse, each, *_ = table.claims
    (part,) = whole.parts
    assert [mean.value for mean in part.means] == pytest.approx([0.6, 0.545])
    assert (part.seeds, part.missing) == ((0, 1, 2), ())
    (found,) = part.estimates
    # Of .04, .055, .07: standard deviation .015.
    assert found.mean == pytest.approx(0.055)
    assert found.half == pytest.approx(T * 0.015 / math.sqrt(3))
    assert reverse.parts[0].estimates[0].mean == pytest.approx(-0.055)
    assert [(part.group, part.verdict) for part in each.parts] == [
        ({HEAD: "fcn"}, "holds"),
        ({HEAD: "unet"}, "fails"),
    ]
    assert words(whole) == [
        "Claim holds: all (mean_iou, best first): model.shortcut.kind=identity 0.6000 "
        "> model.shortcut.kind=none 0.5450: difference +0.0550 [+0.0177, +0.0923] over "
        "seeds 0, 1, 2"
    ]
    assert words(each) == [
        "Claim fails: each (mean_iou, best first)",
        "  holds for model.head.name=fcn: model.shortcut.kind=identity 0.7000 > "
        "model.shortcut.kind=none 0.3900: difference +0.3100 [+0.2852, +0.3348] over "
        "seeds 0, 1, 2",
        "  fails for model.head.name=unet: model.shortcut.kind=identity 0.5000 < "
        "model.shortcut.kind=none 0.7000: difference -0.2000 [-0.2497, -0.1503] over "
        "seeds 0, 1, 2",
    ]


def test_means_in_the_right_order_hold_only_if_their_differences_leave_no_doubt(
    tmp_path,
):
    scores = SCORES | {"fi0": 0.1, "fi1": 0.9, "fi2": 0.9}
    claim = ordering("fcn", [IDENTITY, NONE], where={HEAD: "fcn"})
    (verdict,) = judged(tmp_path, claim, scores=scores).claims
    first, second = verdict.parts[0].means
    assert first.value > second.value
    assert verdict.verdict == "undecided"


def test_every_neighbour_of_an_ordering_counts(tmp_path):
    fcn, unet = {HEAD: "fcn"}, {HEAD: "unet"}
    three = ordering("three", [fcn | IDENTITY, unet | IDENTITY, fcn | NONE])
    (verdict,) = judged(tmp_path, three).claims
    # .1, .2, .3 and .2, .11, .02: the intervals of both reach 0.
    means = [estimate.mean for estimate in verdict.parts[0].estimates]
    assert means == pytest.approx([0.2, 0.11])
    assert verdict.verdict == "undecided"
    assert ": differences +0.2000 [-0.0484, +0.4484], +0.1100 [" in words(verdict)[0]


def test_ratios_and_thresholds_include_their_bounds(tmp_path):
    unet = {HEAD: "unet"}
    table = judged(
        tmp_path,
        ratio("half", {**unet, KIND: "none"}, unet | NONE, at_least=1, at_most=1),
        ratio("less", IDENTITY, NONE, where=unet, at_most=0.8),
        ratio("more", IDENTITY, NONE, where=unet, at_least=0.8),
        ratio("about", IDENTITY, NONE, where=unet, at_least=0.7),
        threshold("exactly", {**IDENTITY, **unet}, at_least=0.5, at_most=0.5),
        threshold("worse", {**IDENTITY, **unet}, at_most=0.49),
        threshold("fcn", {**NONE, HEAD: "fcn"}, at_least=0.1, at_most=0.7),
        threshold("near", {**NONE, HEAD: "fcn"}, at_least=0.3),
        threshold("every seed", {}, at_least=0.5, each=["seed"]),
    )
    assert {v.name: v.verdict for v in table.claims} == {
        "half": "holds",
        "less": "holds",
        "more": "fails",
        "about": "undecided",  # from 0.6669 on
        "exactly": "holds",
        "worse": "fails",
        "fcn": "holds",
        "near": "undecided",
        "every seed": "undecided",
    }
    assert table.claims[2].parts[0].estimates[0].mean == pytest.approx(5 / 7)
    assert words(table.claims[2]) == [
        "Claim fails: more (ratio of mean_iou at least 0.8): "
        "model.shortcut.kind=identity 0.5000 / model.shortcut.kind=none 0.7000 = "
        "0.7143 [0.6669, 0.7689] over seeds 0, 1, 2"
    ]
    assert words(table.claims[4]) == [
        "Claim holds: exactly (mean_iou at least 0.5 and at most 0.5): "
        "model.head.name=unet model.shortcut.kind=identity 0.5000 (all 3 equal) over "
        "seeds 0, 1, 2"
    ]
    assert words(table.claims[8])[1].endswith("all 0.5300 (1 only) over seed 0")


def test_a_claim_is_judged_on_common_seeds_and_names_the_missing(tmp_path):
    scores = {name: score for name, score in SCORES.items() if name != "un1"}
    table = judged(
        tmp_path,
        ordering("all", [IDENTITY, NONE]),
        ordering("fcn", [IDENTITY, NONE], where={HEAD: "fcn"}),
        threshold("unet", IDENTITY, at_least=0.5, where={HEAD: "unet"}),
        scores=scores,
    )
    attempt(table.sweep.runs[-2], "failed")
    assert [v.verdict for v in table.claims] == ["undecided", "holds", "holds"]
    assert [v.missing for v in table.claims] == [True, False, False]
    (part,) = table.claims[0].parts
    assert (part.seeds, part.missing) == ((0, 2), (1,))
    assert part.means[0].value == pytest.approx((0.6 + 0.5 + 0.8 + 0.5) / 4)
    assert words(table.claims[0])[0].endswith("over seeds 0, 2; missing: seed 1")


def test_seeds_of_one_side_only_are_missing(tmp_path):
    wanted = [run for run in WANTED if run[0] not in ("fi2", "ui2", "fn0", "un0")]
    claim = ordering("all", [IDENTITY, NONE])
    plan = write_sweep(tmp_path / "sweep", wanted, claims=[claim])
    for run in plan.runs:
        finish(run, plan, SCORES[run.id])
    (part,) = load_table(plan).claims[0].parts
    assert (part.seeds, part.missing, part.verdict) == ((1,), (0, 2), "undecided")


def test_without_any_run_there_is_no_number(tmp_path):
    half = ratio("half", IDENTITY, NONE, at_most=0.5)
    table = judged(tmp_path, half, ordering("o", [IDENTITY, NONE]), scores={})
    assert [v.verdict for v in table.claims] == ["undecided", "undecided"]
    assert words(table.claims[0])[0].endswith(
        "kind=identity - / model.shortcut.kind=none - = -, no seed in common; missing: "
        "seeds 0, 1, 2"
    )
    assert "identity - ? model" in words(table.claims[1])[0]


def test_a_score_that_is_no_number_decides_nothing(tmp_path):
    table = judged(
        tmp_path,
        ordering("all", [IDENTITY, NONE]),
        ratio("zero", IDENTITY, NONE, metric="train_loss", at_least=0),
        threshold("bound", IDENTITY, at_most=2),
        scores=SCORES | {"fi0": math.nan},
        losses=[0.0],
    )
    assert [v.verdict for v in table.claims] == ["undecided"] * 3
    assert not table.passed
    assert "identity nan ? model" in words(table.claims[0])[0]
    assert ": difference nan (not finite) over" in words(table.claims[0])[0]
    assert " = nan (divided by 0) over" in words(table.claims[1])[0]


def test_claims_are_about_all_runs_whatever_is_shown(tmp_path):
    plan = write_sweep(
        tmp_path / "s", WANTED, claims=[ordering("all", [IDENTITY, NONE])]
    )
    for run in plan.runs:
        finish(run, plan, SCORES[run.id])
    (verdict,) = load_table(plan, only="*none*").claims
    assert verdict.verdict == "holds"
    assert [mean.seeds for mean in verdict.parts[0].means] == [3, 3]
