"""The command line: what it starts, what it refuses, and how fast it answers."""

import argparse
import resource
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

import resseg
from resseg import sharding
from resseg.cli import main as cli
from resseg.cli.parser import split_overrides
from resseg.config import builtin
from resseg.errors import UserError
from resseg.processes.group import ALONE
from resseg.training.clock import Clock
from resseg.training.program import Programs

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = str(ROOT / "configs" / "quickstart.py")


class Diverged(RuntimeError):
    pass


@pytest.fixture
def train(monkeypatch):
    """Records what `resseg train` would have started; raises `.error` if set."""
    calls = SimpleNamespace(started=[], error=None)

    def train_and_evaluate(config, workdir, programs, stop, clock, group):
        assert isinstance(programs, Programs) and group is ALONE
        assert not stop.asked and isinstance(clock, Clock)
        calls.started.append((config, workdir))
        if calls.error is not None:
            raise calls.error
        return {}

    def drawn(folder):
        assert calls.started[-1][1] == str(folder)
        return [f"drawn in {folder}"]

    trainer = SimpleNamespace(train_and_evaluate=train_and_evaluate, Diverged=Diverged)
    monkeypatch.setitem(sys.modules, "resseg.training.run", trainer)
    monkeypatch.setattr("resseg.gradient_log.after_training.draw_flow", drawn)
    monkeypatch.setattr("resseg.runs.ledger.add_row", lambda *row: None)
    return calls


