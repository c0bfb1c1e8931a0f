"""The fork: one signal takes several paths, which are scaled and measured backward.

At the join of a residual block all addends receive the same cotangent; the gradients
differ where the paths part. With block output y = g(c P(x) + w h(x)) and cotangent G in
front of the join, a fork sees

    g_shortcut = alpha c P^T G        g_branch = gamma w J_h^T G        g = their sum

each exactly once, in the backward pass that training runs anyway. `measure` says how
it gets out of there, and what that leaves untouched.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from resseg.gradients.names import AUX, BRANCH, DEEPER, FORK, GATE, SHORTCUT, SKIP
from resseg.gradients.statistics import TapStatistics

PATHS, TAPS, LOGS = "paths", "taps", "logs"  # collections of a model's variables
TAP = "tap"
HAS_LOGS = hasattr(jax.custom_vjp, "defvjp_with_logs")  # JAX newer than 0.11.0
# Kinds of forks, and what their paths may be called; None = anything.
KINDS = {
    "block": (SHORTCUT, BRANCH, GATE),
    "long_skip": (SKIP, DEEPER),
    "pyramid": None,
    "auxiliary": (AUX, DEEPER),
    "first": (SKIP, DEEPER),
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


def _measured(
    cotangents: Sequence[jax.Array],
) -> tuple[jax.Array, TapStatistics]:
    """The cotangent of the fork's input, and what is measured of those of its paths."""
    # Autodiff adds the cotangents of later uses first; the same order gives the same
    # bits with taps as without.
    total = functools.reduce(jnp.add, reversed(cotangents))
    return total, TapStatistics.of(cotangents, total)


@jax.custom_vjp
def _tapped_copies(x: jax.Array, tap: jax.Array) -> tuple[jax.Array, ...]:
    return (x,) * (tap.shape[0] - 1)


def _tapped_forward(x, tap):
    return _tapped_copies(x, tap), None


def _tapped_backward(_, cotangents):
    total, statistics = _measured(cotangents)
    return total, statistics.array


_tapped_copies.defvjp(_tapped_forward, _tapped_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _logged_copies(x: jax.Array, name: str, paths: int) -> tuple[jax.Array, ...]:
    return (x,) * paths


def _logged_forward(x, name, paths):
    return _logged_copies(x, name, paths), None


def _logged_backward(name, paths, _, cotangents):
    total, statistics = _measured(cotangents)
    return (total,), {name: statistics}


if HAS_LOGS:
    _logged_copies.defvjp_with_logs(_logged_forward, _logged_backward)


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


@contextlib.contextmanager
def recorded_coefficients() -> Iterator[dict[tuple[str, ...], float]]:
    """The first values of all coefficients of networks that are applied in here.

    By path in the `paths` collection; the numbers are those that the model holds.
    """
    recorded: dict[tuple[str, ...], float] = {}
    token = _recorded.set(recorded)
    try:
        yield recorded
    finally:
        _recorded.reset(token)


class Fork(nn.Module):
    """Sends its input down every path; a plain copy unless it is to be measured.

    Collections: `paths` holds one float32 factor per path, named after it, by which the
    cotangent of that path is multiplied. `taps` holds one array of zeros, whose
    gradient is that of `TapStatistics`; in its place `logs` holds an empty array, and
    the backward pass logs the same under the fork's name. See `measure`.

    Attributes:
        kind: one of `KINDS`.
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
        return tuple(map(scale_cotangent, self.copies(x), factors))

    def copies(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """`x` once per path, measured by the back end that is asked for."""
        count = len(self.paths)
        if self.is_mutable_collection(TAPS) or self.has_variable(TAPS, TAP):
            zero = functools.partial(TapStatistics.zero_tap, count)
            return _tapped_copies(x, self.variable(TAPS, TAP, zero).value)
        if self.has_variable(LOGS, TAP):
            return _logged_copies(x, fork_name(self.path), count)
        return (x,) * count

    def initial_factors(self) -> dict[str, float]:
        """Backward factor per path, as a network has it without `paths`."""
        values = self.factors or (1.0,) * len(self.paths)
        return dict(zip(self.paths, values, strict=True))


class ForkInfo(NamedTuple):
    """What is static about a fork.

    Attributes:
        name: module path; a fork called `fork` goes by the name of what contains it.
        kind: one of `KINDS`.
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


def statistics_by_fork(tap_gradients: Mapping) -> dict[str, TapStatistics]:
    """Reads the gradient with respect to `taps`, by fork name."""
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(tap_gradients)
    return {fork_name(path[:-1]): TapStatistics(leaf) for path, leaf in flat.items()}
