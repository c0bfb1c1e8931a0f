"""Which pixels of the image a feature sees, followed through the traced program."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.extend.core import Jaxpr, Literal

_HEIGHT = 1  # axis of [batch, height, width, channels] that is followed
_CALLS = ("jaxpr", "call_jaxpr")  # parameters that hold the body of a call
# What may move or mix rows although the shape stays.
_MOVES = ("rev", "transpose", "sort", "gather", "dynamic_slice", "cumsum", "cumprod")


class Field(NamedTuple):
    """Row p of a feature sees the rows jump * p + low … jump * p + high of the image.

    Attributes:
        low, high: of row 0; rows of the padding count. Infinite where all is seen.
        jump: rows of the image per row of the feature.
    """

    low: float
    high: float
    jump: float

    @property
    def size(self) -> float:
        """Rows that are seen."""
        return self.high - self.low + 1


PIXEL = Field(0, 0, 1)
EVERYTHING = Field(-math.inf, math.inf, math.nan)


def window(
    field: Field, kernel: int, stride: int = 1, dilation: int = 1, pad: int = 0
) -> Field:
    """What a window over a feature sees (Araujo 2019, section 2).

    Args:
        field: of the feature.
        kernel: rows of the window.
        pad: rows of padding in front.
    """
    start, reach = -pad, (kernel - 1) * dilation - pad
    return Field(
        field.low + start * field.jump,
        field.high + reach * field.jump,
        field.jump * stride,
    )


def follow(jaxpr: Jaxpr, inputs: Sequence[Field | None]) -> list[Field | None]:
    """The fields of the results of a program, given those of its arguments.

    Windows are square in all networks here, so the height alone is followed. Means over
    the whole image (group normalisation, squeeze-and-excitation) do not count, as is
    usual: they would make every field infinite.

    Args:
        inputs: one per argument; None where it does not depend on the image.

    Returns:
        One per result; None as above, `EVERYTHING` behind what mixes rows otherwise
        than by windows, such as resizing.
    """
    fields: dict[Any, Field] = {
        variable: field
        for variable, field in zip(jaxpr.invars, inputs, strict=True)
        if field is not None
    }

    def look_up(variable: Any) -> Field | None:
        return None if isinstance(variable, Literal) else fields.get(variable)

    for equation in jaxpr.eqns:
        incoming = [look_up(variable) for variable in equation.invars]
        if any(incoming):
            outgoing = _through(equation, incoming)
            for variable, field in zip(equation.outvars, outgoing, strict=True):
                if field is not None:
                    fields[variable] = field
    return [look_up(variable) for variable in jaxpr.outvars]


def _through(equation: Any, incoming: list[Field | None]) -> list[Field | None]:
    name, settings = equation.primitive.name, equation.params
    if name.startswith("reduce_window"):
        return [_pooled(incoming, settings)]
    if name == "conv_general_dilated":
        return [_convolved(equation, incoming)]
    body = next((settings[key] for key in _CALLS if key in settings), None)
    if body is not None:
        inner = getattr(body, "jaxpr", body)
        if len(inner.invars) == len(incoming):
            return follow(inner, incoming)
        return [EVERYTHING] * len(equation.outvars)
    return [_simple(equation, variable, incoming) for variable in equation.outvars]


def _pooled(incoming: list[Field | None], settings: Any) -> Field | None:
    field = incoming[0]
    if field is None or settings["base_dilation"][_HEIGHT] != 1:
        return field and EVERYTHING
    return window(
        field,
        settings["window_dimensions"][_HEIGHT],
        settings["window_strides"][_HEIGHT],
        settings["window_dilation"][_HEIGHT],
        settings["padding"][_HEIGHT][0],
    )


def _convolved(equation: Any, incoming: list[Field | None]) -> Field:
    settings, (field, kernel_field) = equation.params, incoming
    axes = settings["dimension_numbers"]
    if (
        field is None
        or kernel_field is not None
        or axes.lhs_spec[2] != _HEIGHT
        or axes.out_spec[2] != _HEIGHT
        or settings["lhs_dilation"][0] != 1
    ):
        return EVERYTHING
    return window(
        field,
        equation.invars[1].aval.shape[axes.rhs_spec[2]],
        settings["window_strides"][0],
        settings["rhs_dilation"][0],
        settings["padding"][0][0],
    )


def _simple(equation: Any, output: Any, incoming: list[Field | None]) -> Field | None:
    """Slices, padding, sums over the image, and what acts on each place by itself."""
    name, settings = equation.primitive.name, equation.params
    field = union([field for field in incoming if field is not None])
    if name == "slice":
        strides = settings["strides"] or (1,) * len(settings["start_indices"])
        start = settings["start_indices"][_HEIGHT]
        return window(field, 1, strides[_HEIGHT], pad=-start)
    if name == "pad":
        low, _, between = settings["padding_config"][_HEIGHT]
        return EVERYTHING if between else window(field, 1, pad=low)
    if name.startswith("reduce_") and _HEIGHT in settings.get("axes", ()):
        return None
    if name in _MOVES:
        return EVERYTHING
    if name == "dot_general":
        contracted = settings["dimension_numbers"][0]
        pairs = zip(incoming, contracted, strict=True)
        mixes = any(seen and _HEIGHT in axes for seen, axes in pairs)
        return EVERYTHING if mixes else field
    before = {
        variable.aval.shape[:3]
        for variable, seen in zip(equation.invars, incoming, strict=True)
        if seen is not None
    }
    return field if before == {output.aval.shape[:3]} else EVERYTHING


def union(fields: Sequence[Field]) -> Field:
    """What a feature sees that is computed from several, place by place."""
    low, high = min(f.low for f in fields), max(f.high for f in fields)
    jumps = {field.jump for field in fields}
    return Field(low, high, jumps.pop()) if len(jumps) == 1 else EVERYTHING
