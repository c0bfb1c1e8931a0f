"""What a network is made of: its layers in the order of their calls, without computing.

One trace of the network in eval mode gives the calls, the shapes, the parameters and
the program in which the receptive fields are followed.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from jax.extend.core import Jaxpr

from resseg.models.heads.fcn import Upsample
from resseg.models.layers import Conv
from resseg.models.receptive_field import PIXEL, Field, follow


class Call(NamedTuple):
    """One call of a module; arrays have one image, `[1, height, width, channels]`.

    Attributes:
        path: of the module, () for the network itself.
        module: for its attributes alone.
        inputs: shape of its first argument; None if that is no single array.
        output: shape of its result; None if that is no single array.
        macs: multiply-accumulates of its own, those of its parts not counted.
        before: receptive field of its first argument; None as for `inputs`.
        after: receptive field of its result; None as for `output`.
    """

    path: tuple[str, ...]
    module: nn.Module
    inputs: tuple[int, ...] | None
    output: tuple[int, ...] | None
    macs: int
    before: Field | None = None
    after: Field | None = None


class Inventory(NamedTuple):
    """Calls in their order, and the sizes of the parameters by path."""

    calls: list[Call]
    parameters: dict[tuple[str, ...], int]


def take_inventory(model: nn.Module, size: tuple[int, int]) -> Inventory:
    """Traces `model(images, train=False)`; nothing is computed.

    Args:
        size: height, width of the image.

    Raises:
        TypeError: a module holds a kernel, but how often it is used is not known here.
    """
    calls: list[Call] = []
    ends: list[tuple[Any, Any]] = []

    def record(call, args, kwargs, context):
        place = len(calls)
        result = call(*args, **kwargs)
        if context.method_name == "__call__":
            first, last = _array(args[0] if args else None), _array(result)
            inputs, output = (None if a is None else a.shape for a in (first, last))
            module: nn.Module = context.module
            macs = multiply_accumulates(module, inputs, output)
            # A call stands before the calls that it makes.
            calls.insert(place, Call(module.path, module, inputs, output, macs))
            ends.insert(place, (first, last))
        return result

    def run(key, images):
        with nn.intercept_methods(record):
            collections = ["params", "batch_stats", "paths"]
            _, variables = model.init_with_output(
                key, images, train=False, mutable=collections
            )
        return ends, variables["params"]

    key = jax.eval_shape(lambda: jax.random.key(0))
    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    program, (_, params) = jax.make_jaxpr(run, return_shape=True)(key, images)
    fields = iter(_fields(program.jaxpr))
    for i, pair in enumerate(ends):
        before, after = (None if end is None else next(fields) for end in pair)
        calls[i] = calls[i]._replace(before=before, after=after)
    leaves: dict[Any, Any] = traverse_util.flatten_dict(params)
    return Inventory(calls, {path: leaf.size for path, leaf in leaves.items()})


def multiply_accumulates(
    module: nn.Module,
    inputs: tuple[int, ...] | None,
    output: tuple[int, ...] | None,
) -> int:
    """Of a convolution, padding counted as pixels; 0 of all that holds no kernel.

    Biases, norms, pooling and interpolation are not counted. A transposed convolution
    spreads each pixel of its input over a kernel.
    """
    if inputs is not None and output is not None:
        if isinstance(module, Conv):
            return math.prod(output) * module.kernel**2 * inputs[-1] // module.groups
        if isinstance(module, Upsample):
            return math.prod(inputs) * (2 * module.ratio) ** 2 * output[-1]
    if module.has_variable("params", "kernel"):
        raise TypeError(f"{type(module).__name__}: unknown use of its kernel")
    return 0


def _array(value: Any) -> jax.Array | None:
    return value if isinstance(value, jax.Array) else None


def _fields(program: Jaxpr) -> list[Field | None]:
    """Of the results of a program whose last argument is the image."""
    return follow(program, [None] * (len(program.invars) - 1) + [PIXEL])
