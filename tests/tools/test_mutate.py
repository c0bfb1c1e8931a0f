"""The mutants of a text, and that what shall notice them is there."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TEXT = '''"""Not a number: 1."""


def scaled(x: int, by: float = 2.0) -> float:
    """Neither: 2 * 3."""
    if x < 0 and by:
        raise ValueError(f"{x * 7}")
    return x * by - norm.batch


def draw(table: Any, figure: Figure) -> None:
    figure.line(0.5)


other = f(norm.batch_stats, a, b, axis=0)
'''


@pytest.fixture(scope="module")
def mutate():
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "tools/mutate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def changes(mutate, text):
    found = mutate.Reader("a.py", text).mutants
    return {(m.line, m.kind, m.before, m.after) for m in found}, found


def test_the_changes_of_a_text(mutate):
    found, _ = changes(mutate, TEXT)
    assert found == {
        (4, "constant", "2.0", "4.0"),
        (6, "condition", "x < 0 and by", "x < 0 or by"),
        (6, "comparison", "x < 0", "x <= 0"),
        (6, "constant", "0", "1"),
        (6, "constant", "0", "-1"),
        (8, "operator", "x * by - norm.batch", "x * by + norm.batch"),
        (8, "sides swapped", "x * by - norm.batch", "norm.batch - x * by"),
        (8, "operator", "x * by", "x / by"),
        (8, "factor dropped", "x * by", "x"),
        (8, "factor dropped", "x * by", "by"),
        (8, "neighbour", "norm.batch", "norm.batch_stats"),
        (15, "neighbour", "norm.batch_stats", "norm.batch"),
        (
            15,
            "arguments swapped",
            "f(norm.batch_stats, a, b, axis=0)",
            "f(norm.batch_stats, b, a, axis=0)",
        ),
        (
            15,
            "keyword dropped",
            "f(norm.batch_stats, a, b, axis=0)",
            "f(norm.batch_stats, a, b)",
        ),
        (15, "constant", "0", "1"),
        (15, "constant", "0", "-1"),
    }


def test_a_mutant_is_code_and_keeps_its_name_where_others_change(mutate):
    _, found = changes(mutate, TEXT)
    for mutant in found:
        first, last = mutant.span
        changed = f"{TEXT[:first]}({mutant.after}){TEXT[last:]}"
        compile(changed, "a.py", "exec")
    _, moved = changes(mutate, f"first = 9\n{TEXT}")
    assert {m.name for m in found} < {m.name for m in moved}
    assert len({m.name for m in moved}) == len(moved)


def test_a_draw_is_the_same_for_a_seed_and_even(mutate):
    mutants = [
        mutate.Mutant(f"{room}{i}", f"resseg/{room}/a.py", i, "k", "", "", (0, 0))
        for room, count in (("models", 50), ("probes", 3))
        for i in range(count)
    ]
    drawn = mutate.draw(mutants, 10, 4)
    assert drawn == mutate.draw(mutants, 10, 4) != mutate.draw(mutants, 10, 5)
    assert sum(m.file.startswith("resseg/probes") for m in drawn) == 3


def test_every_subject_and_every_test_of_it_is_there(mutate):
    for subject in mutate.SUBJECTS:
        assert (ROOT / subject).exists(), subject
        for name in mutate.tests_of(subject):
            assert (ROOT / name).exists(), name
