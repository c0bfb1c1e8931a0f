"""Every key that an experiment may set: one row each, and all that is known of it.

A row says name, default, type and allowed values, meaning with its unit, and three
facts: what it is to the compiled program, whether it may differ where a run goes on,
whether gradient norms stay comparable. `resseg.config.key` has their meanings, and
`resseg config --explain KEY` prints a row. To add a key, add its row.
"""

from collections.abc import Iterable, Sequence

from resseg.config.key import Key
from resseg.config.rows import backbone, data, head, learning, loss, paths, running


def joined(sections: Iterable[Sequence[Key]]) -> dict[str, Key]:
    """The rows by name.

    Raises:
        ValueError: a key has two rows.
    """
    keys: dict[str, Key] = {}
    for row in (row for section in sections for row in section):
        if row.name in keys:
            raise ValueError(f"config key {row.name!r} has two rows")
        keys[row.name] = row
    return keys


KEYS = joined(
    (
        data.ROWS,
        backbone.ROWS,
        paths.ROWS,
        head.ROWS,
        loss.ROWS,
        learning.ROWS,
        running.ROWS,
    )
)