def error_line(capsys):
    """The one line on stderr, nothing being on stdout."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("resseg: ") and captured.err.count("\n") == 1
    return captured.err.removeprefix("resseg: error: ").rstrip("\n")


def test_train_gets_config_with_overrides_and_workdir(train, capsys):
    status = cli.main(
        [
            "train",
            "--config.train.steps=5",
            "--config",
            QUICKSTART,
            "--config.data.crop",
            "32,64",
            "--workdir=runs/x",
            "--config.model.gradient.branch_in",
            "-1",
            "--config.train.steps=6",
        ]
    )
    assert status == 0
    [(config, workdir)] = train.started
    assert workdir == "runs/x"
    assert capsys.readouterr().out == "drawn in runs/x\n"
    assert config.train.steps == 6, "the last one wins"
    assert config.data.crop == (32, 64)
    assert config.model.gradient.branch_in == -1.0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--config.train.steps=abc"], "config.train.steps=abc: expected int"),
        (["--config.train.steps=1e3"], "config.train.steps=1e3: expected int"),
        (
            ["--config.train.step=1"],
            "config.train.step: no such key (did you mean 'tra",
        ),
        (["--config.train.steps"], "--config.train.steps: expected a value after it"),
        (["--config.seed", "--workdir"], "--config.seed: expected a value after it"),
        (
            ["--confg.seed=1"],
            "--confg.seed: no such option (did you mean '--config.seed'?)",
        ),
        (["--step", "3"], "--step: no such option"),
        (["stray"], "unexpected argument: stray (see resseg train --help)"),
    ],
)
def test_train_refuses_before_it_starts(train, capsys, options, expected):
    status = cli.main(["train", "--config", QUICKSTART, "--workdir", "x", *options])
    assert status == 2 and train.started == []
    assert error_line(capsys).startswith(expected)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["trian"], "command='trian': choose from train, evaluate, "),
        (["--verson"], "--verson: no such option (did you mean '--version'?)"),
        (["train", "--config", "x"], "the following arguments are required: --workdir"),
        (
            ["train", "--config", "x", "--workdri", "y"],
            "--workdri: no such option (did you mean '--workdir'?)",
        ),
        (
            ["train", "--config", "no.py", "--workdir", "y"],
            "no.py: no such config file",
        ),
        (["evaluate"], "the following arguments are required: RUN"),
        (["evaluate", "x", "--step", "last"], "argument --step: invalid int value"),
        (["evaluate", "x", "--config.seed=1"], "--config.seed: only resseg train,"),
        (
            ["predict", "r", "i", "--out", "o", "--probabilties"],
            "--probabilties: no such option (did you mean '--probabilities'?)",
        ),
        (
            ["data", "prepare", "x", "--imagse", "y"],
            "--imagse: no such option (did you mean '--images'?) (see resseg data prep",
        ),
        (
            ["data", "chek"],
            "argument COMMAND: invalid choice: 'chek' (choose from 'prepare', 'check', "
            "'show', 'list') (did you mean 'check'?)",
        ),
        (
            ["inspect", "--colums"],
            "--colums: no such option (did you mean '--columns'?)",
        ),
    ],
)
def test_wrong_command_lines_are_one_line_and_status_2(capsys, argv, expected):
    assert cli.main(argv) == 2
    assert error_line(capsys).startswith(expected)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("two\n lines"), 2, "two lines"),
        (PermissionError(13, "Permission denied", "runs/x"), 2, "runs/x: Permission "),
        (OSError(28, "No space left on device"), 2, "output: No space left on device"),
        (IsADirectoryError(21, "?", "rows.csv"), 2, "rows.csv: Is a directory"),
        (OSError(36, "?", "x" * 300), 2, f"{'x' * 300}: File name too long"),
        (NotADirectoryError(20, "?", "a/b"), 2, "a/b: Not a directory"),
        (FileExistsError(17, "?", "a", None, "b"), 2, "a and b: File exists"),
        (OSError(5, "?", "\udcff"), 2, "\\udcff: Input/output error"),
        (MemoryError("8 TiB"), 2, "there is not enough memory: 8 TiB"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"),
            2,
            "the device says no: RESOURCE_EXHAUSTED",
        ),
        (KeyboardInterrupt(), 130, "resseg: interrupted"),
        (Diverged("step 7: loss nan"), 1, "resseg: step 7: loss nan"),
    ],
)
def test_failures_that_are_not_bugs(train, capsys, error, status, line):
    train.error = error
    assert cli.main(["train", "--config", QUICKSTART, "--workdir", "x"]) == status
    assert error_line(capsys).startswith(line)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--workdir", ""], "--workdir: expected a value, found ''"),
        (["--workdir="], "--workdir: expected a value, found ''"),
        (["--workdir", " "], "--workdir: expected a value, found ' '"),
        (
            ["--workdir=~/runs/x"],
            "--workdir: ~/runs/x: the shell has not put your home",
        ),
        (["--workdir", "x", "--config.data.dir=~/data"], "--config.data.dir: ~/data: "),
        (["--workdir", "x", ""], "x: expected a value, found ''"),
    ],
)
def test_arguments_that_a_shell_has_emptied_or_left_are_refused(
    train, capsys, argv, expected
):
    assert cli.main(["train", "--config", QUICKSTART, *argv]) == 2
    assert train.started == [] and error_line(capsys).startswith(expected)


HUGE = "9" * 30


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["evaluate", "r", "--step", HUGE], "argument --step: "),
        (["inspect", "r", "--last", HUGE], "argument --last: "),
        (["sweep", "s", "--jobs", HUGE], "argument --jobs: "),
        (["sweep", "s", "--retries", f"-{HUGE}"], "argument --retries: "),
        (["describe", "--config", "quickstart", "--classes", HUGE], "argument --class"),
        (["data", "show", "shapes", "--batches", HUGE], "argument --batches: "),
        (
            ["data", "show", "shapes", "--batches", "1001"],
            "--batches 1001: ",
        ),
        (["data", "prepare", "x", "--seed", HUGE], "argument --seed: "),
        (["data", "prepare", "x", "--seed", "-1"], "--seed -1: expected 0 or more"),
        (
            ["data", "prepare", "x", "--val-fraction", "nan"],
            "argument --val-fr",
        ),
        (
            ["data", "prepare", "x", "--val-fraction", "a"],
            "argument --val-fr",
        ),
        (
            ["probe", "r", "--what", "rank", "--batches", "4000000"],
            "--batches=4000000: ",
        ),
        (["report", "r", "--serve", HUGE], "argument --serve: "),
    ],
)
def test_numbers_of_options_have_ranges(capsys, argv, expected):
    assert cli.main(argv) == 2
    assert error_line(capsys).startswith(expected)


def test_every_option_that_takes_a_number_has_a_range():
    """Through the types that the parser registers; any other type would have none."""
    seen = 0
    for name in cli.COMMANDS:
        parsers = [cli.build_parser(name)]
        while parsers:
            parser = parsers.pop()
            for action in parser._actions:
                if isinstance(action.choices, dict):
                    parsers += action.choices.values()
                if action.type in (int, float):
                    seen += 1
                    known = parser._registry_get("type", action.type)
                    with pytest.raises(argparse.ArgumentTypeError):
                        known("1e999" if action.type is float else HUGE)
                else:
                    assert action.type in (None, Path), f"{name} {action.dest}"
    assert seen > 15


def test_a_device_that_is_not_there_is_named(monkeypatch):
    def none():
        raise AssertionError  # as JAX has it for JAX_PLATFORMS=cuda without CUDA

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(UserError, match="JAX_PLATFORMS='cuda': there is none here"):
        sharding.make_mesh()


@pytest.mark.parametrize("stream", [1, 2])
def test_a_stream_that_is_closed_shows_nothing_and_breaks_nothing(stream):
    command = [sys.executable, "-m", "resseg", "config", "quickstart"]
    shell = f'exec "$@" {stream}>&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *command], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == ""
    assert bool(done.stdout) == (stream == 2)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("of no number")])
def test_bugs_keep_their_traceback(train, error):
    train.error = error
    with pytest.raises(type(error)):
        cli.main(["train", "--config", QUICKSTART, "--workdir", "x"])


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_commands_on_runs_pass_their_arguments_and_status(monkeypatch, name):
    seen = []

    def run(arguments):
        seen.append(arguments)
        return 3

    monkeypatch.setattr(cli.load(name), "run", run)
    argv = {
        "evaluate": ["r", "--split", "test", "--data", "cells", "--step", "9"],
        "predict": ["r", "photos", "--out", "o", "--probabilities"],
    }
    expected = {
        "evaluate": {"runs": ["r"], "split": "test", "data": "cells", "step": 9},
        "predict": {
            "runs": ["r"],
            "images": "photos",
            "out": "o",
            "probabilities": True,
            "step": None,
        },
    }
    assert cli.main([name, *argv[name]]) == 3
    assert vars(seen[0]) | expected[name] == vars(seen[0])


def test_config_prints_every_key_and_marks_overrides(capsys):
    assert cli.main(["config", QUICKSTART, "--config.seed", "4"]) == 0
    out = capsys.readouterr().out
    assert "(base: 0)" in next(line for line in out.splitlines() if " seed " in line)
    assert "  optim.clip_norm                 = None\n" in out


def test_config_diff_shows_both_values(capsys):
    assert (
        cli.main(["config", QUICKSTART, "--diff", QUICKSTART, "--config.seed=4"]) == 0
    )
    assert capsys.readouterr().out.splitlines()[1:] == ["seed = 4 | 0"]


def test_config_lists_the_experiments_with_what_they_are(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["config"]) == 0
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert tuple(name for name, _ in rows) == builtin.names()
    assert dict(rows)["quickstart"].startswith("The embedded default: U-Net on a small")
    assert cli.main(["config", "--config.seed=1"]) == 2
    assert error_line(capsys).startswith("config: FILE is missing")
    assert cli.main(["config", "nuclei/unett"]) == 2
    hint = "nuclei/unett: no such config file (did you mean 'nuclei/unet'?)"
    assert error_line(capsys) == hint


@pytest.mark.parametrize("name", builtin.names()[1:])
def test_an_experiment_says_how_it_is_trained_from_any_folder(
    train, monkeypatch, tmp_path, name
):
    monkeypatch.chdir(tmp_path)
    (line,) = (
        line
        for line in builtin.file_of(name).read_text().splitlines()
        if line.startswith("resseg train ")
    )
    words = line.split()
    assert words[2:4] == ["--config", name]
    assert cli.main(words[1:]) == 0
    assert len(train.started) == 1


def test_a_command_stands_in_one_place():
    """Every module here that has a summary is a command, and no other is."""
    found = {
        path.stem
        for path in Path(cli.__file__).parent.glob("*.py")
        if "\nSUMMARY = " in path.read_text()
    }
    assert found == set(cli.COMMANDS.values())


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_every_command_teaches_with_examples(capsys, command):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    examples = capsys.readouterr().out.partition("examples:")[2]
    assert f"resseg {command} " in examples


def test_examples_in_the_help_are_themselves_valid(
    train, monkeypatch, capsys, tmp_path
):
    """What the help teaches parses, from any folder: only running it is left out."""
    monkeypatch.chdir(tmp_path)
    for name in set(cli.COMMANDS) - {"train", "config"}:
        monkeypatch.setattr(cli.load(name), "run", lambda arguments: 0)
    tried = 0
    for text in [cli.EPILOG, *(cli.load(name).EPILOG for name in cli.COMMANDS)]:
        for line in text.replace("\\\n", " ").splitlines():
            words = line.partition("   (")[0].split()
            if words[:1] == ["resseg"] and not line.startswith("resseg"):
                if "runs/quickstart" in words and words[1] == "config":
                    continue
                assert cli.main(words[1:]) == 0, line
                tried += 1
    assert tried > 15 and len(train.started) == 6
    assert capsys.readouterr().err == ""


def test_split_overrides_keeps_the_order_of_the_rest():
    argv = ["--a", "--config.x=1=2", "b", "--config.y", "(1, 2)", "--config", "f"]
    rest, overrides = split_overrides(argv)
    assert rest == ["--a", "b", "--config", "f"]
    assert overrides == [("x", "1=2"), ("y", "(1, 2)")]


def test_the_version_stands_once(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"resseg {resseg.__version__}\n"
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert declared["project"]["dynamic"] == ["version"]
    dynamic = declared["tool"]["setuptools"]["dynamic"]
    assert dynamic == {"version": {"attr": "resseg.__version__"}}


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True
    )


def test_help_answers_at_once():
    """In seconds of a processor, the best of a few: the machine may be busy."""
    seconds = []
    while len(seconds) < 5 and min(seconds, default=1.0) >= 0.2:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "resseg", "--help"], capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds.append(used)
        assert done.returncode == 0 and "resseg train --config" in done.stdout
    assert min(seconds) < 0.2


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["train", "--help"],
        ["data", "--help"],
        ["inspect", "--help"],
        ["config", QUICKSTART],
        ["train", "--config", QUICKSTART, "--workdir", "x", "--config.train.steps=0"],
    ],
    ids=" ".join,
)
def test_nothing_of_this_imports_jax(argv):
    code = (
        "import sys\n"
        "from resseg.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "sys.exit('jax' in sys.modules)"
    )
    assert python(code, *argv).returncode == 0


def test_package_names_are_loaded_on_first_use():
    code = (
        "import sys, resseg\n"
        "assert set(resseg.__all__) <= set(dir(resseg))\n"
        "assert not {'jax', 'ml_collections', 'pandas'} & set(sys.modules)\n"
        "assert callable(resseg.load_config) and callable(resseg.open_run)\n"
        "assert 'jax' not in sys.modules\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'load_confg'"):
        _ = resseg.load_confg


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "resseg", "config", QUICKSTART]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


def test_a_command_that_is_gone_says_what_to_type_instead(capsys):
    assert cli.main(["board", "runs"]) == 2
    assert "resseg report DIR --watch --serve 8710" in error_line(capsys)


def test_a_value_without_end_is_cut_short(capsys):
    value = "x" * 1500 + "y" * 1500
    assert cli.main(["config", "quickstart", f"--config.seed={value}"]) == 2
    # Its 3000 characters, the key before them, the colon behind.
    assert capsys.readouterr().err == (
        f"resseg: error: config.seed={'x' * 68}...{'y' * 39}: (3013 characters) "
        "expected int\n"
    )
