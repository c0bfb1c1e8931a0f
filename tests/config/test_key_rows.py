"""A key is known everywhere from its one row, and a row that says too little fails."""

import json
from pathlib import Path

import pytest

from resseg.cli import main as cli
from resseg.config import base, keys
from resseg.config.explain import explain
from resseg.config.fields import parse
from resseg.config.key import (
    CHANGED,
    FIXED,
    FREE,
    LOOP,
    LOOP_SWITCH,
    NUMBER,
    OUTSIDE,
    SAME,
    SHAPES,
    SWITCH,
    Key,
    Norms,
    Resume,
)
from resseg.config.load import describe, load_config
from resseg.config.rows import KEYS, joined
from resseg.config.structure import check_together, structure, structure_key
from resseg.config.values import (
    ANY_NUMBERS,
    ANY_TEXT,
    BLOCK,
    POSITIVE,
    SHARE,
    choice,
    coefficient,
    flag,
    integer,
    integers,
    optional_real,
    real,
    text,
)
from resseg.errors import UserError
from resseg.gradient_log.comparison import check_comparable
from resseg.gradient_log.selection import Wanted, select
from resseg.runs import check_same_config
from resseg.sweeps.study import run_id

QUICKSTART = Path(__file__).resolve().parents[2] / "configs" / "quickstart.py"
TOY = "train.toy.pace"
MEANING = "how fast a toy runs, pixels per step"
RANGED = real(0.5, SHARE)
FACTS = (SHAPES, FIXED, SAME)
EXPERIMENT = """
from resseg.config import base

def get_config():
    config = base.get_config()
    config.train.toy.pace = {value}
    return config
"""
# What stored runs and sweeps rest on.
KNOWN = json.loads(Path(__file__).with_name("key_facts.json").read_text())


@pytest.fixture
def add(monkeypatch):
    """Adds the toy key, by its row alone."""

    def add_row(value=RANGED, facts=FACTS, later=True):
        monkeypatch.setitem(KEYS, TOY, Key(TOY, value, MEANING, facts, later))

    return add_row


def with_toy(value):
    return load_config(QUICKSTART, {TOY: value})


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_new_key_has_its_default_and_takes_values(add, tmp_path):
    assert refusal(with_toy, 0.25).startswith(f"config.{TOY}: no such key")
    add()
    assert base.get_config().train.toy.pace == 0.5
    assert load_config(QUICKSTART).train.toy.pace == 0.5
    assert with_toy(parse(TOY, "0.25")).train.toy.pace == 0.25
    file = tmp_path / "experiment.py"
    file.write_text(EXPERIMENT.format(value=0.75))
    assert load_config(file).train.toy.pace == 0.75


def test_wrong_values_of_a_new_key_are_refused(add, tmp_path):
    add()
    assert refusal(parse, TOY, "fast") == f"config.{TOY}=fast: expected finite float"
    expected = f"config.{TOY}=1.5: expected between 0 and 1"
    assert refusal(with_toy, 1.5) == expected
    file = tmp_path / "experiment.py"
    file.write_text(EXPERIMENT.format(value="'fast'"))
    expected = "field 'pace': expected float, found str"
    assert refusal(load_config, file).endswith(expected)
    misspelt = "train.toy.pase"
    expected = f"config.{misspelt}: no such key (did you mean {TOY!r}?)"
    assert refusal(load_config, QUICKSTART, {misspelt: 1.0}) == expected
    expected = "config.train.toy: a section, not a key; it holds train.toy.pace"
    assert refusal(load_config, QUICKSTART, {"train.toy": 1.0}) == expected


def test_choices_and_lengths_of_a_new_key(add):
    add(choice("slow", ("slow", "fast")))
    message = refusal(with_toy, "fsat")
    assert message == (
        f"config.{TOY}='fsat': choose from slow, fast (did you mean 'fast'?)"
    )
    assert with_toy("fast").train.toy.pace == "fast"
    add(integers((1, 2), POSITIVE, 2, 3))
    message = refusal(with_toy, (1,))
    assert message == f"config.{TOY}=(1,): expected 2 or 3 numbers, got 1"
    assert with_toy([3, 2, 1]).train.toy.pace == (3, 2, 1)


def test_a_new_key_may_be_unset(add, tmp_path):
    add(optional_real(POSITIVE))
    assert load_config(QUICKSTART).train.toy.pace is None
    assert with_toy(2).train.toy.pace == 2.0
    file = tmp_path / "experiment.py"
    file.write_text(EXPERIMENT.format(value=3.0))
    assert load_config(file).train.toy.pace == 3.0
    assert with_toy(parse(TOY, "none")).train.toy.pace is None
    assert refusal(with_toy, -1.0) == f"config.{TOY}=-1.0: expected above 0"


