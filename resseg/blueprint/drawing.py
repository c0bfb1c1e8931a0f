"""Drawing the arrays that a program draws from a key, without compiling that program.

XLA compiles the program that draws the weights of a network for longer than its train
step: it holds the generator of random bits once for every array. But an array is
constant, or it is normal, with a variance of its own. Those are recognised in the
program, and one small program draws all that is normal, piece by piece, with the bits
that the compiled program would give.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxpr_as_fun
from jax.extend.random import threefry_2x32

_SETTINGS: Any = jax.config  # no type checker knows what is in it
_PIECE = 1 << 16  # numbers that one call draws


class Constant(NamedTuple):
    """An array of one value."""

    shape: tuple[int, ...]
    dtype: str
    value: float


class Normal(NamedTuple):
    """Normal numbers of a variance, from the key with `stream` folded in."""

    shape: tuple[int, ...]
    stream: int
    variance: float


class Given(NamedTuple):
    """The argument of that number, the key not counted."""

    place: int


Recipe = Constant | Normal | Given


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What a function `(key, *arguments) -> tree of arrays` computes, leaf by leaf.

    Attributes:
        tree: structure of the result.
        recipes: of its leaves, in their order; None for one that `rest` computes.
        rest: the function cut to those leaves, jitted; None where there are none.
    """

    tree: Any
    recipes: tuple[Recipe | None, ...]
    rest: Callable[..., Any] | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def of(cls, function: Callable[..., Any], *arguments: Any) -> "Drawing":
        """Traces `function`, whose first argument is a key; computes nothing."""
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        recipes = _recipes(program)
        left = [place for place, recipe in enumerate(recipes) if recipe is None]
        rest = jax.jit(jaxpr_as_fun(cut(program, left))) if left else None
        return cls(jax.tree.structure(shapes), recipes, rest)

    @classmethod
    def from_json(cls, tree: Any, values: Sequence[Sequence[Any]]) -> "Drawing":
        """What `to_json` was called on, whose result has the structure `tree`."""
        kinds = {kind.__name__: kind for kind in (Constant, Normal, Given)}
        recipes = []
        for name, *fields in values:
            first = tuple(fields[0]) if isinstance(fields[0], list) else fields[0]
            make: Any = kinds[name]
            recipes.append(make(first, *fields[1:]))
        return cls(tree, tuple(recipes))

    def to_json(self) -> list[list[Any]] | None:
        """The recipes, for `from_json`; None where some of it is `rest`."""
        if self.rest is not None:
            return None
        return [[type(recipe).__name__, *recipe] for recipe in self.recipes if recipe]

    def __call__(self, key: jax.Array, *arguments: Any) -> Any:
        """The result, on the host."""
        given = jax.tree.leaves(arguments)
        rest = iter(() if self.rest is None else self.rest(key, *given))
        leaves = []
        for recipe in self.recipes:
            match recipe:
                case Constant(shape, dtype, value):
                    leaves.append(np.full(shape, value, dtype))
                case Normal(shape, stream, variance):
                    leaves.append(normal(key, shape, stream, variance))
                case Given(place):
                    leaves.append(np.array(given[place]))
                case None:
                    leaves.append(np.array(next(rest)))
        return jax.tree.unflatten(self.tree, leaves)


