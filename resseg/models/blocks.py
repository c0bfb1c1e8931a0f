"""The residual block, written as its equation: y = g(W_c · x + W_r · h(x; W))."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork, scale_cotangent
from resseg.gradients.joins import Join
from resseg.models.layers import Conv, Norm
from resseg.models.plan import EXPANSION
from resseg.models.shortcuts import PathFactor, Shortcut, changes_shape


@dataclasses.dataclass(frozen=True)
class BlockStyle:
    """What all blocks of a network share. See `configs/base.py` for the meanings."""

    block: str = "basic"
    order: str = "post"
    norm: str = "batch"
    shortcut: str = "identity"
    learn_shortcut: str = "no"
    learn_branch: str = "no"
    transition: str = "B"
    stride_on: str = "3x3"
    groups: int = 1
    group_width: int = 64
    width_factor: float = 1.0
    se_reduction: int = 0
    standardized: bool = False
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
    """h(x; W): 3x3, 3x3 convolutions, or 1x1, 3x3, 1x1.

    In `post` order each convolution is followed by norm and ReLU, the last by norm
    alone; in `pre` order norm and ReLU come first (He 2016, full pre-activation).
    With `zero_gamma` the branch starts as the zero map: its last norm has scale 0
    (Goyal 2017), or, where no norm follows, its last kernel is 0.

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
        layers = convolutions(style, self.features, self.strides, self.dilation)
        norm_ends = style.order == "post" and style.norm != "none"
        for i, layer in enumerate(layers, 1):
            last = i == len(layers)
            zero = style.zero_gamma and last
            norm = Norm(style.norm, zero and norm_ends, style.dtype, name=f"norm{i}")
            if style.order == "pre" and not (i == 1 and self.activated):
                x = self.activate(norm(x, train), train)
            x = Conv(
                **layer,
                dtype=style.dtype,
                standardized=style.standardized,
                zero=zero and not norm_ends,
                name=f"conv{i}",
            )(x)
            if style.order == "post":
                x = norm(x, train)
                x = x if last else self.activate(x, train)
        if style.se_reduction:
            x = SqueezeExcitation(style.se_reduction, style.dtype, name="se")(x)
        return x

    def activate(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dropout(self.style.dropout, deterministic=not train)(nn.relu(x))


def convolutions(
    style: BlockStyle, features: int, strides: int, dilation: int
) -> list[dict[str, Any]]:
    """Arguments of the convolutions of a branch that puts out `features` channels.

    The 3x3 of a bottleneck has `features / 4 * group_width / 64 * groups` channels
    (ResNeXt, Xie 2016; with one group of 128, or `width_factor` 2, the Wide-2 of
    torchvision).
    """
    spatial: dict[str, Any] = {"kernel": 3, "dilation": dilation}
    if style.block == "basic":
        first = {"features": features, "strides": strides, **spatial}
        return [first, {"features": features, **spatial}]
    planes = features // EXPANSION["bottleneck"]
    share = style.width_factor * style.group_width / 64
    inner = int(planes * share) * style.groups
    layers = [
        {"features": inner, "kernel": 1},
        {"features": inner, "groups": style.groups, **spatial},
        {"features": features, "kernel": 1},
    ]
    layers[0 if style.stride_on == "1x1" else 1]["strides"] = strides
    return layers


class SqueezeExcitation(nn.Module):
    """Channels weighed by what their means say (Hu 2018): 1x1, ReLU, 1x1, sigmoid.

    Attributes:
        reduction: inner width = channels / reduction, to the nearest multiple of 8 that
            keeps nine tenths of it (timm's rule).
    """

    reduction: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        wanted = channels / self.reduction
        inner = max(8, int(wanted + 4) // 8 * 8)
        inner += 8 * (inner < 0.9 * wanted)
        y = x.mean(axis=(1, 2), keepdims=True)
        settings: dict[str, Any] = {"use_bias": True, "dtype": self.dtype}
        y = nn.relu(Conv(inner, 1, **settings, name="reduce")(y))
        return x * nn.sigmoid(Conv(channels, 1, **settings, name="expand")(y))


class Block(nn.Module, Join):
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
            transition=style.transition,
            standardized=style.standardized,
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
