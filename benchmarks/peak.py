"""What a machine can do at best: the rate of a large matrix product."""

import time

import jax

SIDES = {"cpu": 2048, "gpu": 8192}  # of the matrices; elsewhere as on a GPU
TRIES, PRODUCTS = 5, 8


def peak(dtype: str = "float32") -> float:
    """FLOP/s of a product of random square matrices, the best of some tries."""
    side = SIDES[jax.default_backend() if jax.default_backend() == "cpu" else "gpu"]
    left, right = jax.random.normal(jax.random.key(0), (2, side, side)).astype(dtype)
    product = jax.jit(lambda left, right: (left @ right) / side)
    product(left, right).block_until_ready()
    seconds = []
    for _ in range(TRIES):
        began = time.perf_counter()
        last = right
        for _ in range(PRODUCTS):
            last = product(left, last)
        last.block_until_ready()
        seconds.append((time.perf_counter() - began) / PRODUCTS)
    return 2.0 * side**3 / min(seconds)