def test_a_new_coefficient_has_one_per_block(add, tmp_path):
    add(coefficient(1.0, BLOCK, ANY_NUMBERS), (NUMBER, FIXED, SAME))
    assert with_toy((1.0, 0.5, 0.25, 0.0)).train.toy.pace == (1.0, 0.5, 0.25, 0.0)
    assert with_toy({"stage2": 0.5}).train.toy.pace == '{"stage2": 0.5}'
    assert "one number or 4, one per block; got 2" in refusal(with_toy, (1.0, 0.5))
    file = tmp_path / "experiment.py"
    file.write_text(EXPERIMENT.format(value="[1, 0] * 4"))
    assert load_config(file).train.toy.pace == (1.0, 0.0) * 4


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        (SHAPES, {0.0: 0.0, 0.5: 0.5, 0.75: 0.75}),
        (SWITCH, {0.0: False, 0.5: True, 0.75: True}),
        (LOOP_SWITCH, {0.0: False, 0.5: True, 0.75: True}),
        (NUMBER, None),
        (OUTSIDE, None),
        (LOOP, None),
    ],
)
def test_what_a_new_key_is_to_the_program(add, program, shown):
    without = structure(load_config(QUICKSTART))
    add(facts=(program, FIXED, SAME))
    for value in (0.0, 0.5, 0.75):
        expected = without if shown is None else without | {TOY: shown[value]}
        assert structure(with_toy(value)) == expected
    programs = {structure_key(with_toy(value)) for value in (0.0, 0.5, 0.75)}
    assert len(programs) == (1 if shown is None else len(set(shown.values())))


def test_rollback_is_the_program_of_stop_and_skip_another():
    modes = ("stop", "rollback", "skip")
    configs = [load_config(QUICKSTART, {"train.on_nonfinite": mode}) for mode in modes]
    stop, rollback, skip = map(structure_key, configs)
    assert stop == rollback != skip


def test_a_switch_that_is_unset_is_off(add):
    add(optional_real(POSITIVE), (SWITCH, FIXED, SAME))
    assert structure(with_toy(None))[TOY] is False
    assert structure(with_toy(2.0))[TOY] is True


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (SHAPES, "it shapes the program that they share"),
        (SWITCH, None),
        (NUMBER, None),
        (OUTSIDE, None),
        (LOOP, "they step together"),
        (LOOP_SWITCH, "they step together"),
    ],
)
def test_whether_runs_that_differ_in_a_new_key_step_together(add, program, why):
    add(facts=(program, FIXED, SAME))
    configs = [with_toy(0.5), with_toy(0.75)]
    if why is None:
        check_together(configs)
    else:
        assert refusal(check_together, configs) == (
            f"--vectorize: config.{TOY} is 0.5 in the first of the runs and 0.75 in "
            f"number 2; expected one value, as {why}"
        )


def test_runs_that_step_together_have_whole_images_on_each_device():
    config = load_config(QUICKSTART, {"mesh.space": 2})
    assert refusal(check_together, [config, config]) == (
        "--vectorize: config.mesh.space=2: runs that step together have whole images "
        "on each device; expected 1"
    )


@pytest.mark.parametrize("resume", Resume)
def test_whether_a_run_goes_on_with_another_value(add, fake_run, tmp_path, resume):
    add(facts=(OUTSIDE, resume, SAME))
    run = fake_run(tmp_path / "run", config=with_toy(0.5).to_dict())
    same = (run, with_toy(0.75), base.get_config(), keys.free_on_resume())
    if resume is FREE:
        assert check_same_config(*same)
    else:
        assert f"{TOY} is 0.5 there and 0.75 here" in refusal(check_same_config, *same)


def test_finished_runs_of_sweeps_keep_their_ids(add):
    before = run_id(load_config(QUICKSTART))
    add()
    assert run_id(load_config(QUICKSTART)) == before
    assert len({before, run_id(with_toy(0.25)), run_id(with_toy(0.75))}) == 3
    add(later=False)
    assert run_id(load_config(QUICKSTART)) != before


@pytest.mark.parametrize("norms", Norms)
def test_whether_norms_are_compared(add, fake_run, tmp_path, norms):
    add(facts=(OUTSIDE, FIXED, norms))
    selected = [
        select(
            fake_run(tmp_path / str(value), config=with_toy(value).to_dict()),
            Wanted(),
            None,
        )
        for value in (0.5, 0.75)
    ]
    if norms is SAME:
        check_comparable(selected)
    else:
        assert f"{TOY} is 0.5 and 0.75" in refusal(check_comparable, selected)


