"""LR-ASPP (Howard 2019): scores of a deep, gated feature and of a shallow one."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork
from resseg.gradients.names import CLASSIFIER, GATE, SCORE, SKIP_FACTOR
from resseg.models.heads.fcn import deepest
from resseg.models.layers import Classifier, Conv, ConvNormAct
from resseg.models.resizing import resize, size_of
from resseg.models.shortcuts import LongSkip

BRANCHES = ("conv", GATE)


class LRASPP(nn.Module):
    """The deepest feature is a fork: a 1x1 convolution, and a gate of its channels.

    Published at output stride 16, with the stage of stride 8 as the shallow one; the
    layout is torchvision's.

    Attributes:
        width: channels of the convolution.
        skips: the shallow feature; () = without it.
        skip_scales: forward factor of the skip.
        branch_gradients: backward factor on the convolution, and on the gate.
        gated: the skip is multiplied by a gate of itself.
    """

    num_classes: int
    width: int
    skips: tuple[str, ...] = ("stage2",)
    skip_scales: tuple[float, ...] = ()
    branch_gradients: tuple[float, ...] = ()
    gated: bool = False
    dropout: float = 0.0
    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        settings = {"dtype": self.dtype}
        pyramid = Fork("pyramid", BRANCHES, self.branch_gradients, name="pyramid")
        to_conv, to_gate = pyramid(features[deepest(features)])
        conv = ConvNormAct(self.width, 1, norm=self.norm, **settings, name="conv")
        means = to_gate.mean(axis=(1, 2), keepdims=True)
        gate = nn.sigmoid(Conv(self.width, 1, **settings, name=GATE)(means))
        x = conv(to_conv, train) * gate
        scales = self.skip_scales or (1.0,) * len(self.skips)
        added = []
        for stage, scale in zip(self.skips, scales, strict=True):
            name = f"{SKIP_FACTOR}{stage}"
            skip = LongSkip(scale, self.gated, self.dtype, name=name)(features[stage])
            x = resize(x, size_of(skip))
            score = Classifier(self.num_classes, **settings, name=f"{SCORE}{stage}")
            added.append(score(skip, train))
        scores = Classifier(self.num_classes, self.dropout, **settings, name=CLASSIFIER)
        return sum(added, start=scores(x, train))