def cut(program: Any, places: Sequence[int]) -> Any:
    """The program without what these of its results do not depend on."""
    jaxpr = program.jaxpr
    outputs = [jaxpr.outvars[place] for place in places]
    needed = {variable for variable in outputs if not isinstance(variable, Literal)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            equations.append(equation)
            needed |= {v for v in equation.invars if not isinstance(v, Literal)}
    return program.replace(jaxpr=jaxpr.replace(eqns=equations[::-1], outvars=outputs))


def normal(
    key: jax.Array, shape: Sequence[int], stream: int, variance: float
) -> np.ndarray:
    """As `jax.random.normal(jax.random.fold_in(key, stream), shape) * deviation`.

    On the host; bit by bit what XLA makes of that expression, which it compiles with
    the product of both factors.
    """
    size = int(np.prod(shape))
    scale = np.float32(np.sqrt(2)) * np.sqrt(np.float32(variance))
    own = np.uint32(stream)
    starts = np.arange(0, size, _PIECE, dtype=np.uint32)
    pieces = [_piece(key, own, start, scale) for start in starts]
    drawn = np.concatenate([np.asarray(piece) for piece in pieces])
    return drawn[:size].reshape(shape)


@jax.jit
def _piece(
    key: jax.Array, stream: jax.Array, start: jax.Array, scale: jax.Array
) -> jax.Array:
    """The numbers of a stream from `start` on, as `jax.random.normal` counts them."""
    words = jax.random.key_data(jax.random.fold_in(key, stream))
    low = jax.lax.iota(jnp.uint32, _PIECE) + start
    both = threefry_2x32(words, jnp.concatenate([jnp.zeros_like(low), low]))
    bits = both[:_PIECE] ^ both[_PIECE:]
    ones = jax.lax.bitcast_convert_type((bits >> 9) | 0x3F800000, jnp.float32)
    least, most = np.nextafter(np.float32(-1), np.float32(0)), np.float32(1)
    uniform = jnp.maximum(least, (ones - 1) * (most - least) + least)
    return jax.lax.erf_inv(uniform) * scale


class _Number(NamedTuple):
    value: Any
    type: str


class _Term(NamedTuple):
    """A primitive of terms: of further ones, of numbers, of arguments by place."""

    name: str
    params: str
    inputs: tuple[Any, ...]


def _recipes(program: Any) -> tuple[Recipe | None, ...]:
    outputs = program.jaxpr.outvars
    avals: list[Any] = [variable.aval for variable in outputs]
    terms = zip(_terms(program), avals, strict=True)
    return tuple(_recipe(term, tuple(aval.shape), aval.dtype) for term, aval in terms)


def _terms(program: Any) -> list[Any]:
    """What each result of a program is made of; the key is argument -1."""
    jaxpr = program.jaxpr
    known: dict[Any, Any] = {v: place - 1 for place, v in enumerate(jaxpr.invars)}

    def term(variable: Any) -> Any:
        if isinstance(variable, Literal):
            return _Number(variable.val, str(variable.aval))
        return known.get(variable)

    for equation in cut(program, range(len(jaxpr.outvars))).jaxpr.eqns:
        inputs = tuple(map(term, equation.invars))
        for variable in equation.outvars:
            name = equation.primitive.name
            known[variable] = _Term(name, str(equation.params), inputs)
    return [term(variable) for variable in jaxpr.outvars]


def _recipe(term: Any, shape: tuple[int, ...], dtype: Any) -> Recipe | None:
    while isinstance(term, _Term) and term.name == "copy":
        (term,) = term.inputs
    if isinstance(term, int):
        return Given(term)
    if isinstance(term, _Term) and term.name == "broadcast_in_dim":
        (term,) = term.inputs
    if isinstance(term, _Number):
        return Constant(shape, str(dtype), np.asarray(term.value).item())
    numbers: dict[str, Any] = {}
    if dtype != np.float32 or len(shape) < 2:  # such as have a fan
        return None
    if _without_numbers(term, numbers) != _normal_term(shape):
        return None
    return Normal(shape, int(numbers["random_fold_in"]), float(numbers["sqrt"]))


def _without_numbers(term: Any, numbers: dict[str, Any]) -> Any:
    """A term with its stream and its variance left out, which go into `numbers`."""
    if not isinstance(term, _Term):
        return term
    inputs = [_without_numbers(each, numbers) for each in term.inputs]
    if term.name in ("random_fold_in", "sqrt") and isinstance(inputs[-1], _Number):
        numbers[term.name] = inputs[-1].value
        inputs[-1] = inputs[-1]._replace(value=None)
    return term._replace(inputs=tuple(inputs))


def _normal_term(shape: tuple[int, ...]) -> Any:
    """The term of normal weights as jax writes it now, its two numbers left out.

    None where `normal` draws other bits than jax is set to.
    """
    if not _SETTINGS.jax_threefry_partitionable:
        return None
    weights = nn.initializers.variance_scaling(1.0, "fan_out", "normal")

    def draw(key: jax.Array) -> jax.Array:
        return weights(jax.random.fold_in(key, 0), shape, jnp.float32)

    key = jax.random.key(0, impl="threefry2x32")
    (term,) = _terms(jax.make_jaxpr(draw)(key))
    return _without_numbers(term, {})
