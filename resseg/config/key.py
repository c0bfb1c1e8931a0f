"""A config key: what is said of it, once, in its row of `resseg.config.rows`."""

from dataclasses import dataclass
from enum import Enum

from resseg.config.values import UNSAID, Value


class ProgramRole(Enum):
    """What a key is to the compiled train step."""

    SHAPES = "shapes the compiled program: runs that differ in it compile their own"
    NUMBER = "an argument of the compiled program: runs that differ in it share one"
    SWITCH = (
        "an argument of the compiled program, which lacks that part where it is off"
    )
    OUTSIDE = "never seen by the compiled program: runs that differ in it share one"
    LOOP = "counted by the training loop: runs that step together agree in it"
    LOOP_SWITCH = (
        "counted by the training loop: runs that step together agree in it, and the "
        "compiled program lacks that part where it is 0"
    )


class Resume(Enum):
    """Whether a key may differ where a run goes on."""

    FIXED = "fixed: a run goes on with the value that it began with"
    FREE = "free: a run may go on with another, as nothing computed depends on it"


class Norms(Enum):
    """Whether gradient norms of runs that differ in a key mean the same."""

    SAME = "comparable: norms of runs that differ in it mean the same"
    CHANGED = "not comparable: norms of runs that differ in it mean something else"


SHAPES, NUMBER, SWITCH = ProgramRole.SHAPES, ProgramRole.NUMBER, ProgramRole.SWITCH
OUTSIDE, LOOP, LOOP_SWITCH = (
    ProgramRole.OUTSIDE,
    ProgramRole.LOOP,
    ProgramRole.LOOP_SWITCH,
)
FIXED, FREE = Resume.FIXED, Resume.FREE
SAME, CHANGED = Norms.SAME, Norms.CHANGED

_QUESTIONS: dict[type[ProgramRole | Resume | Norms], str] = {
    ProgramRole: "once what it is to the compiled program",
    Resume: "once whether it may differ where a run goes on",
    Norms: "once whether gradient norms stay comparable",
}


@dataclass(frozen=True)
class Key:
    """One row.

    Attributes:
        name: dotted, `optim.learning_rate`.
        value: default, type, and which values are allowed.
        meaning: with its unit.
        facts: one of `ProgramRole`, one of `Resume`, one of `Norms`.
        later: the key came after sweeps of the present `NUMERICS` had been written, and
            its default is what they did: it enters a run's id only where it is set.

    Raises:
        ValueError: something is not said of the key; the message names both.
    """

    name: str
    value: Value
    meaning: str = ""
    facts: tuple[ProgramRole | Resume | Norms, ...] = ()
    later: bool = False

    def __post_init__(self) -> None:
        if self.value.allowed is UNSAID:
            self._lacks("which values are allowed: a range, choices or any")
        if not self.meaning:
            self._lacks("what it means")
        for fact, question in _QUESTIONS.items():
            if [type(given) for given in self.facts].count(fact) != 1:
                self._lacks(f"{question}: {' | '.join(fact.__members__)}")

    def _lacks(self, what: str) -> None:
        raise ValueError(f"config key {self.name!r} has to say {what}")

    @property
    def program(self) -> ProgramRole:
        return next(fact for fact in self.facts if isinstance(fact, ProgramRole))

    @property
    def resume(self) -> Resume:
        return next(fact for fact in self.facts if isinstance(fact, Resume))

    @property
    def norms(self) -> Norms:
        return next(fact for fact in self.facts if isinstance(fact, Norms))

    @property
    def section(self) -> str:
        """`optim` of `optim.learning_rate`; "" at the top."""
        return self.name.rpartition(".")[0]
