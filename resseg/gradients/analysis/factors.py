"""The backward factors of forks, changed by the name of fork and path."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import traverse_util

from resseg.gradients.fork import fork_name


def multiplied(
    paths: Mapping, factors: Mapping[tuple[str, str], jax.Array | float]
) -> dict[str, Any]:
    """The `paths` collection with some factors multiplied.

    With 0 and 1 they select ways of the gradient; the value stays.

    Args:
        factors: (fork name, path) -> number.

    Raises:
        KeyError: there is no such fork or path.
    """
    flat: dict[tuple[str, ...], Any] = dict(traverse_util.flatten_dict(paths))
    places = {(fork_name(key[:-1]), key[-1]): key for key in flat}
    for name, factor in factors.items():
        key = places[name]
        flat[key] = flat[key] * factor
    return traverse_util.unflatten_dict(flat)
