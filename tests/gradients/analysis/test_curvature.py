"""Hessians: right against the analytic answer, refused where there is none."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.gradients.analysis.curvature import (
    hessian_vector_product,
    require_true_gradient,
)
from resseg.gradients.fork import Fork

L, C, W, X, Y = 4, 1.0, 0.5, 1.3, 0.2


class ScalarChain(nn.Module):
    """x <- c x + w_i x, L times, each block behind a fork."""

    alpha: float = 1.0

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.constant(W), (L,))
        for i in range(L):
            fork = Fork(
                "block", ("shortcut", "branch"), (self.alpha, 1.0), name=f"b{i}"
            )
            shortcut, branch = fork(x)
            x = C * shortcut + w[i] * branch
        return x


def hessian(alpha, refuse=True):
    chain = ScalarChain(alpha)
    variables = chain.init(jax.random.key(0), X)

    def loss(params, paths):
        return 0.5 * (chain.apply({"params": params, "paths": paths}, X) - Y) ** 2

    params, paths = variables["params"], variables["paths"]
    if not refuse:
        return jax.hessian(lambda p: loss(p, paths))(params)["w"]["w"], loss, variables
    columns = [
        hessian_vector_product(loss, params, paths, {"w": unit})["w"]
        for unit in jnp.eye(L)
    ]
    return jnp.stack(columns)


def test_eigenvalues_of_the_scalar_chain():
    """-(f-y) f/s^2, L-1 times, and L (f/s)^2 + (L-1)(f-y) f/s^2 once."""
    s = C + W
    f = s**L * X
    expected = [-(f - Y) * f / s**2] * (L - 1)
    expected.append(L * (f / s) ** 2 + (L - 1) * (f - Y) * f / s**2)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian(1.0)), expected, rtol=1e-4)


def test_a_scaled_graph_is_refused_by_the_name_of_its_factor():
    with pytest.raises(ValueError, match=r"paths/b0/shortcut=0\.5.*no Hessian"):
        hessian(0.5)
    require_true_gradient({"head": {"skip_factor_stem": {"factor": jnp.float32(0.3)}}})
    off = {"bypass": jnp.float32(0), "detach_rate": jnp.float32(0)}
    require_true_gradient(
        {"b0": off | {"shortcut_dropout": {"rate": jnp.float32(0.5)}}}
    )
    with pytest.raises(
        ValueError, match=r"b0/bypass=0\.2.*other than 0 has no Hessian"
    ):
        require_true_gradient({"b0": off | {"bypass": jnp.float32(0.2)}})


def test_what_the_refusal_protects_from():
    """The automatic Hessian of a scaled graph is not the change of its gradient."""
    automatic, loss, variables = hessian(0.5, refuse=False)
    gradient = jax.grad(loss)
    step = 1e-2

    def moved(i, sign):
        params = {"w": variables["params"]["w"].at[i].add(sign * step)}
        return gradient(params, variables["paths"])["w"]

    change = jnp.stack([(moved(i, 1) - moved(i, -1)) / (2 * step) for i in range(L)])
    assert jnp.abs(automatic - change).max() > 0.05 * jnp.abs(change).max()
