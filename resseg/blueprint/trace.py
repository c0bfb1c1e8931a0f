"""One trace of a network: its calls, forks, variables, and how its weights are drawn.

Nothing is computed. All that is static about a network follows from this one trace, so
nobody has to trace it again to look something up.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.extend.core import jaxpr_as_fun

from resseg.blueprint.drawing import cut
from resseg.blueprint.receptive_field import PIXEL, Field, follow
from resseg.gradients.fork import (
    TAPS,
    Fork,
    ForkInfo,
    fork_name,
    recorded_coefficients,
)
from resseg.models.heads.fcn import Upsample
from resseg.models.heads.linknet import TransposedConv
from resseg.models.heads.manet import PositionAttention
from resseg.models.layers import Conv
from resseg.models.ops.choice import Formulation, formulation

DRAWN = ("params", "batch_stats")  # collections that a key fills

Path = tuple[str, ...]


class Call(NamedTuple):
    """One call of a module.

    Attributes:
        path: of the module, () for the network itself.
        module: unbound, for its attributes alone.
        inputs: shape of its first argument; None if that is no single array.
        output: shape of its result; None if that is no single array.
    """

    path: Path
    module: nn.Module
    inputs: tuple[int, ...] | None
    output: tuple[int, ...] | None


class MeasuredCall(NamedTuple):
    """A call with what it costs and what it sees.

    Attributes:
        path, module, inputs, output: as in `Call`.
        macs: multiply-accumulates of its own, those of its parts not counted.
        before: receptive field of its first argument; None as for `inputs`.
        after: receptive field of its result; None as for `output`.
    """

    path: Path
    module: nn.Module
    inputs: tuple[int, ...] | None
    output: tuple[int, ...] | None
    macs: int
    before: Field | None
    after: Field | None


@dataclasses.dataclass(frozen=True)
class Trace:
    """What the trace of `model.init` says.

    Attributes:
        calls: of modules, in their order; a call stands before those that it makes.
        variables: shapes and dtypes of every collection.
        coefficients: the leaves of `paths` as the model has them at first.
        program: jaxpr of `(key, images) -> (variables of DRAWN, ends)`; the ends are
            the arrays that go into the calls and come out of them.
    """

    calls: tuple[Call, ...]
    variables: Mapping[str, Any]
    coefficients: Mapping[Path, float]
    program: Any = dataclasses.field(repr=False)

    @functools.cached_property
    def forks(self) -> tuple[ForkInfo, ...]:
        """In the order the signal meets them."""
        return tuple(
            ForkInfo(fork_name(path), module.kind, module.paths, inputs or ())
            for path, module, inputs, _ in self.calls
            if isinstance(module, Fork)
        )

    @functools.cached_property
    def parameters(self) -> dict[Path, int]:
        """Learned numbers in each leaf of `params`."""
        leaves: dict[Path, Any]
        leaves = traverse_util.flatten_dict(self.variables.get("params", {}))
        return {path: leaf.size for path, leaf in leaves.items()}

    @functools.cached_property
    def macs(self) -> tuple[int, ...]:
        """Multiply-accumulates of each call, those of its parts not counted.

        Of convolutions, padding counted as pixels; biases, norms, pooling and
        interpolation are not counted. A transposed convolution spreads each pixel of
        its input over a kernel. Attention counts its products of positions.

        Raises:
            TypeError: a module holds a kernel, but how often it is used is not known
                here.
        """
        return tuple(map(self._multiply_accumulates, self.calls))

    @functools.cached_property
    def measured(self) -> tuple[MeasuredCall, ...]:
        """The calls, with receptive fields, which are followed through the program."""
        program = self.program.jaxpr
        followed = follow(program, [None] * (len(program.invars) - 1) + [PIXEL])
        ends = iter(followed[len(self._drawn) :])
        return tuple(
            MeasuredCall(
                *call,
                macs,
                None if call.inputs is None else next(ends),
                None if call.output is None else next(ends),
            )
            for call, macs in zip(self.calls, self.macs, strict=True)
        )

    def paths(self) -> dict[str, Any]:
        """The `paths` collection as it starts, on the host.

        A program that takes it as an argument is the same for all coefficients; one
        that calls `model.init` holds them as constants.
        """
        leaves = {path: np.float32(x) for path, x in self.coefficients.items()}
        return traverse_util.unflatten_dict(leaves)

    def zero_taps(self) -> Any:
        """The `taps` collection, on the host."""
        return zeros(self.variables[TAPS])

    def drawing(self) -> Callable[[jax.Array], dict[str, Any]]:
        """`key -> {"params", "batch_stats"}`, the bits that `model.init` draws.

        To be jitted, or better, as that takes long to compile, to make a `Drawing` of.
        It is what the drawn variables depend on, cut out of the program, so that a
        network is not traced again to draw its weights.
        """
        images = self.program.in_avals[-1]
        draw = jaxpr_as_fun(cut(self.program, range(len(self._drawn))))
        shapes = [self.variables.get(name, {}) for name in DRAWN]

        def drawn(key: jax.Array) -> dict[str, Any]:
            leaves = draw(key, jnp.zeros(images.shape, images.dtype))
            tree = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
            return dict(zip(DRAWN, tree, strict=True))

        return drawn

    @property
    def _drawn(self) -> list[Any]:
        return jax.tree.leaves([self.variables.get(name, {}) for name in DRAWN])

    def _multiply_accumulates(self, call: Call) -> int:
        module, inputs, output = call.module, call.inputs, call.output
        if inputs is not None and output is not None:
            if isinstance(module, Conv):
                window = module.kernel**2 * inputs[-1] // module.groups
                return math.prod(output) * window
            if isinstance(module, Upsample):
                return math.prod(inputs) * (2 * module.ratio) ** 2 * output[-1]
            if isinstance(module, TransposedConv):
                return math.prod(inputs) * module.size**2 * output[-1]
            if isinstance(module, PositionAttention):
                batch, height, width, channels = inputs
                return batch * module.products(height * width, channels)
        if (*call.path, "kernel") in self.parameters:
            raise TypeError(f"{type(module).__name__}: unknown use of its kernel")
        return 0


def trace(model: nn.Module, image_shape: Sequence[int], **arguments: Any) -> Trace:
    """Traces `model.init(key, images, **arguments)`.

    Args:
        model: called with images alone, and with `arguments` where it wants more.
        image_shape: `[batch, height, width, channels]`.
    """
    calls: list[Call] = []
    ends: list[tuple[jax.Array | None, jax.Array | None]] = []

    def record(call, args, kwargs, context):
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        place = len(calls)
        result = call(*args, **kwargs)
        first, last = _array(args[0] if args else None), _array(result)
        inputs, output = (None if a is None else a.shape for a in (first, last))
        path, module = context.module.path, context.module.clone(parent=None)
        # A call stands before the calls that it makes.
        calls.insert(place, Call(path, module, inputs, output))
        ends.insert(place, (first, last))
        return result

    def run(key, images):
        with nn.intercept_methods(record):
            variables = model.init(key, images, **arguments)
        shapes.update(jax.tree.map(_shape, dict(variables)))
        drawn = [variables.get(name, {}) for name in DRAWN]
        return drawn, [array for pair in ends for array in pair if array is not None]

    shapes: dict[str, Any] = {}
    key = jax.eval_shape(lambda: jax.random.key(0))
    images = jax.ShapeDtypeStruct(tuple(image_shape), jnp.float32)
    # Receptive fields and products are read off operations as a textbook has them.
    with recorded_coefficients() as coefficients, formulation(Formulation.PLAIN):
        program = jax.make_jaxpr(run)(key, images)
    return Trace(tuple(calls), shapes, coefficients, program)


def zeros(shapes: Any) -> Any:
    """Arrays of zeros of these shapes, on the host."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def _array(value: Any) -> jax.Array | None:
    return value if isinstance(value, jax.Array) else None


def _shape(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
