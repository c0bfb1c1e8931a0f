"""The classes of a data set, in the order of the run that is to score it."""

from collections.abc import Sequence

import numpy as np

from resseg.data import VOID
from resseg.errors import UserError, nearest
from resseg.runs.dataset import are_unnamed

_NAMED = 4  # that a message lists


def match_labels(
    trained: Sequence[str], here: Sequence[str], where: str
) -> np.ndarray | None:
    """int32 `[256]`: a label of the data set -> the class of that name in the run.

    Void stays void. Classes that an import has left unnamed are taken as they stand.

    Args:
        trained: the classes of the run, by index.
        here: those of the data set.
        where: what names the data set in messages.

    Returns:
        None where every label is that of the run already.

    Raises:
        UserError: they are not the same classes; names those that differ.
    """
    if list(trained) == list(here):
        return None
    unnamed = are_unnamed(trained) and len(trained) == len(here)
    if unnamed:
        return None
    lacking = [name for name in trained if name not in here]
    unknown = [name for name in here if name not in trained]
    if lacking or unknown:
        parts = []
        if lacking:
            parts.append(f"has no {_listed(lacking)}")
        if unknown:
            hint = nearest(unknown[0], lacking)
            parts.append(f"has {_listed(unknown)}, which the run does not know{hint}")
        raise UserError(
            f"{where}: {' and '.join(parts)}; expected the {len(trained)} classes that "
            "the run was trained on, in any order"
        )
    table = np.full(256, VOID, np.int32)
    table[: len(here)] = [list(trained).index(name) for name in here]
    return table


def check_labels(trained: Sequence[str], here: Sequence[str], where: str) -> None:
    """That labels mean what they meant to the run, for what cannot map them.

    Raises:
        UserError: they are other classes, or in another order.
    """
    if match_labels(trained, here, where) is not None:
        raise UserError(
            f"{where}: its classes are in another order than the run was trained on "
            f"({_listed(here)}; {_listed(trained)} there): prepare it as it was"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more
