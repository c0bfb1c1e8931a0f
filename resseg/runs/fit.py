"""Whether a checkpoint holds the arrays that a config asks for."""

from pathlib import Path
from typing import Any

import jax

from resseg.errors import UserError

_NAMED = 3  # arrays that a message lists


def check_fits(saved: Path, stored: Any, wanted: Any) -> None:
    """That a checkpoint has the arrays of a tree, in their shapes, and no other.

    Args:
        saved: its folder, to name it.
        stored: what it holds: a tree of anything with a shape.
        wanted: the tree that it is to be restored to.

    Raises:
        UserError: names the first arrays that do not fit.
    """
    there, here = _shapes(stored), _shapes(wanted)
    differing = [
        f"{name} is {_said(there, name)} there and {_said(here, name)} by the config"
        for name in sorted(there | here)
        if there.get(name) != here.get(name)
    ]
    if differing:
        rest = len(differing) - _NAMED
        more = f"; and {rest} more" if rest > 0 else ""
        raise UserError(
            f"{saved}: whole, but of another network than the config says: "
            f"{'; '.join(differing[:_NAMED])}{more}; restore the config.json that it "
            "was trained with"
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        "/".join(map(_name, path)): tuple(leaf.shape)
        for path, leaf in flat
        if hasattr(leaf, "shape")
    }


def _name(key: Any) -> str:
    """Of an attribute, a key or a position: stored trees have dicts for tuples."""
    for attribute in ("name", "key", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    raise TypeError(f"{key!r}: no part of a path")


def _said(shapes: dict[str, tuple[int, ...]], name: str) -> str:
    return str(shapes[name]) if name in shapes else "missing"
