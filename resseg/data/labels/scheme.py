"""Which category is which class, and what becomes of what is none."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

from resseg.data.findings import Finding
from resseg.data.mask_rule import MaskRule, in_order
from resseg.data.spec import VOID
from resseg.errors import UserError, choose, nearest

VOID_NAME = "void"
OVERLAPS = {
    "file": "later objects of the file over earlier ones",
    "area": "smaller objects over larger ones",
    "void": "pixels of objects of several classes become void",
}
UNLISTED = ("skip", "void")


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How objects become a mask.

    Attributes:
        classes: names, by index.
        rest: class index or void of pixels that no object covers.
        unlisted: what becomes of objects of other categories: `skip` leaves what is
            below, `void` paints them.
        overlap: which object is on top, a key of `OVERLAPS`.
    """

    classes: tuple[str, ...]
    rest: int
    unlisted: str
    overlap: str

    def index(self, category: str) -> int | None:
        """The class index or void of a category; None where it is not painted."""
        if category in self.classes:
            return self.classes.index(category)
        if category.casefold() == VOID_NAME or self.unlisted == "void":
            return VOID
        return None

    @property
    def rule(self) -> MaskRule:
        """Of the painted masks: they hold these classes, and nothing is guessed."""
        return MaskRule(values=in_order(range(len(self.classes))))

    @property
    def record(self) -> dict[str, str]:
        """What is kept with the data set, for people."""
        rest = VOID_NAME if self.rest == VOID else self.classes[self.rest]
        return {"overlap": self.overlap, "rest": rest, "unlisted": self.unlisted}

    @property
    def words(self) -> str:
        """The same in a line."""
        fate = "are void" if self.unlisted == "void" else "are not painted"
        return (
            f"{OVERLAPS[self.overlap]}; pixels of no object are "
            f"{self.record['rest']}; objects of no class {fate}"
        )


def scheme(
    classes: Sequence[str] | None,
    categories: Sequence[str],
    rest: str | None,
    usual_rest: str,
    unlisted: str,
    overlap: str,
) -> Scheme:
    """Decides on classes and on the rest.

    Args:
        classes: what the user names; None = the rest, then all categories.
        categories: of the label files, in their order.
        rest: what the user says of pixels of no object; None = `usual_rest`, or void
            where `classes` have none of that name.
        usual_rest: of the format.
        unlisted: `skip` or `void`.
        overlap: a key of `OVERLAPS`.

    Raises:
        UserError: a class that is no category, or a rest that is no class.
    """
    choose("--overlap", overlap, OVERLAPS)
    choose("--unlisted", unlisted, UNLISTED)
    known = [name for name in categories if name.casefold() != VOID_NAME]
    if classes is None:
        first = rest or usual_rest
        ahead = () if first == VOID_NAME else (first,)
        classes = (*ahead, *(name for name in known if name not in ahead))
        if not 2 <= len(classes) <= VOID:
            raise UserError(
                f"--labels: {len(classes)} classes ({', '.join(classes[:4])}); "
                f"expected 2 to {VOID}: name them with --classes, and with --rest "
                "what no object covers"
            )
    if rest is None:
        rest = usual_rest if usual_rest in classes else VOID_NAME
    if rest != VOID_NAME and rest not in classes:
        hint = nearest(rest, [*classes, VOID_NAME])
        raise UserError(f"--rest {rest}: neither a class nor void{hint}")
    for name in classes:
        if name != rest and name not in known:
            raise UserError(
                f"--classes: {name!r} is no category of the labels"
                f"{nearest(name, known)}; they are {', '.join(known) or 'none'}"
            )
    index = VOID if rest == VOID_NAME else list(classes).index(rest)
    return Scheme(tuple(classes), index, unlisted, overlap)


def left_over(
    where: str, scheme: Scheme, categories: Iterable[str | None]
) -> list[Finding]:
    """One line about objects whose category is no class.

    Args:
        where: the label files.
        scheme: that says which are.
        categories: of every object.
    """
    counts = Counter(
        name for name in categories if name is not None and name not in scheme.classes
    )
    del counts[VOID_NAME]
    if not counts:
        return []
    named = ", ".join(f"{name} ({count})" for name, count in counts.most_common(12))
    more = ", ..." * (len(counts) > 12)
    fate = "void" if scheme.unlisted == "void" else "not painted"
    message = f"objects of no class, {fate}: {named}{more}"
    return [Finding("extra", where, message)]
