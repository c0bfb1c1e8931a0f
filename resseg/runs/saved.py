"""What a checkpoint says of itself, read without restoring it."""

import json
import math
from pathlib import Path
from typing import Any

from resseg.runs import layout

_DESCRIPTION = Path("variables") / "_METADATA"


def parameter_count(workdir: Path) -> int | None:
    """Learned numbers of the network; None where no checkpoint describes them."""
    for name in (layout.CHECKPOINTS, layout.BEST):
        for path in sorted((workdir / name).glob(f"*/{_DESCRIPTION}")):
            count = _count(path)
            if count is not None:
                return count
    return None


def _count(path: Path) -> int | None:
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        shapes = [
            leaf["value_metadata"]["write_shape"]
            for leaf in tree["tree_metadata"].values()
            if leaf["key_metadata"][0]["key"] == "params"
        ]
        return sum(math.prod(shape) for shape in shapes) or None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
