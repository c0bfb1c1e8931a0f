"""The row of a key, for people."""

import textwrap

from resseg.config.fields import check_key
from resseg.config.rows import KEYS


def explain(key: str) -> str:
    """What is known of a key, a line each: meaning, values, facts.

    Raises:
        UserError: no such key; with the nearest one.
    """
    check_key(key)
    row = KEYS[key]
    lines = {
        "meaning": row.meaning,
        "default": repr(row.value.default),
        "expected": row.value.expected(),
        "program": row.program.value,
        "resume": row.resume.value,
        "norms": row.norms.value,
    }
    return "\n".join([key, *map(_line, lines, lines.values())])


def _line(name: str, words: str) -> str:
    return textwrap.fill(
        words,
        width=88,
        initial_indent=f"  {name:10}",
        subsequent_indent=" " * 12,
        break_on_hyphens=False,
    )
