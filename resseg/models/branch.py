"""The branch of a residual block, h(x; W)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.architecture import EXPANSION
from resseg.models.efficient import Ghost, Separable, depthwise, relu6
from resseg.models.layers import KERNEL_INITS, Conv, Norm
from resseg.models.ops.relu import relu
from resseg.models.ops.spread import spread

# block -> what stands behind its norms
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    **dict.fromkeys(EXPANSION, relu),
    "inverted": relu6,
    "mbconv": nn.silu,
}


@dataclasses.dataclass(frozen=True)
class BlockStyle:
    """What all blocks of a network share. See `resseg.config.base` for the meanings.

    Attributes:
        expansion: channels inside an inverted block over those of its input.
        init: one of `architecture.BRANCH_INITS`.
        blocks: number of residual blocks L, for fixup.
        span: 3x3 convolutions of a basic or depthwise block; 0 = two.
        detach: draw in each step which branches send nothing back to their input.
        streams: signals that the blocks of a stage hand on side by side.
        constrained: they are mixed by doubly stochastic matrices.
        first: blocks add some of what the first of their stage put out.
        orthogonal: the branch adds what stands at a right angle to the shortcut: no, in
            each site (over its channels), in each image.
        delta: the branch says what is written over in the shortcut, see
            `shortcuts.Delta`: its strength at the start; 0 = no, it is added.
        drop_path: images leave branches out, with the probability of each block.
        drop_block: branch, shortcut, both: where squares are dropped; "" = nowhere.
        shake: no, shake_shake (two branches) or shake_drop; `shake_forward` and
            `shake_backward` as `models.regularisers` has them.
        preserve: the backward pass of each block keeps the norm of the cotangent.
        surgery: cotangents of shortcut and branch that conflict each lose a part; no,
            site, image.
        clip: the pixels of the largest cotangent send none to the block before.
    """

    block: str = "basic"
    order: str = "post"
    norm: str = "batch"
    shortcut: str = "identity"
    learn_branch: str = "no"
    transition: str = "B"
    stride_on: str = "3x3"
    groups: int = 1
    group_width: int = 64
    width_factor: float = 1.0
    expansion: int = 6
    se_reduction: int = 0
    standardized: bool = False
    init: str = "he"
    blocks: int = 1
    span: int = 0
    detach: bool = False
    streams: int = 1
    constrained: bool = False
    first: bool = False
    orthogonal: str = "no"
    delta: float = 0.0
    preserve: bool = False
    surgery: str = "no"
    clip: bool = False
    dropout: float = 0.0
    drop_path: bool = False
    drop_block: str = ""
    shake: str = "no"
    shake_forward: str = "shake"
    shake_backward: str = "shake"
    dtype: Any = jnp.float32

    @property
    def activation(self) -> Callable[[jax.Array], jax.Array]:
        """What stands behind the norms, elementwise."""
        return ACTIVATIONS[self.block]


class Branch(nn.Module):
    """h(x; W): convolutions as `convolutions` lists them.

    Where norm and ReLU, or what the block has for it, stand (He 2016, figure 4):

    - post, linear: after each convolution, the last one without ReLU.
    - bn_after_add: the same, the last one without both.
    - relu_before_add: after each convolution.
    - relu_only_pre: ReLU before each convolution, norm after it.
    - pre: both before each convolution.

    With `zero_gamma` the branch starts as the zero map: its last norm has scale 0
    (Goyal 2017), or, where no norm follows, its last kernel is 0. With `fixup` (Zhang
    2019, for networks without norm) that kernel is 0 and the deviation of the others is
    multiplied by L^(-1 / (2m - 2)), for L blocks of m convolutions. With `dirac` and
    `delta_orthogonal` all kernels start as in `layers.KERNEL_INITS`.

    Attributes:
        activated: the input has been normalised and rectified already (`pre` only).
        inner: channels between its convolutions; 0 = as the kind of block says.
        kernel: side of the depthwise kernel of an inverted block.
    """

    features: int
    strides: int
    dilation: int
    style: BlockStyle
    activated: bool = False
    inner: int = 0
    kernel: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        order = self.style.order
        inputs = x.shape[-1]
        layers = convolutions(
            self.style,
            inputs,
            self.features,
            self.strides,
            self.dilation,
            self.inner,
            self.kernel,
        )
        for i, layer in enumerate(layers, 1):
            last = i == len(layers)
            norm = self.norm(i, last)
            if order == "pre" and not (i == 1 and self.activated):
                x = self.activate(norm(x, train), train)
            if order == "relu_only_pre":
                x = self.activate(x, train)
            if last and self.style.block == "mbconv":
                x = self.squeezed(x, inputs)
            x = self.convolution(i, layer, len(layers))(x)
            if order != "pre" and not (order == "bn_after_add" and last):
                x = norm(x, train)
            # The 3x3 by which a ghost block strides is linear.
            ends = last or (self.style.block == "ghost" and i == 2)
            inside = order in ("post", "linear", "bn_after_add") and not ends
            if inside or order == "relu_before_add":
                x = self.activate(x, train)
        if self.style.se_reduction:
            x = SqueezeExcitation(
                self.style.se_reduction, dtype=self.style.dtype, name="se"
            )(x)
        return x

    def norm(self, i: int, last: bool) -> Norm:
        style = self.style
        zero = style.init == "zero_gamma" and last and norm_ends(style)
        return Norm(style.norm, zero, style.dtype, name=f"norm{i}")

    def convolution(
        self, i: int, layer: Callable[..., nn.Module], count: int
    ) -> nn.Module:
        style, scale = self.style, 1.0
        if style.init == "fixup":
            scale = style.blocks ** (-1 / (2 * count - 2)) if i < count else 0.0
        elif style.init == "zero_gamma" and i == count and not norm_ends(style):
            scale = 0.0
        start = {"start": style.init} if style.init in KERNEL_INITS else {}
        return layer(
            dtype=style.dtype,
            standardized=style.standardized,
            init_scale=scale,
            name=f"conv{i}",
            **start,
        )

    def activate(self, x: jax.Array, train: bool) -> jax.Array:
        y = self.style.activation(x)
        return nn.Dropout(self.style.dropout, deterministic=not train)(y)

    def squeezed(self, x: jax.Array, inputs: int) -> jax.Array:
        """Of EfficientNet (Tan 2019): a quarter of the channels that the block gets."""
        style = self.style
        return SqueezeExcitation(
            inner=max(inputs // 4, 1),
            act=style.activation,
            dtype=style.dtype,
            name="se",
        )(x)


def norm_ends(style: BlockStyle) -> bool:
    """Whether a norm with a scale follows the last convolution of a branch."""
    return style.order not in ("pre", "bn_after_add") and style.norm != "none"


def convolutions(
    style: BlockStyle,
    inputs: int,
    features: int,
    strides: int,
    dilation: int,
    inner: int = 0,
    side: int = 3,
) -> list[Callable[..., nn.Module]]:
    """The convolutions of a branch from `inputs` to `features` channels.

    What is left to be said of each is what all have: dtype, standardized, init_scale,
    name.

    - basic: 3x3, 3x3; depthwise: each of them a `Separable`.
    - bottleneck: 1x1, 3x3, 1x1. The 3x3 has `features / 4 * group_width / 64 * groups`
      channels (ResNeXt, Xie 2016; with one group of 128, or `width_factor` 2, the
      Wide-2 of torchvision).
    - inverted, mbconv: 1x1, depthwise 3x3, 1x1 (Sandler 2018, table 1; Tan 2019), with
      `expansion * inputs` channels inside; for 1 the first 1x1 is left out.
    - ghost: the same, each 1x1 a `Ghost`; the 3x3 is there to stride (Han 2020,
      figure 3).
    """
    if style.block in ("basic", "depthwise"):
        made = Separable if style.block == "depthwise" else Conv
        widths = [inner or features] * ((style.span or 2) - 1) + [features]
        return [
            functools.partial(
                made, width, dilation=dilation, **({} if i else {"strides": strides})
            )
            for i, width in enumerate(widths)
        ]
    if style.block == "bottleneck":
        planes = features // EXPANSION["bottleneck"]
        share = style.width_factor * style.group_width / 64
        inner = inner or int(planes * share) * style.groups
        early = style.stride_on == "1x1"
        return [
            functools.partial(Conv, inner, 1, strides if early else 1),
            functools.partial(
                Conv, inner, 3, 1 if early else strides, dilation, groups=style.groups
            ),
            functools.partial(Conv, features, 1),
        ]
    inner = inner or style.expansion * inputs
    spatial = functools.partial(
        depthwise, inner, kernel=side, strides=strides, dilation=dilation
    )
    if style.block == "ghost":
        ends = [
            functools.partial(Ghost, n, dilation=dilation) for n in (inner, features)
        ]
        return [ends[0], *[spatial] * (strides > 1), ends[1]]
    expand = functools.partial(Conv, inner, 1)
    return [
        *[expand] * (style.expansion > 1),
        spatial,
        functools.partial(Conv, features, 1),
    ]


class SqueezeExcitation(nn.Module):
    """Channels weighed by what their means say (Hu 2018): 1x1, ReLU, 1x1, sigmoid.

    Attributes:
        reduction: inner width = channels / reduction, to the nearest multiple of 8 that
            keeps nine tenths of it (timm's rule).
        inner: inner width; 0 = as `reduction` says.
        act: in place of the ReLU.
    """

    reduction: int = 16
    inner: int = 0
    act: Callable[[jax.Array], jax.Array] = relu
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        wanted = channels / self.reduction
        inner = max(8, int(wanted + 4) // 8 * 8)
        inner += 8 * (inner < 0.9 * wanted)
        y = x.mean(axis=(1, 2), keepdims=True)
        settings: dict[str, Any] = {"use_bias": True, "dtype": self.dtype}
        y = self.act(Conv(self.inner or inner, 1, **settings, name="reduce")(y))
        gate = nn.sigmoid(Conv(channels, 1, **settings, name="expand")(y))
        if x.dtype.itemsize < 4:
            gate = spread(gate.astype(jnp.float32), x)
        return x * gate
