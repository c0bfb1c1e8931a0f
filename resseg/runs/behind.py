"""Work that goes on behind the training, one piece at a time."""

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Behind:
    """A thread that does what it is given; what that raises is raised to its owner."""

    def __init__(self):
        self._future: Future[None] | None = None

    @functools.cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="behind")

    def do(self, work: Callable[[], None]) -> None:
        """Begins `work` once what it was given before is done.

        Raises:
            Exception: what that raised.
        """
        self.finish()
        self._future = self._thread.submit(work)

    def finish(self) -> None:
        """Waits for what it was given last, and raises what that raised, once."""
        future, self._future = self._future, None
        if future is not None:
            future.result()

    def check(self) -> None:
        """Raises what that raised, and waits for nothing."""
        if self._future is not None and self._future.done():
            self.finish()
