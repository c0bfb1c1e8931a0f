"""The processes that train one run: what each of them has to know of the others."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol, Self, TypeVar

from resseg.errors import UserError
from resseg.processes.wire import Name, Wire

LOST = 75  # exit status of one that others have left; launchers try again
_NEWS = 5.0  # seconds until the end of another process is known here, at most
_TELLS = 1.0  # seconds after which the first says whom it waits for
_VALUE, _ALL, _WAITS, _LEAVE, _BYE = "value", "all", "waits", "leave", "bye"
_PING, _PONG = "ping", "pong"
_ANSWERS = 2.0  # seconds in which a process that is not stopped answers

T = TypeVar("T")
Leave = Callable[[int, str], None]  # ends the process: exit status, and a line


class Group(Protocol):
    """Processes that do the same things in the same order.

    Attributes:
        process: which this one is, from 0. The first alone writes and speaks.
        processes: how many there are.
    """

    process: int
    processes: int

    @property
    def leads(self) -> bool:
        """Whether this is the first."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """What each gives, as JSON has it, by process; waits for all of them."""
        ...

    def by_first(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, which alone calls it."""
        ...

    def waits_for(self) -> str:
        """Whom this process waits for; "" for nobody."""
        ...


class Alone:
    """A process that trains by itself."""

    process, processes, leads = 0, 1, True

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def by_first(self, work: Callable[[], T]) -> T:
        return work()

    def waits_for(self) -> str:
        return ""


ALONE = Alone()


class Lost(RuntimeError):
    """Another process of the group has ended."""


class Connected:
    """One of several processes, connected through the first.

    As a context it says goodbye to the others at its end; with an error it tells them,
    and they end too.
    """

    def __init__(self, own: Name, wires: dict[int, tuple[Name, Wire]]):
        """See `join`.

        Args:
            own: this process.
            wires: to all others from the first, to the first from all others.
        """
        self.process, self.processes = own.process, own.processes
        self._own, self._wires = own, wires
        self._received = {number: queue.SimpleQueue[Any]() for number in wires}
        self._waited: list[str] = []  # for whom
        self._gone: set[int] = set()
        self._answered: set[int] = set()
        self._over, self._leave = threading.Event(), None
        self._lost = ""
        for number in wires:
            threading.Thread(target=self._listen, args=(number,), daemon=True).start()

    @property
    def leads(self) -> bool:
        return self.process == 0

    def ends_by(self, leave: Leave | None) -> Leave | None:
        """How to end this process where another one is gone; None = by `Lost`.

        Returns:
            What ends this process and tells the others.
        """
        self._leave = leave
        if leave is None:
            return None

        def told(status: int, line: str) -> None:
            self._tell(_LEAVE, [status, f"{self._own}: {line}"])
            leave(status, line)

        if self._lost:
            leave(LOST, self._lost)
        return told

    def gather(self, value: Any) -> list[Any]:
        if not self.leads:
            self._tell(_VALUE, value)
            self._waited = [str(self._wires[0][0])]
            values = self._next(0)
        else:
            values = [value, *(self._collect(number) for number in self._wires)]
            self._tell(_ALL, values)
        self._waited = []
        return values

    def by_first(self, work: Callable[[], T]) -> T:
        return self.gather(work() if self.leads else None)[0]

    def waits_for(self) -> str:
        """Also asks those that it is connected with whether they live."""
        return ", ".join(self._waited or self._silent())

    def _silent(self) -> list[str]:
        self._answered.clear()
        self._tell(_PING, None)
        until = time.monotonic() + _ANSWERS
        while self._wires.keys() - self._answered and time.monotonic() < until:
            time.sleep(0.05)
        silent = self._wires.keys() - self._answered - self._gone
        return [f"{self._wires[number][0]}, which is silent" for number in silent]

    def _collect(self, number: int) -> Any:
        """A value of another process, at the first; it says whom it waits for."""
        said = False
        while True:
            late = [str(n) for k, (n, _) in self._wires.items() if self._is_late(k)]
            try:
                return self._next(number, _TELLS)
            except queue.Empty:
                self._waited = late
                if not said:
                    self._tell(_WAITS, late)
                    said = True

    def _is_late(self, number: int) -> bool:
        return self._received[number].empty()

    def _next(self, number: int, seconds: float | None = None) -> Any:
        if self._lost:
            self._is_lost()
        kind, value = self._received[number].get(timeout=seconds)
        if kind == _LEAVE:
            self._is_lost()
        return value

    def _is_lost(self) -> NoReturn:
        if self._leave is not None:
            time.sleep(_NEWS)  # the process is being ended, and has said why
        raise Lost(self._lost)

    def _tell(self, kind: str, value: Any) -> None:
        for _, wire in self._wires.values():
            wire.send(kind, value)

    def _listen(self, number: int) -> None:
        """Takes what one other sends; in a thread of its own."""
        with contextlib.closing(self._wires[number][1]):
            self._take(number)

    def _take(self, number: int) -> None:
        name, wire = self._wires[number]
        while (message := wire.receive()) is not None:
            kind, value = message
            if kind == _LEAVE:
                self._end(number, *value)
                return
            if kind == _BYE:
                self._gone.add(number)
                return
            if kind == _PING:
                wire.send(_PONG, None)
            elif kind == _PONG:
                self._answered.add(number)
            elif kind == _WAITS:
                self._waited = [other for other in value if other != str(self._own)]
            else:
                self._received[number].put((kind, value))
        self._end(number, LOST, f"{name} is gone, without a word")

    def _end(self, number: int, status: int, line: str) -> None:
        """One is gone, and so are we, after all others have heard it."""
        if self._over.is_set():
            return
        for other, (_, wire) in self._wires.items():
            if other != number:
                wire.send(_LEAVE, [status, line])
        self._lost = line
        self._over.set()
        for received in self._received.values():
            received.put((_LEAVE, None))
        if self._leave is not None:
            self._leave(status, line)

    def hear(self, error: BaseException | None) -> None:
        """What has failed may be that another is gone: its words come in a moment.

        Raises:
            Lost: it is; where the process can be ended, it has been.
        """
        if isinstance(error, RuntimeError):
            self._over.wait(_NEWS)
        if self._lost and error is not None:
            self._is_lost()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        self.hear(error)
        self._over.set()  # the others let go of their wires as soon as they hear it
        if error is None:
            self._tell(_BYE, None)
        else:
            status = 2 if isinstance(error, UserError) else 1
            self._tell(_LEAVE, [status, f"{self._own}: {error}"])
        for _, wire in self._wires.values():
            wire.end()
