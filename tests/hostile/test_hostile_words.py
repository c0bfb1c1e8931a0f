"""Options, keys, values and paths that nobody would type on purpose."""

import argparse
import tempfile

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from verdict import assert_one_line, call, cases, contents

from resseg.cli.main import COMMANDS, build_parser
from resseg.config.keys import KEYS

NUMBERS = ("0", "-1", "1", "2", "1e9", "-0.0", "nan", "inf", "1e-400", "9" * 40, "0x1F")
VALUES = (
    *NUMBERS,
    *(
        "",
        " ",
        "true",
        "True",
        "None",
        "null",
        "[]",
        "[1]",
        "(1,2)",
        "{}",
        "'",
        '"',
        "\\",
    ),
    *('{"linear": [1, 0, 0, 3]}', "[1, 2", "1,2", "unet", "../..", "/", "a" * 3000),
    *("\0", "\n", "$(id)", "%d", "{0}", "[red]x", "ü", "\u202e", "lambda: 0", "1_000"),
)
TEXTS = st.one_of(
    st.sampled_from(VALUES),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    st.integers().map(str),
    st.floats().map(str),
)


@st.composite
def overrides(draw):
    key = draw(st.sampled_from(sorted(KEYS)))
    if draw(st.integers(0, 4)) == 0:  # a slip of the finger
        place = draw(st.integers(0, len(key) - 1))
        key = key[:place] + draw(st.sampled_from(("", "x", "."))) + key[place + 1 :]
    return key, draw(TEXTS)


@cases(3)
@given(overrides())
def test_a_value_of_a_key_is_taken_or_refused_by_its_name(override):
    key, value = override
    status, out, err = call("config", "quickstart", f"--config.{key}={value}")
    if status:
        assert_one_line(err)
    else:
        assert key in KEYS and key.rpartition(".")[2] in out


@pytest.fixture(scope="module")
def run(tmp_path_factory, fake_run):
    folder = tmp_path_factory.mktemp("runs") / "run"
    fake_run(folder)
    return folder


def options(parser, words):
    """(command, options that take a value) of a parser and of those below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from options(below, (*words, name))
            return
    taken = [
        each for each in parser._actions if each.option_strings and each.nargs != 0
    ]
    names = [each.option_strings[-1] for each in taken]
    # A page that is served has no end.
    yield words, [name for name in names if name not in ("--config.KEY", "--serve")]


# Without `train`: a line that is right by chance would train for hours.
LINES = [
    line
    for name in COMMANDS
    if name != "train"
    for line in options(build_parser(name), ())
]


@st.composite
def lines(draw):
    command, names = draw(st.sampled_from(LINES))
    word = st.one_of(st.just("RUN"), TEXTS)
    words = draw(st.lists(word, max_size=2))
    for _ in range(draw(st.integers(0, 3)) if names else 0):
        words += [draw(st.sampled_from(names)), draw(word)]
    return [*command, *words]


@cases(3)
@given(lines())
@example(["inspect", "RUN", "--csv", "\0"])  # found so
def test_a_command_line_does_what_it_says_or_says_what_is_wrong(run, line):
    before = contents(run)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        status, _, err = call(*(run if word == "RUN" else word for word in line))
    if status:
        assert_one_line(err)
    after = contents(run)
    assert {name: after.get(name) for name in before} == before
