"""Worker processes: where they may be started, and what is said where one ends.

A worker is a fresh Python that first imports the script which started it, as any
process that `multiprocessing` spawns. So a script that trains outside of
`if __name__ == "__main__":` would train again in each of its workers.
"""

import contextlib
import inspect
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from absl import flags

from resseg.errors import UserError

_GUARD = (
    'a script that trains has to do so below `if __name__ == "__main__":`, because '
    "each worker process imports it; or set config.data.workers=0"
)


def check_script(workers: int, main: ModuleType | None = None) -> None:
    """Raises UserError where workers would run the script that starts them.

    Known at once is a script that never looks at `__name__`; see `ended` for others.

    Args:
        workers: how many are to be started.
        main: the module that they import; None = that of this process.
    """
    file = getattr(main or sys.modules["__main__"], "__file__", None)
    if not workers or file is None or not Path(file).is_file():
        return
    if b"__name__" not in Path(file).read_bytes():
        raise UserError(f"config.data.workers={workers}: {file}: {_GUARD}")


def leave_if_starting() -> None:
    """Ends a worker, without a word, that would train while it imports its script."""
    frame = inspect.currentframe()
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if frame.f_code.co_name == "<module>" and module == "__mp_main__":
            sys.exit(1)
        frame = frame.f_back


def parse_flags() -> None:
    """Before workers start: they read an absl flag, which only absl's main parses."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Workers that are started within do not hear Ctrl-C, which a terminal sends them.

    Who started them ends them, once what is at work is done. They inherit what is
    blocked in this thread, before the first line of Python in them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ended(
    workers: int, error: Exception, processes: Sequence[BaseProcess] | None
) -> Exception:
    """What is said where a worker has ended before its work was done.

    Args:
        workers: how many there are.
        error: that tells of it, or that a worker raised.
        processes: the workers; None where none of them has given a batch yet.
    """
    if processes is None:
        reason = str(error).partition(". ")[0]
        return UserError(f"config.data.workers={workers}: {reason}; {_GUARD}")
    dead = [process for process in processes if process.exitcode]
    if not dead:
        return error
    code = dead[0].exitcode or 0
    how = f"ended with status {code}"
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
    if code == -signal.SIGKILL:
        how += ", as the system does where memory is short"
    return UserError(
        f"config.data.workers={workers}: worker process {dead[0].pid} {how}; the same "
        "command goes on from the last checkpoint, also with fewer workers"
    )
