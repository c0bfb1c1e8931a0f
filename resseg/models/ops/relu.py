"""The rectifier."""

import jax
import jax.numpy as jnp

from resseg.models.ops.choice import for_cpu


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """max(x, 0), with gradient 0 at 0.

    On a CPU its result is computed once: XLA would compute what it costs, a whole batch
    norm mostly, again in each operation that reads it.
    """
    y = jnp.maximum(x, 0)
    return jax.lax.optimization_barrier(y) if for_cpu() else y


@relu.defjvp
def _relu_tangent(primals, tangents):
    (x,), (tangent,) = primals, tangents
    y = relu(x)
    return y, jnp.where(y > 0, tangent, 0)
