"""How a command may end: with what was asked for, or with one line and status 2."""

import contextlib
import hashlib
import io
import os

from hypothesis import settings

from resseg.cli.main import main

# So many of each kind; `make test-hostile` asks for more.
CASES = int(os.environ.get("RESSEG_HOSTILE_CASES", "20"))


def cases(share=1.0):
    """Settings of a test: its share of the cases, the same ones each time."""
    return settings(
        max_examples=max(1, round(CASES * share)),
        deadline=None,
        derandomize=True,
        database=None,
    )


def call(*arguments):
    """(status, stdout, stderr) of a command in this process.

    An exception that the command line does not turn into a line escapes: the test
    fails with it. So does a status other than 0 and 2.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:  # of argparse
            status = error.code
    assert status in (0, 2), (arguments, status, err.getvalue())
    return status, out.getvalue(), err.getvalue()


def assert_one_line(err):
    """A refusal: one line, of what is wrong."""
    *_, line = err.splitlines()
    assert line.startswith("resseg"), err
    assert "error: " in line and len(line) < 2000, err
    assert "Traceback" not in err


def contents(folder):
    """Digest of every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
