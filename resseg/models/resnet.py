"""The residual backbone: stem and stages -> a dict of features keyed by stage."""

import flax.linen as nn
import jax

from resseg.architecture import EXPANSION, POOLED_STEMS, STEM_STRIDES
from resseg.gradients.fork import Fork
from resseg.gradients.names import AUX, DEEPER, EXIT, FIRST, SKIP, STAGE
from resseg.models import streams
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import BlockStyle, SqueezeExcitation
from resseg.models.efficient import depthwise
from resseg.models.layers import Conv, Norm
from resseg.models.pooling import max_pool
from resseg.models.stage_layout import StageLayout, stage_layout

TRAIN = 2  # place of `train` among the arguments of a block or stage, self included


class Stem(nn.Module):
    """7x7 of stride 2; deep: three 3x3, the first of stride 2; or 3x3 of stride 1.

    mobile: 3x3 of stride 2, depthwise 3x3, and a 1x1 to half the channels, with a norm
    alone behind it (Sandler 2018, the first two rows of table 2).

    Each convolution is followed by norm and ReLU; in `pre` order the last one is bare
    (He 2016).

    Attributes:
        output: channels that a mobile one puts out; 0 = half of `features`.
        squeezes: squeeze-and-excitation in front of its last convolution, to a quarter
            of its channels (Tan 2019).
    """

    kind: str
    features: int
    style: BlockStyle
    output: int = 0
    squeezes: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        style, half = self.style, self.features // 2
        layers = {
            "7x7": {"": (self.features, 7, 2)},
            "3x3": {"": (self.features, 3, 1)},
            "deep": {"1": (half, 3, 2), "2": (half, 3, 1), "3": (self.features, 3, 1)},
            "mobile": {
                "1": (self.features, 3, 2),
                "2": (self.features, 3, 1),
                "3": (self.output or half, 1, 1),
            },
        }[self.kind]
        *_, last = layers
        for number, (features, kernel, strides) in layers.items():
            mobile = self.kind == "mobile"
            made = depthwise if mobile and number == "2" else Conv
            if self.squeezes and number == last:
                x = SqueezeExcitation(
                    inner=max(x.shape[-1] // 4, 1),
                    act=style.activation,
                    dtype=style.dtype,
                    name="se",
                )(x)
            x = made(
                features,
                kernel=kernel,
                strides=strides,
                dtype=style.dtype,
                standardized=style.standardized,
                name=f"conv{number}",
            )(x)
            if style.order != "pre" or number != last:
                norm = Norm(style.norm, dtype=style.dtype, name=f"norm{number}")
                x = norm(x, train)
                if not mobile or number != last:
                    x = style.activation(x)
        return x


class Tail(nn.Module):
    """A 1x1 convolution with norm and activation behind the last stage."""

    features: int
    style: BlockStyle

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        style = self.style
        x = Conv(
            self.features,
            1,
            dtype=style.dtype,
            standardized=style.standardized,
            name="conv",
        )(x)
        norm = Norm(style.norm, dtype=style.dtype, name="norm")
        return style.activation(norm(x, train))


class Stage(nn.Module):
    """Blocks the first of which may stride.

    Behind the first, the signal may be several streams, up to the last; or what the
    first put out is added again by each (value residual, Zhou 2024), and where it parts
    there is a fork `first` with paths skip and deeper.
    """

    features: tuple[int, ...]
    layout: StageLayout
    style: BlockStyle
    factors: tuple[BlockFactors, ...]
    drop_rates: tuple[float, ...]
    drop_size: int = 0
    remat: bool = False
    inner: tuple[int, ...] = ()
    kernels: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        block = nn.remat(Block, static_argnums=(TRAIN,)) if self.remat else Block
        blocks = zip(self.layout.dilations, self.factors, self.drop_rates, strict=True)
        many = len(self.factors) > 1
        count = self.style.streams if many else 1
        also = ()  # what later blocks are given besides
        for i, (dilation, factors, drop_rate) in enumerate(blocks):
            if i == 1 and count > 1:
                x = streams.copies(x, count)
            x = block(
                self.features[i],
                1 if i else self.layout.strides,
                dilation,
                self.style,
                factors,
                drop_rate,
                i - 1 if i and count > 1 else None,
                self.drop_size,
                self.inner[i] if self.inner else 0,
                self.kernels[i] if self.kernels else 3,
                name=f"block{i + 1}",
            )(x, train, *also)
            if i == 0 and many and self.style.first:
                skip, x = Fork("first", (SKIP, DEEPER), name=FIRST)(x)
                also = (skip,)
        return streams.mean(x, count) if count > 1 else x


class ResNet(nn.Module):
    """Images `[batch, h, w, 3]` -> {"stem": …, "stage1": …, …}, only what is asked for.

    Where a feature leaves for the head while the signal goes on, there is a fork:
    `long_skip_<stage>` with paths skip and deeper, `auxiliary_<stage>` with paths aux
    and deeper. In pre-activation networks each leaving feature gets its own final norm
    and ReLU.

    Attributes:
        stage_sizes: blocks per stage.
        width: channels of the stem, and of the first stage before expansion; each
            later stage doubles them.
        widths: channels that each block puts out, by stage; () = as width says.
        inner: channels inside the branch of each block, in depth order; () = as the
            kind of block says.
        kernels: sides of the depthwise kernel of each block, by stage; () = 3.
        stem_squeezes: squeeze-and-excitation in a mobile stem, as in its blocks.
        stem_output: channels that a mobile stem puts out; 0 = half the width.
        tail: channels of a `Tail`; 0 = there is none.
        dilation, multi_grid: see `stage_layout`.
        skips: stages, stem included, whose output the head merges, shallow first.
        aux: stage that feeds the auxiliary head, or "".
        factors: one `BlockFactors` per block in depth order; () = all 1.
        skip_gradients: backward factor per entry of `skips`.
        stochastic_depth: drop rate of the last block; linear from 0 (Huang 2016).
        drop_block_size: side of the squares of `DropBlock`, pixels of the image.
        remat: what is computed again in the backward pass and not kept for it: none,
            blocks or stages.
        frozen: stages, stem included, that compute as they do in evaluation: with the
            statistics that their norms have, and nothing dropped.
    """

    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    width: int = 64
    stem: str = "7x7"
    stage_strides: tuple[int, ...] = (1, 2, 2, 2)
    output_stride: int = 32
    dilation: str = "torchvision"
    multi_grid: tuple[int, ...] = ()
    style: BlockStyle = BlockStyle()
    skips: tuple[str, ...] = ()
    aux: str = ""
    factors: tuple[BlockFactors, ...] = ()
    skip_gradients: tuple[float, ...] = ()
    aux_gradient: float = 1.0
    stochastic_depth: float = 0.0
    drop_block_size: int = 0
    remat: str = "none"
    frozen: tuple[str, ...] = ()
    widths: tuple[tuple[int, ...], ...] = ()
    stem_output: int = 0
    tail: int = 0
    inner: tuple[int, ...] = ()
    kernels: tuple[tuple[int, ...], ...] = ()
    stem_squeezes: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        features: dict[str, jax.Array] = {}
        stem = Stem(
            self.stem,
            self.width,
            self.style,
            self.stem_output,
            self.stem_squeezes,
            name="stem",
        )
        x = stem(images, train and "stem" not in self.frozen)
        x = self.leave(x, "stem", features, train)
        if self.stem in POOLED_STEMS:
            x = max_pool(x)
        layout = stage_layout(
            self.stem,
            self.stage_strides,
            self.stage_sizes,
            self.output_stride,
            self.dilation,
            self.multi_grid,
        )
        blocks = sum(self.stage_sizes)
        all_factors = self.factors or (BlockFactors(),) * blocks
        stage_of = Stage
        if self.remat == "stages":
            stage_of = nn.remat(Stage, static_argnums=(TRAIN,))
        start, stride = 0, STEM_STRIDES[self.stem]
        for i, size in enumerate(self.stage_sizes):
            span = range(start, start + size)
            stride *= layout[i].strides
            stage = stage_of(
                self.widths[i] if self.widths else (self.stage_width(i),) * size,
                layout[i],
                self.style,
                tuple(all_factors[b] for b in span),
                tuple(self.stochastic_depth * b / max(blocks - 1, 1) for b in span),
                drop_size=self.drop_block_size
                and max(self.drop_block_size // stride, 1),
                remat=self.remat == "blocks",
                inner=self.inner[start : start + size],
                kernels=self.kernels[i] if self.kernels else (),
                name=f"{STAGE}{i + 1}",
            )
            x = stage(x, train and f"stage{i + 1}" not in self.frozen)
            x = self.leave(x, f"stage{i + 1}", features, train)
            start += size
        x = self.final(x, "final", train)
        if self.tail:
            x = Tail(self.tail, self.style, name="tail")(x, train)
        return features | {f"stage{len(self.stage_sizes)}": x}

    def stage_width(self, stage: int) -> int:
        """Channels that its blocks put out. The stem is never widened."""
        width, block = self.width * 2**stage, self.style.block
        wide = int(width * self.style.width_factor) if block != "bottleneck" else width
        return wide * EXPANSION[block]

    def leave(
        self, x: jax.Array, stage: str, features: dict[str, jax.Array], train: bool
    ) -> jax.Array:
        """Puts into `features` what leaves after `stage`; returns what goes deeper."""
        if stage == self.aux:
            backward = (self.aux_gradient, 1.0)
            fork = Fork("auxiliary", (AUX, DEEPER), backward, name=f"auxiliary_{stage}")
            aux, x = fork(x)
            features[AUX] = self.final(aux, f"auxiliary_{stage}{EXIT}", train)
        if stage in self.skips:
            gradients = self.skip_gradients or (1.0,) * len(self.skips)
            backward = (gradients[self.skips.index(stage)], 1.0)
            fork = Fork(
                "long_skip", (SKIP, DEEPER), backward, name=f"long_skip_{stage}"
            )
            skip, x = fork(x)
            features[stage] = self.final(skip, f"long_skip_{stage}{EXIT}", train)
        return x

    def final(self, x: jax.Array, name: str, train: bool) -> jax.Array:
        """Norm and ReLU, or ReLU, where the blocks end without."""
        if self.style.order == "relu_only_pre":
            return self.style.activation(x)
        if self.style.order != "pre":
            return x
        norm = Norm(self.style.norm, dtype=self.style.dtype, name=name)
        return self.style.activation(norm(x, train))
