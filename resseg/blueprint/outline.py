"""What a training needs to know of the trace of its network: plain data.

Kept on the disk, it saves the next start of the same network its trace.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from flax import traverse_util

from resseg.blueprint.trace import Trace
from resseg.gradients.fork import ForkInfo

Path = tuple[str, ...]


class Placed(float):
    """The first value of a coefficient, and which of the config's coefficients it is.

    A network keeps its coefficients as they are given, so that each leaf of the `paths`
    collection says where it comes from.
    """

    place: int

    @classmethod
    def at(cls, value: float, place: int) -> Self:
        placed = cls(value)
        placed.place = place
        return placed


class Outline(NamedTuple):
    """Of one network and one size of image.

    Attributes:
        variables: shapes and dtypes of every collection.
        coefficients: the leaves of `paths` as the network has them at first.
        forks: in the order the signal meets them.
        params: learned numbers.
        macs: multiply-accumulates of convolutions for one image.
    """

    variables: Mapping[str, Any]
    coefficients: Mapping[Path, float]
    forks: Sequence[ForkInfo]
    params: int
    macs: int

    @classmethod
    def of(cls, trace: Trace) -> Self:
        """That of a trace."""
        params, macs = sum(trace.parameters.values()), sum(trace.macs)
        return cls(trace.variables, trace.coefficients, trace.forks, params, macs)

    def to_json(self) -> dict[str, Any]:
        """All of it, for `from_json`."""
        flat: dict[Path, Any] = traverse_util.flatten_dict(dict(self.variables))
        return {
            "variables": [
                [list(path), list(leaf.shape), str(leaf.dtype)]
                for path, leaf in flat.items()
            ],
            "coefficients": [
                [list(path), float(value), getattr(value, "place", None)]
                for path, value in self.coefficients.items()
            ],
            "forks": [list(fork) for fork in self.forks],
            "params": self.params,
            "macs": self.macs,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` was called on."""
        variables = {
            tuple(path): jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
            for path, shape, dtype in values["variables"]
        }
        coefficients = {
            tuple(path): value if place is None else Placed.at(value, place)
            for path, value, place in values["coefficients"]
        }
        forks = [
            ForkInfo(name, kind, tuple(paths), tuple(shape))
            for name, kind, paths, shape in values["forks"]
        ]
        return cls(
            traverse_util.unflatten_dict(variables),
            coefficients,
            tuple(forks),
            values["params"],
            values["macs"],
        )
