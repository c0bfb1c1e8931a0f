"""The residual block, written as its equation: y = g(W_c · x + W_r · h(x; W))."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork, scale_cotangent
from resseg.models.layers import Conv, Norm
from resseg.models.shortcuts import PathFactor, Shortcut, changes_shape

BLOCKS = ("basic", "bottleneck")
ORDERS = ("post", "pre")
EXPANSION = {"basic": 1, "bottleneck": 4}  # block output width over stage width


@dataclasses.dataclass(frozen=True)
class BlockStyle:
    """What all blocks of a network share. See `configs/base.py` for the meanings."""

    block: str = "basic"
    order: str = "post"
    norm: str = "batch"
    shortcut: str = "identity"
    learn_shortcut: str = "no"
    learn_branch: str = "no"
    zero_gamma: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32


class BlockFactors(NamedTuple):
    """The numbers of a block: forward c and w, backward alpha, gamma_in, gamma_out."""

    shortcut: float = 1.0
    branch: float = 1.0
    gradient_shortcut: float = 1.0
    gradient_in: float = 1.0
    gradient_out: float = 1.0


class Branch(nn.Module):
    """h(x; W): 3x3, 3x3 convolutions, or 1x1, 3x3, 1x1, the stride on the 3x3 (v1.5).

    In `post` order each convolution is followed by norm and ReLU, the last by norm
    alone; in `pre` order norm and ReLU come first (He 2016, full pre-activation).

    Attributes:
        activated: the input has been normalised and rectified already (`pre` only).
    """

    features: int
    strides: int
    dilation: int
    style: BlockStyle
    activated: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        style = self.style
        layers = convolutions(style.block, self.features, self.strides, self.dilation)
        for i, layer in enumerate(layers, 1):
            last = i == len(layers)
            norm = Norm(
                style.norm, style.zero_gamma and last, style.dtype, name=f"norm{i}"
            )
            if style.order == "pre" and not (i == 1 and self.activated):
                x = self.activate(norm(x, train), train)
            x = Conv(**layer, dtype=style.dtype, name=f"conv{i}")(x)
            if style.order == "post":
                x = norm(x, train)
                x = x if last else self.activate(x, train)
        return x

    def activate(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dropout(self.style.dropout, deterministic=not train)(nn.relu(x))


def convolutions(block: str, features: int, strides: int, dilation: int) -> list[dict]:
    """Arguments of the convolutions of a branch that puts out `features` channels."""
    spatial = {"kernel": 3, "strides": strides, "dilation": dilation}
    if block == "basic":
        second = {"kernel": 3, "dilation": dilation}
        return [{"features": features, **spatial}, {"features": features, **second}]
    inner = features // EXPANSION["bottleneck"]
    return [
        {"features": inner, "kernel": 1},
        {"features": inner, **spatial},
        {"features": features, "kernel": 1},
    ]


class Block(nn.Module):
    """One residual block, `[batch, h, w, in] -> [batch, h/s, w/s, features]`.

    Where a pre-activation block changes the shape, both ways start from the activated
    input (He 2016); everywhere else they part at the block's input.

    Attributes:
        features: true output width, expansion included.
        drop_rate: probability with which a sample skips the branch (Huang 2016), scaled
            so that the expectation stays.
    """

    features: int
    strides: int = 1
    dilation: int = 1
    style: BlockStyle = BlockStyle()
    factors: BlockFactors = BlockFactors()
    drop_rate: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        style, factors = self.style, self.factors
        activated = style.order == "pre" and changes_shape(
            x, self.features, self.strides
        )
        if activated:
            x = nn.relu(Norm(style.norm, dtype=style.dtype, name="norm")(x, train))
        if style.shortcut == "none":
            alone = Fork("block", ("branch",), (factors.gradient_in,), name="fork")
            (to_branch,) = alone(x)
            y = self.computed(to_branch, train, activated)
        else:
            backward = (factors.gradient_shortcut, factors.gradient_in)
            fork = Fork("block", ("shortcut", "branch"), backward, name="fork")
            to_shortcut, to_branch = fork(x)
            y = self.carried(to_shortcut, train)
            y = y + self.computed(to_branch, train, activated)
        return nn.relu(y) if style.order == "post" else y

    def carried(self, x: jax.Array, train: bool) -> jax.Array:
        """W_c · x"""
        style = self.style
        shortcut = Shortcut(
            style.shortcut,
            self.features,
            self.strides,
            style.norm,
            normalized=style.order == "post",
            dtype=style.dtype,
            name="shortcut",
        )
        factor = PathFactor(
            style.learn_shortcut, self.factors.shortcut, name="shortcut_factor"
        )
        return factor(shortcut(x, train))

    def computed(self, x: jax.Array, train: bool, activated: bool) -> jax.Array:
        """W_r · h(x; W)"""
        style = self.style
        branch = Branch(
            self.features, self.strides, self.dilation, style, activated, name="branch"
        )
        factor = PathFactor(
            style.learn_branch, self.factors.branch, name="branch_factor"
        )
        y = factor(branch(x, train))
        gamma = self.variable(
            "paths", "branch_out", jnp.asarray, self.factors.gradient_out, jnp.float32
        )
        drop = nn.Dropout(self.drop_rate, (1, 2, 3), deterministic=not train)
        return drop(scale_cotangent(y, gamma.value))
