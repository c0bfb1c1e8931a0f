"""How far from the border of a tile a network's scores depend on what lies outside.

The program is followed with marks for numbers: a pixel outside of the tile is marked,
and so is all that is computed of something marked. Unlike `receptive_field`, which
names what a convolution of the encoder sees, this goes through the decoder and every
resize, and a mean over the whole image marks everything.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, Literal

from resseg.models.ops.choice import Formulation, formulation

_CALLS = ("jaxpr", "call_jaxpr")  # parameters that hold the body of a call
# With weights of 1 they are above 0 where anything they are made of is.
_SUMS = (
    *("broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "rev", "pad"),
    *("concatenate", "reduce_sum", "reduce_max", "reduce_window_max", "cumsum"),
    *("reduce_window_sum", "gather", "copy", "convert_element_type", "split"),
)
_MIXES = ("sort", "cumprod", "cummax", "cumlogsumexp", "fft", "dynamic_slice", "argmax")
_WIDE = 2  # features of the deepest stage across; rows alone are counted


class _Unknown:
    """A number that no pixel leads to, but that is not known here: a weight."""


class _Marked:
    """Which entries depend on a marked pixel, bool."""

    def __init__(self, where: Any):
        self.where = np.asarray(where) > 0


def reach(model: Any, variables: Any, side: int, stride: int) -> float:
    """So many pixels from its border a tile's scores may depend on what lies outside.

    Args:
        model: a network, `model.apply(variables, images, train=False)["logits"]`.
        variables: of the network, or their shapes.
        side: of the tile, pixels.
        stride: of the network; the tile begins at a multiple of it.

    Returns:
        Pixels; infinite where no row of the tile is free of it.
    """
    image = jax.ShapeDtypeStruct((1, side + stride, _WIDE * stride, 3), jnp.float32)

    def scores(images: Any, variables: Any) -> Any:
        return model.apply(variables, images, train=False)["logits"]

    with formulation(Formulation.PLAIN):
        program = jax.make_jaxpr(scores)(image, variables)
    weights = [_Unknown()] * (len(program.jaxpr.invars) - 1)
    found = 0.0
    for outside in (slice(0, stride), slice(side, side + stride)):
        marks = np.zeros(image.shape, bool)
        marks[:, outside] = True
        (result,) = _follow(program.jaxpr, program.consts, [_Marked(marks), *weights])
        if not isinstance(result, _Marked):
            continue  # no score depends on the image
        rows = np.flatnonzero(result.where.any((0, 2, 3)))
        within = rows[rows >= stride] if outside.start == 0 else rows[rows < side]
        if len(within) == side:
            return math.inf
        if len(within):
            deepest = (
                within[-1] + 1 - stride if outside.start == 0 else side - within[0]
            )
            found = max(found, float(deepest))
    return found


def _follow(jaxpr: Jaxpr, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """What a program gives for numbers, unknowns and marks."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))

    def look_up(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        incoming = [look_up(variable) for variable in equation.invars]
        values.update(zip(equation.outvars, _through(equation, incoming), strict=True))
    return [look_up(variable) for variable in jaxpr.outvars]


def _through(equation: Any, incoming: list[Any]) -> list[Any]:
    marked = any(isinstance(value, _Marked) for value in incoming)
    if not marked and any(isinstance(value, _Unknown) for value in incoming):
        return [_Unknown()] * len(equation.outvars)
    body = next(
        (equation.params[key] for key in _CALLS if key in equation.params), None
    )
    if body is not None and marked:
        inner, consts = getattr(body, "jaxpr", body), getattr(body, "consts", ())
        if len(inner.invars) == len(incoming):
            return _follow(inner, consts, incoming)
        return _everything(equation)
    if not marked:
        found = equation.primitive.bind(*incoming, **equation.params)
        return list(found) if equation.primitive.multiple_results else [found]
    return _marks(equation, incoming)


def _marks(equation: Any, incoming: list[Any]) -> list[Any]:
    name = equation.primitive.name
    if name == "conv_general_dilated":
        return _convolved(equation, incoming)
    if name == "dot_general":
        if all(isinstance(value, _Marked) for value in incoming):
            return _everything(equation)
        return _bound(equation, incoming, unknown=1)
    if name in _SUMS:
        return _bound(equation, incoming, unknown=0)
    shape = equation.outvars[0].aval.shape
    seen = [value.where for value in incoming if isinstance(value, _Marked)]
    alike = all(where.shape in (shape, ()) for where in seen)
    if name in _MIXES or not alike or len(equation.outvars) > 1:
        return _everything(equation)
    marks = np.zeros(shape, bool)
    for where in seen:
        marks |= where
    return [_Marked(marks)]


def _bound(equation: Any, incoming: list[Any], unknown: int) -> list[Any]:
    """The operation itself: of 1 where there is a mark, of sizes of known weights."""
    numbers = []
    for value, variable in zip(incoming, equation.invars, strict=True):
        aval = variable.aval
        if isinstance(value, _Marked):
            value = value.where.astype(aval.dtype)
        elif isinstance(value, _Unknown):
            value = np.full(aval.shape, unknown, aval.dtype)
        elif jnp.issubdtype(aval.dtype, jnp.floating):
            value = np.abs(value) if unknown else np.zeros(aval.shape, aval.dtype)
        numbers.append(jnp.asarray(value))
    found = equation.primitive.bind(*numbers, **equation.params)
    return [_Marked(x) for x in (found if isinstance(found, list | tuple) else [found])]


def _convolved(equation: Any, incoming: list[Any]) -> list[Any]:
    """One channel stands for all: they see the same pixels."""
    image, settings = incoming[0], equation.params
    axes = settings["dimension_numbers"]
    if not isinstance(image, _Marked) or isinstance(incoming[1], _Marked):
        return _everything(equation)
    channel = axes.lhs_spec[1]
    any_channel = image.where.any(channel, keepdims=True).astype(np.float32)
    shape = list(equation.invars[1].aval.shape)
    for axis in axes.rhs_spec[:2]:
        shape[axis] = 1
    found = jax.lax.conv_general_dilated(
        jnp.asarray(any_channel),
        jnp.ones(shape),
        settings["window_strides"],
        settings["padding"],
        settings["lhs_dilation"],
        settings["rhs_dilation"],
        axes,
    )
    out = equation.outvars[0].aval.shape
    return [_Marked(np.broadcast_to(np.asarray(found), out))]


def _everything(equation: Any) -> list[Any]:
    return [_Marked(np.ones(out.aval.shape, bool)) for out in equation.outvars]
