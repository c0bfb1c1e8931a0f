"""A few numbers at every place of a feature."""

import jax
import jax.numpy as jnp


def spread(values: jax.Array, over: jax.Array) -> jax.Array:
    """Float32 `values`, which broadcast to the shape of `over`, there and in its type.

    What is summed for their gradient so are float32 numbers. In half precision a sum
    over an image stands still where the next addend is below its last bit: bfloat16
    counts to 256 (XLA's CPU backend, JAX 0.10.2 and 0.12.0.1).
    """
    return jnp.broadcast_to(values, over.shape).astype(over.dtype)
