"""U-Net decoder (Ronneberger 2015) on a residual encoder.

The layout, and so every parameter count, is that of segmentation_models.pytorch.
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork
from resseg.gradients.names import (
    AUX,
    CLASSIFIER,
    DEEPER,
    LEVEL,
    SCORE,
    SKIP_FACTOR,
)
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import BlockStyle
from resseg.models.heads.fcn import deepest
from resseg.models.layers import Classifier, Conv, ConvNormAct
from resseg.models.ops import upsampled
from resseg.models.ops.upsampled import Upsampled
from resseg.models.resizing import resize, resize_nearest
from resseg.models.shortcuts import LongSkip


class UNet(nn.Module):
    """Per level: upsample to the skip, merge, two 3x3 convolutions.

    Attributes:
        channels: width of each decoder block, deep first; one per skip, and one more
            for the last step to the image where the stem has a stride.
        skips: merged features, shallow first; all of them are used. Empty with long
            skips of kind none: then each block upsamples twofold.
        merge: concat or add (the deeper signal is projected to the skip's width).
        skip_scales: forward factor per skip.
        gated: skips are multiplied by a gate of themselves.
        learns: of the factor on the skips, as in `PathFactor`.
        wiring: number of the skip that goes to each level, both shallow first, in its
            size; () = to its own.
        supervised: levels before the last put out scores too: a 1x1 convolution behind
            a fork `auxiliary_decoder<level>` with paths aux and deeper.
        aux_gradient: backward factor on what those send into the decoder.
    """

    num_classes: int
    channels: tuple[int, ...]
    skips: tuple[str, ...] = ("stem", "stage1", "stage2", "stage3")
    merge: str = "concat"
    skip_scales: tuple[float, ...] = ()
    gated: bool = False
    dropout: float = 0.0
    norm: str = "batch"
    dtype: Any = jnp.float32
    learns: str = "no"
    wiring: tuple[int, ...] = ()
    supervised: bool = False
    aux_gradient: float = 1.0
    merges_lazily: ClassVar[bool] = True  # decoder blocks begin with a convolution

    @nn.compact
    def __call__(
        self, features: dict[str, jax.Array], train: bool
    ) -> jax.Array | dict[str, jax.Array]:
        x = features[deepest(features)]
        scores: list[jax.Array] = []
        scales = self.skip_scales or (1.0,) * len(self.skips)
        levels = list(zip(self.skips, scales, strict=True))[::-1]
        for i in range(len(self.channels)):
            if i < len(levels):
                stage, scale = levels[i]
                name = f"{SKIP_FACTOR}{stage}"
                factor = LongSkip(scale, self.gated, self.dtype, self.learns, name=name)
                skip = factor(self.wired(stage, features))
                x = self.merged(x, skip, f"merge_{stage}")
            else:
                height, width = features["image"].shape[1:3]
                size = (min(2 * x.shape[1], height), min(2 * x.shape[2], width))
                x = self.upsampled(x, size, None)
            x = self.decoder(i)(x, train)
            if self.supervised and i + 1 < len(self.channels):
                x, score = self.scored(x, f"decoder{i + 1}")
                scores.insert(0, score)
        logits = Classifier(
            self.num_classes, self.dropout, self.dtype, kernel=3, name=CLASSIFIER
        )(x, train)
        levels = {f"{LEVEL}{i}": score for i, score in enumerate(scores, 1)}
        return {"logits": logits, **levels} if self.supervised else logits

    def wired(self, stage: str, features: dict[str, jax.Array]) -> jax.Array:
        """The feature that goes to the level of a stage."""
        own = features[stage]
        if not self.wiring:
            return own
        other = features[self.skips[self.wiring[self.skips.index(stage)]]]
        return resize(other, (own.shape[1], own.shape[2]))

    def scored(self, x: jax.Array, level: str) -> tuple[jax.Array, jax.Array]:
        """What goes on from a level, and its scores."""
        backward = (self.aux_gradient, 1.0)
        fork = Fork("auxiliary", (AUX, DEEPER), backward, name=f"auxiliary_{level}")
        aux, x = fork(x)
        score = Conv(
            self.num_classes,
            1,
            use_bias=True,
            dtype=self.dtype,
            name=f"{SCORE}{level}",
        )
        return x, score(aux)

    def decoder(self, level: int) -> nn.Module:
        """What follows the merge of a level; 0 is the deepest."""
        name = f"decoder{level + 1}"
        return DecoderBlock(self.channels[level], self.norm, self.dtype, name=name)

    def merged(self, x: jax.Array, skip: jax.Array, name: str) -> jax.Array | Upsampled:
        size = skip.shape[1], skip.shape[2]
        if self.merge == "concat":
            return self.upsampled(x, size, skip)
        x = resize_nearest(x, size)
        return Conv(skip.shape[-1], 1, dtype=self.dtype, name=name)(x) + skip

    def upsampled(
        self, x: jax.Array, size: tuple[int, int], skip: jax.Array | None
    ) -> jax.Array | Upsampled:
        """What the first convolution of a decoder block sees."""
        return enlarged(x, size, skip, self.merges_lazily)


class ResUNet(UNet):
    """A U-Net whose decoder is residual too (Zhang 2018): one basic block per level.

    Attributes:
        style: of the backbone; the decoder's blocks are basic and not widened.
        factors: one `BlockFactors` per level, deep first; () = all 1.
    """

    style: BlockStyle = BlockStyle()
    factors: tuple[BlockFactors, ...] = ()
    merges_lazily: ClassVar[bool] = False  # they begin with a fork

    def decoder(self, level: int) -> nn.Module:
        style = dataclasses.replace(self.style, block="basic")
        if style.transition == "none":  # every block here changes the shape
            style = dataclasses.replace(style, transition="B")
        factors = self.factors[level] if self.factors else BlockFactors()
        return Block(
            self.channels[level],
            style=style,
            factors=factors,
            name=f"decoder{level + 1}",
        )


def enlarged(
    x: jax.Array, size: tuple[int, int], skip: jax.Array | None, lazily: bool = True
) -> jax.Array | Upsampled:
    """Nearest neighbours, and the skip behind its channels, for what convolves them."""
    if lazily and upsampled.worthwhile(x, size):
        return Upsampled(x, skip)
    x = resize_nearest(x, size)
    return x if skip is None else jnp.concatenate([x, skip], axis=-1)


class DecoderBlock(nn.Module):
    """Two 3x3 convolutions with norm and ReLU."""

    features: int
    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array | Upsampled, train: bool) -> jax.Array:
        for name in ("conv1", "conv2"):
            layer = ConvNormAct(
                self.features, norm=self.norm, dtype=self.dtype, name=name
            )
            x = layer(x, train)
        return x
