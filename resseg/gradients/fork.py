"""The fork: one signal takes several paths, which are scaled and measured backward.

At the join of a residual block all addends receive the same cotangent; the gradients
differ where the paths part. With block output y = g(c P(x) + w h(x)) and cotangent G in
front of the join, a fork sees

    g_shortcut = alpha c P^T G        g_branch = gamma w J_h^T G        g = their sum

each exactly once, in the backward pass that training runs anyway.
"""

import contextvars
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from resseg.gradients.names import AUX, BRANCH, DEEPER, FORK, GATE, SHORTCUT, SKIP

PATHS, TAPS = "paths", "taps"  # collections of a model's variables
TAP = "tap"
# Kinds of forks, and what their paths may be called; None = anything.
KINDS = {
    "block": (SHORTCUT, BRANCH, GATE),
    "long_skip": (SKIP, DEEPER),
    "pyramid": None,
    "auxiliary": (AUX, DEEPER),
}


@jax.custom_jvp
def scale_cotangent(x: jax.Array, factor: jax.Array) -> jax.Array:
    """Returns `x` itself, bit for bit; its cotangent is multiplied by `factor`.

    A rule on the tangent and not a formula on the value: nothing is computed forward,
    an infinite `x` stays what it is, forward- and reverse-mode both work, and `factor`
    receives no gradient. Second derivatives through a factor other than 1 are those of
    no function; refuse them.
    """
    return x


@scale_cotangent.defjvp
def _scale_tangent(primals, tangents):
    x, factor = primals
    tangent, _ = tangents
    return x, tangent * factor.astype(tangent.dtype)


@jax.custom_vjp
def _measured_copies(x: jax.Array, tap: jax.Array) -> tuple[jax.Array, ...]:
    return (x,) * (tap.shape[0] - 1)


def _measured_copies_forward(x, tap):
    return _measured_copies(x, tap), None


def _measured_copies_backward(_, cotangents):
    # Autodiff adds the cotangents of later uses first; the same order gives the same
    # bits with taps as without.
    total = functools.reduce(jnp.add, reversed(cotangents))
    return total, TapStatistics.of(cotangents, total).array


_measured_copies.defvjp(_measured_copies_forward, _measured_copies_backward)


class TapStatistics(flax.struct.PyTreeNode):
    """What a fork measured of the cotangents of its paths, by name.

    The gradient with respect to the tap is one array, so that a step has one output per
    fork; nothing else knows how it is laid out.

    Attributes:
        array: float32 `[..., paths + 1, 3]`. A row per path in the order of the fork's,
            then one for their sum.
    """

    array: jax.Array | np.ndarray

    @classmethod
    def of(cls, cotangents: Sequence[jax.Array], total: jax.Array) -> "TapStatistics":
        """Measures; nothing that is not finite is repaired."""
        sums = jnp.stack([_sums(g) for g in (*cotangents, total)])
        return cls(jnp.concatenate([sums, _inner_products(cotangents)], axis=1))

    @staticmethod
    def zero_tap(paths: int) -> jax.Array:
        """What a fork of that many paths measures into."""
        return jnp.zeros((paths + 1, _COLUMNS), jnp.float32)

    @property
    def squares(self) -> jax.Array | np.ndarray:
        """`[..., paths]`: sum of squares of each path's cotangent."""
        return self.array[..., :-1, _SQUARE]

    @property
    def total_square(self) -> jax.Array | np.ndarray:
        """`[...]`: sum of squares of the sum of all paths."""
        return self.array[..., -1, _SQUARE]

    @property
    def nonfinite(self) -> jax.Array | np.ndarray:
        """`[..., paths]`: entries of each path that are NaN or infinite."""
        return self.array[..., :-1, _NONFINITE]

    @property
    def total_nonfinite(self) -> jax.Array | np.ndarray:
        """`[...]`: entries of the sum of all paths that are NaN or infinite."""
        return self.array[..., -1, _NONFINITE]

    @property
    def inner(self) -> jax.Array | np.ndarray:
        """`[...]`: inner product of the two paths; 0 where there are more or fewer."""
        return self.array[..., 0, _INNER]

    def per_batch(self, batches: int) -> "TapStatistics":
        """Means, where this is a sum over batches; counts stay sums."""
        over = np.full(_COLUMNS, batches)
        over[_NONFINITE] = 1
        return TapStatistics(self.array / over)


_SQUARE, _NONFINITE, _INNER = range(3)
_COLUMNS = 3


def _sums(cotangent: jax.Array) -> jax.Array:
    """Float32 `[2]`: sum of squares, number of non-finite entries."""
    g = cotangent.astype(jnp.float32)
    return jnp.stack([jnp.sum(g * g), jnp.sum(~jnp.isfinite(g), dtype=jnp.float32)])


def _inner_products(cotangents: Sequence[jax.Array]) -> jax.Array:
    """Float32 `[paths + 1, 1]`: of each path with the other one, where there are two.

    From the norms alone it would be the small difference of large numbers where the
    paths are nearly orthogonal.
    """
    column = jnp.zeros((len(cotangents) + 1, 1))
    if len(cotangents) != 2:
        return column
    first, second = (g.astype(jnp.float32) for g in cotangents)
    return column.at[:2].set(jnp.sum(first * second))


