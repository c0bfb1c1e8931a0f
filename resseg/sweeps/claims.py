"""What a study claims to come out, checked by `resseg table`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def check_claims(file: Path, claims: Sequence[Any], study: Any) -> tuple[dict, ...]:
    """The claims as plain values for `sweep.json`."""
    return tuple(claims)
