"""Muon for convolutions: the update of a kernel is made orthogonal as one matrix."""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from resseg.training import groups

Tree = Any
RMS = 0.2  # of an update, as AdamW's is about
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of a Newton-Schulz iteration, Jordan 2024
_AS_MATRIX = MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)


def scale_by_orthogonalization(
    momentum: ArrayLike, b1: ArrayLike, b2: ArrayLike
) -> optax.GradientTransformation:
    """Directions of Muon for the kernels of convolutions, of Adam for the rest.

    A kernel `[height, width, in, out]` is a matrix `[height · width · in, out]`, as the
    convolution multiplies patches by it; one of several groups is taken whole. Its
    Nesterov momentum is brought near U Vᵀ of its singular value decomposition by five
    Newton-Schulz iterations (Jordan 2024), singular values between 0.7 and 1.2 or so,
    and multiplied by 0.2 √max(rows, columns), which gives it the size of an update of
    Adam: learning rate and weight decay are of one kind for all (Liu 2025, sec. 2.2).

    `optax.contrib.muon` by itself hands convolutions to AdamW, without a word.

    Args:
        momentum: of the gradients of kernels.
        b1: of Adam.
        b2: of Adam.
    """
    muon = optax.chain(_orthogonal(momentum), optax.stateless(_sized))
    return optax.chain(
        optax.masked(muon, groups.matrices),
        optax.masked(optax.scale_by_adam(b1, b2), groups.others),
    )


def _orthogonal(momentum: ArrayLike) -> optax.GradientTransformation:
    """Without the coefficients of the iteration in the state, where optax has them."""
    muon = scale_by_muon(
        _COEFFICIENTS, beta=momentum, weight_dimension_numbers=_as_matrices
    )

    def init(params: Tree) -> Any:
        return cast(Any, muon.init(params))._replace(ns_coeffs=())

    def update(updates: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        whole = state._replace(ns_coeffs=jnp.asarray(_COEFFICIENTS))
        updates, after = muon.update(updates, whole, params)
        return updates, cast(Any, after)._replace(ns_coeffs=())

    return optax.GradientTransformation(init, update)


def _as_matrices(kernels: Tree) -> Tree:
    return jax.tree.map(lambda _: _AS_MATRIX, kernels)


def _sized(updates: Tree, _: Tree) -> Tree:
    def size(update: jax.Array) -> jax.Array:
        *rows, columns = update.shape
        return RMS * math.sqrt(max(math.prod(rows), columns)) * update

    return jax.tree.map(size, updates)
