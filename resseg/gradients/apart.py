"""A factor forward and another backward."""

import jax


@jax.custom_jvp
def apart(x: jax.Array, forward: jax.Array, backward: jax.Array) -> jax.Array:
    """`forward` · x, whose tangent and cotangent are multiplied by `backward` instead.

    A rule on the tangent, as `scale_cotangent`; neither factor receives a gradient, and
    second derivatives through two that differ are those of no function.

    Args:
        x: `[batch, height, width, channels]`.
        forward: float32, of a shape that broadcasts to that of x.
        backward: as `forward`.
    """
    return x * forward.astype(x.dtype)


@apart.defjvp
def _apart_tangent(primals, tangents):
    x, forward, backward = primals
    tangent, *_ = tangents
    return apart(x, forward, backward), tangent * backward.astype(tangent.dtype)