def test_a_new_key_is_printed_and_explained(add):
    add(facts=(LOOP, FREE, CHANGED))
    (line,) = (line for line in describe(with_toy(1)).splitlines() if TOY in line)
    assert line.split() == ["*", TOY, "=", "1.0", "(base:", "0.5)"]
    name, *lines = explain(TOY).splitlines()
    words = dict(line.strip().split(maxsplit=1) for line in lines)
    assert name == TOY
    assert words == {
        "meaning": MEANING,
        "default": "0.5",
        "expected": "finite float; between 0 and 1",
        "program": LOOP.value,
        "resume": FREE.value,
        "norms": CHANGED.value,
    }


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_explained_within_a_line_of_88(key):
    lines = explain(key).splitlines()
    assert lines[0] == key and max(map(len, lines)) <= 88
    for name in ("meaning", "default", "expected", "program", "resume", "norms"):
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1


def test_the_command_explains_a_key_with_its_value_in_a_config(add, capsys):
    add()
    assert cli.main(["config", "--explain", TOY]) == 0
    alone = capsys.readouterr().out
    assert alone == f"{explain(TOY)}\n"
    assert (
        cli.main(["config", "quickstart", "--explain", TOY, f"--config.{TOY}=1"]) == 0
    )
    assert capsys.readouterr().out == f"{alone}  value     1.0 in quickstart\n"
    wrong = ["config", "quickstart", "--explain", TOY]
    for more in (["--diff", "base"], [f"--config.{TOY}=2"]):
        assert cli.main([*wrong, *more]) == 2
    assert cli.main(["config", "--explain", TOY, f"--config.{TOY}=1"]) == 2


def test_an_unknown_key_is_explained_by_its_nearest():
    expected = "config.train.step: no such key (did you mean 'train.steps'?)"
    assert refusal(explain, "train.step") == expected


@pytest.mark.parametrize(
    ("row", "lacks"),
    [
        ((real(0.5), MEANING, FACTS), "which values are allowed"),
        ((integer(1), MEANING, FACTS), "which values are allowed"),
        ((text("a"), MEANING, FACTS), "which values are allowed"),
        ((coefficient(1.0, BLOCK), MEANING, FACTS), "which values are allowed"),
        ((RANGED, "", FACTS), "what it means"),
        ((RANGED,), "what it means"),
        ((RANGED, MEANING), "once what it is to the compiled program: SHAPES | NUMB"),
        ((RANGED, MEANING, (FIXED, SAME)), "once what it is to the compiled program"),
        ((RANGED, MEANING, (SHAPES, SAME)), "may differ .* goes on: FIXED | FREE"),
        ((RANGED, MEANING, (SHAPES, FIXED)), "norms stay comparable: SAME | CHANGED"),
        ((RANGED, MEANING, (*FACTS, CHANGED)), "once whether gradient norms stay"),
    ],
)
def test_a_row_that_lacks_a_fact_is_refused_by_name(row, lacks):
    with pytest.raises(ValueError, match=f"config key 'toy.key' has to say .*{lacks}"):
        Key("toy.key", *row)


def test_flags_and_free_texts_say_enough():
    assert Key("toy.key", flag(True), MEANING, FACTS).value.default is True
    assert Key("toy.key", text("", ANY_TEXT), MEANING, FACTS).program is SHAPES


def test_a_key_has_one_row():
    row = Key("toy.key", flag(True), MEANING, FACTS)
    with pytest.raises(ValueError, match=r"'toy\.key' has two rows"):
        joined(((row,), (row,)))


def test_every_default_is_a_value_that_its_row_allows():
    for key, row in KEYS.items():
        assert row.value.kind.convert(row.value.default) == row.value.default, key
        row.value.check(key, row.value.default)


@pytest.mark.parametrize("key", KNOWN)
def test_what_is_known_of_a_key_stays(key):
    """Stored runs and sweeps rest on it. Choices may be added, never taken away."""
    known, row = KNOWN[key], KEYS[key]
    value = row.value
    assert json.loads(json.dumps(value.default)) == known["default"]
    assert value.kind.words == known["type"]
    assert set(known.get("choices", ())) <= set(value.options)
    assert bool(value.options) == ("choices" in known)
    if "range" in known:
        assert value.allowed.words == known["range"]
    assert list(value.lengths) == known.get("lengths", [])
    assert value.one_per == known.get("one_per", "")
    assert [fact.name for fact in row.facts] == known["facts"]
