"""What happens to cotangents where paths meet again: conflicts, single large sites."""

import functools

import jax
import jax.numpy as jnp

# What an inner product is taken over: all of an image, or the channels of a pixel.
WITHIN = {"image": (-3, -2, -1), "site": (-1,)}


def along(x: jax.Array, other: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """<x, other> / <other, other> over `axes`, which stay with length 1; float32.

    0 where `other` is 0.
    """
    x, other = x.astype(jnp.float32), other.astype(jnp.float32)
    square = jnp.sum(other * other, axes, keepdims=True)
    inner = jnp.sum(x * other, axes, keepdims=True)
    return inner / jnp.where(square > 0, square, 1.0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def without_conflict(
    one: jax.Array, other: jax.Array, within: str
) -> tuple[jax.Array, jax.Array]:
    """Both values themselves; where their cotangents conflict, each loses a part.

    Where <g, g'> < 0, g loses its part along g' and g' its part along g, both as they
    came in (PCGrad, Yu 2020, algorithm 1, for two): afterwards g is at a right angle to
    what g' was, and their sum points against neither.

    Args:
        one, other: `[..., height, width, channels]`, the copies of one signal.
        within: one of `WITHIN`.
    """
    return one, other


def _forward(one, other, within):
    return (one, other), None


def _backward(within, _, cotangents):
    one, other = cotangents
    axes = WITHIN[within]

    def freed(g, against):
        lost = jnp.minimum(along(g, against, axes), 0.0)
        return (g - lost * against.astype(jnp.float32)).astype(g.dtype)

    return freed(one, other), freed(other, one)


without_conflict.defvjp(_forward, _backward)


@jax.custom_vjp
def without_largest_sites(x: jax.Array, share: jax.Array) -> jax.Array:
    """`x` itself; its cotangent is 0 where it was largest.

    Args:
        x: `[..., height, width, channels]`.
        share: of the pixels of each image, those of the largest norm over channels;
            rounded down to a number of pixels.
    """
    return x


def _largest_forward(x, share):
    return x, share


def _largest_backward(share, g):
    squares = jnp.sum(jnp.square(g.astype(jnp.float32)), -1)
    flat = squares.reshape(*squares.shape[:-2], -1)
    # The place of each pixel among those of its image, the largest first.
    rank = jnp.argsort(jnp.argsort(-flat, axis=-1), axis=-1)
    kept = rank >= jnp.floor(share * flat.shape[-1])
    return g * kept.reshape(*squares.shape, 1), jnp.zeros_like(share)


without_largest_sites.defvjp(_largest_forward, _largest_backward)
