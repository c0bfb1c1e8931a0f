"""Norm-preserving backward pass: a part of a network neither grows nor shrinks it."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def enter(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`x` itself, and a ticket for `leave`.

    The cotangent that comes back for `x` is rescaled to the l2 norm of the cotangent
    that came in at `leave`; its direction stays, and so does a cotangent of zero.
    """
    return x, jnp.zeros(())


def _enter_forward(x):
    return enter(x), None


def _enter_backward(_, cotangents):
    g, wanted = cotangents
    wide = g.astype(jnp.float32)
    squares = jnp.sum(wide * wide)
    factor = jnp.sqrt(wanted / jnp.where(squares > 0, squares, 1.0))
    return ((wide * factor).astype(g.dtype),)


enter.defvjp(_enter_forward, _enter_backward)


@jax.custom_vjp
def leave(y: jax.Array, ticket: jax.Array) -> jax.Array:
    """`y` itself; its cotangent passes unchanged and its norm goes to `enter`."""
    del ticket
    return y


def _leave_forward(y, ticket):
    return leave(y, ticket), None


def _leave_backward(_, g):
    wide = g.astype(jnp.float32)
    return g, jnp.sum(wide * wide)


leave.defvjp(_leave_forward, _leave_backward)