_recorded: contextvars.ContextVar[dict[tuple[str, ...], float] | None]
_recorded = contextvars.ContextVar("recorded", default=None)


def coefficient(module: nn.Module, name: str, value: float) -> jax.Array:
    """A float32 number of the module in the `paths` collection, at first `value`.

    A network that is applied without that collection computes with `value`; one that is
    given a collection needs every coefficient in it.
    """
    recorded = _recorded.get()
    if recorded is not None:
        recorded[(*module.path, name)] = value
    scope = module.scope
    absent = scope is not None and scope.is_collection_empty(PATHS)
    if absent and not module.is_mutable_collection(PATHS):
        return jnp.asarray(value, jnp.float32)
    return module.variable(PATHS, name, jnp.asarray, value, jnp.float32).value


def initial_paths(
    model: nn.Module, image_shape: Sequence[int], **arguments: Any
) -> dict[str, Any]:
    """The `paths` collection as it starts, on the host; computes and compiles nothing.

    A program that takes it as an argument is the same for all coefficients; one that
    calls `model.init` holds them as constants.
    """
    recorded: dict[tuple[str, ...], float] = {}
    token = _recorded.set(recorded)
    try:
        images = jax.ShapeDtypeStruct(tuple(image_shape), jnp.float32)
        initialise = functools.partial(model.init, **arguments)
        jax.eval_shape(initialise, jax.random.key(0), images)
    finally:
        _recorded.reset(token)
    return traverse_util.unflatten_dict(
        {path: np.float32(value) for path, value in recorded.items()}
    )


class Fork(nn.Module):
    """Sends its input down every path; without a `taps` collection it is a plain copy.

    Collections: `paths` holds one float32 factor per path, named after it, by which the
    cotangent of that path is multiplied. `taps` holds one array of zeros, whose
    gradient is that of `TapStatistics`.

    Attributes:
        kind: block, long_skip, pyramid or auxiliary.
        paths: names of the paths, in the order of the returned tuple.
        factors: initial backward factor per path; () = all 1.
    """

    kind: str
    paths: tuple[str, ...]
    factors: tuple[float, ...] = ()

    @nn.compact
    def __call__(
        self, x: jax.Array, also: Mapping[str, jax.Array] | None = None
    ) -> tuple[jax.Array, ...]:
        """Copies of `x`; `also` multiplies the backward factors that it names.

        Raises:
            ValueError: no fork of `KINDS`, whose names others look for.
        """
        known = KINDS.get(self.kind, ())
        if known is not None and not set(self.paths) <= set(known):
            raise ValueError(f"no kind of fork: {self.kind!r} with paths {self.paths}")
        factors = [
            coefficient(self, path, value)
            for path, value in self.initial_factors().items()
        ]
        if also:
            factors = [
                factor * also[path] if path in also else factor
                for path, factor in zip(self.paths, factors, strict=True)
            ]
        copies = (x,) * len(self.paths)
        if self.is_mutable_collection(TAPS) or self.has_variable(TAPS, TAP):
            zero = functools.partial(TapStatistics.zero_tap, len(self.paths))
            copies = _measured_copies(x, self.variable(TAPS, TAP, zero).value)
        return tuple(map(scale_cotangent, copies, factors))

    def initial_factors(self) -> dict[str, float]:
        """Backward factor per path, as a network has it without `paths`."""
        values = self.factors or (1.0,) * len(self.paths)
        return dict(zip(self.paths, values, strict=True))


class ForkInfo(NamedTuple):
    """What is static about a fork.

    Attributes:
        name: module path; a fork called `fork` goes by the name of what contains it.
        kind: block, long_skip, pyramid or auxiliary.
        paths: names of its paths.
        shape: of its activation, `[batch, height, width, channels]`.
    """

    name: str
    kind: str
    paths: tuple[str, ...]
    shape: tuple[int, ...]


def fork_name(path: Sequence[str]) -> str:
    """Name in logs and configs of the fork at a module path."""
    return "/".join(path[:-1] if path[-1] == FORK else path)


def list_forks(
    model: nn.Module, image_shape: Sequence[int], **arguments: Any
) -> tuple[ForkInfo, ...]:
    """The forks of `model` in the order the signal meets them; computes nothing.

    Args:
        model: called as `model(images, **arguments)`.
        image_shape: `[batch, height, width, channels]`.
    """
    forks: list[ForkInfo] = []

    def record(call, args, kwargs, context):
        module = context.module
        if isinstance(module, Fork) and context.method_name == "__call__":
            name = fork_name(module.path)
            forks.append(ForkInfo(name, module.kind, module.paths, args[0].shape))
        return call(*args, **kwargs)

    images = jax.ShapeDtypeStruct(tuple(image_shape), jnp.float32)
    initialise = functools.partial(model.init, **arguments)
    with nn.intercept_methods(record):
        jax.eval_shape(initialise, jax.random.key(0), images)
    return tuple(forks)


def statistics_by_fork(tap_gradients: Mapping) -> dict[str, TapStatistics]:
    """Reads the gradient with respect to `taps`, by fork name."""
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(tap_gradients)
    return {fork_name(path[:-1]): TapStatistics(leaf) for path, leaf in flat.items()}
