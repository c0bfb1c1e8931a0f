"""The residual backbone: stem and stages -> a dict of features keyed by stage."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from resseg.gradients.fork import Fork
from resseg.models.blocks import EXPANSION, Block, BlockFactors, BlockStyle
from resseg.models.layers import Conv, Norm, max_pool

# depth -> blocks per stage and their kind (He et al. 2015, table 1; 10 is the same with
# one block per stage)
DEPTHS = {
    10: ((1, 1, 1, 1), "basic"),
    18: ((2, 2, 2, 2), "basic"),
    34: ((3, 4, 6, 3), "basic"),
    50: ((3, 4, 6, 3), "bottleneck"),
}
STEM_STRIDES = {"7x7": 4, "3x3": 1}  # the pooling behind the 7x7 included
STEMS = tuple(STEM_STRIDES)


def stage_layout(
    stem: str, stage_strides: Sequence[int], output_stride: int
) -> list[tuple[int, int, int]]:
    """Per stage: stride and dilation of its first block, dilation of the others.

    Once `output_stride` is reached a stride becomes a dilation. The first block of such
    a stage keeps the dilation of the stage before (torchvision's convention).

    Raises:
        ValueError: the strides cannot give `output_stride`.
    """
    reached, dilation, layout = STEM_STRIDES[stem], 1, []
    for stride in stage_strides:
        first = dilation
        if reached * stride > output_stride:
            dilation, stride = dilation * stride, 1
        reached *= stride
        layout.append((stride, first, dilation))
    if reached != output_stride:
        raise ValueError(
            f"output stride {output_stride} cannot be met by a {stem} stem and strides "
            f"{tuple(stage_strides)}, which give {reached}"
        )
    return layout


class Stem(nn.Module):
    """7x7 of stride 2, or 3x3 of stride 1. Without norm and ReLU if `pre` (He 2016)."""

    kind: str
    features: int
    style: BlockStyle

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        kernel, strides = (7, 2) if self.kind == "7x7" else (3, 1)
        dtype = self.style.dtype
        x = Conv(self.features, kernel, strides, dtype=dtype, name="conv")(x)
        if self.style.order == "post":
            x = nn.relu(Norm(self.style.norm, dtype=dtype, name="norm")(x, train))
        return x


class Stage(nn.Module):
    """Blocks of one width; the first may stride and keeps the earlier dilation."""

    features: int
    layout: tuple[int, int, int]
    style: BlockStyle
    factors: tuple[BlockFactors, ...]
    drop_rates: tuple[float, ...]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        strides, first_dilation, dilation = self.layout
        for i, (factors, drop_rate) in enumerate(
            zip(self.factors, self.drop_rates, strict=True)
        ):
            x = Block(
                self.features,
                strides if i == 0 else 1,
                first_dilation if i == 0 else dilation,
                self.style,
                factors,
                drop_rate,
                name=f"block{i + 1}",
            )(x, train)
        return x


class ResNet(nn.Module):
    """Images `[batch, h, w, 3]` -> {"stem": …, "stage1": …, …}, only what is asked for.

    Where a feature leaves for the head while the signal goes on, there is a fork:
    `long_skip_<stage>` with paths skip and deeper, `auxiliary_<stage>` with paths aux
    and deeper. In pre-activation networks each leaving feature gets its own final norm
    and ReLU.

    Attributes:
        stage_sizes: blocks per stage.
        width: channels of the first stage before expansion; each later one doubles.
        skips: stages, stem included, whose output the head merges, shallow first.
        aux: stage that feeds the auxiliary head, or "".
        factors: one `BlockFactors` per block in depth order; () = all 1.
        skip_gradients: backward factor per entry of `skips`.
        stochastic_depth: drop rate of the last block; linear from 0 (Huang 2016).
    """

    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    width: int = 64
    stem: str = "7x7"
    stage_strides: tuple[int, ...] = (1, 2, 2, 2)
    output_stride: int = 32
    style: BlockStyle = BlockStyle()
    skips: tuple[str, ...] = ()
    aux: str = ""
    factors: tuple[BlockFactors, ...] = ()
    skip_gradients: tuple[float, ...] = ()
    aux_gradient: float = 1.0
    stochastic_depth: float = 0.0

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        features: dict[str, jax.Array] = {}
        x = Stem(self.stem, self.width, self.style, name="stem")(images, train)
        x = self.leave(x, "stem", features, train)
        if self.stem == "7x7":
            x = max_pool(x)
        layout = stage_layout(self.stem, self.stage_strides, self.output_stride)
        blocks = sum(self.stage_sizes)
        all_factors = self.factors or (BlockFactors(),) * blocks
        start = 0
        for i, size in enumerate(self.stage_sizes):
            span = range(start, start + size)
            stage = Stage(
                self.width * 2**i * EXPANSION[self.style.block],
                layout[i],
                self.style,
                tuple(all_factors[b] for b in span),
                tuple(self.stochastic_depth * b / max(blocks - 1, 1) for b in span),
                name=f"stage{i + 1}",
            )
            x = stage(x, train)
            x = self.leave(x, f"stage{i + 1}", features, train)
            start += size
        return features | {
            f"stage{len(self.stage_sizes)}": self.final(x, "final", train)
        }

    def leave(
        self, x: jax.Array, stage: str, features: dict[str, jax.Array], train: bool
    ) -> jax.Array:
        """Puts into `features` what leaves after `stage`; returns what goes deeper."""
        if stage == self.aux:
            backward = (self.aux_gradient, 1.0)
            fork = Fork(
                "auxiliary", ("aux", "deeper"), backward, name=f"auxiliary_{stage}"
            )
            aux, x = fork(x)
            features["aux"] = self.final(aux, f"auxiliary_{stage}_exit", train)
        if stage in self.skips:
            gradients = self.skip_gradients or (1.0,) * len(self.skips)
            backward = (gradients[self.skips.index(stage)], 1.0)
            fork = Fork(
                "long_skip", ("skip", "deeper"), backward, name=f"long_skip_{stage}"
            )
            skip, x = fork(x)
            features[stage] = self.final(skip, f"long_skip_{stage}_exit", train)
        return x

    def final(self, x: jax.Array, name: str, train: bool) -> jax.Array:
        if self.style.order == "post":
            return x
        norm = Norm(self.style.norm, dtype=self.style.dtype, name=name)
        return nn.relu(norm(x, train))


def stage_widths(width: int, stages: int, block: str) -> dict[str, int]:
    """Channels of the features named stem, stage1, …"""
    widths: dict[str, Any] = {"stem": width}
    for i in range(stages):
        widths[f"stage{i + 1}"] = width * 2**i * EXPANSION[block]
    return widths


def native_stride(stem: str, stage_strides: Sequence[int]) -> int:
    """Output stride without dilation."""
    return STEM_STRIDES[stem] * math.prod(stage_strides)
