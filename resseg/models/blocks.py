"""The residual block, written as its equation: y = g(W_c · x + W_r · h(x; W))."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.architecture import GATED
from resseg.gradients.fork import Fork, coefficient, scale_cotangent
from resseg.gradients.joins import Join
from resseg.gradients.names import (
    BRANCH,
    BRANCH_FACTOR,
    BRANCH_OUT,
    BYPASS,
    CLIP_SITES,
    DELTA,
    DETACH_RATE,
    FIRST,
    FORK,
    GATE,
    SHORTCUT,
    SHORTCUT_FACTOR,
)
from resseg.gradients.preserve import enter, leave
from resseg.gradients.surgery import (
    WITHIN,
    along,
    without_conflict,
    without_largest_sites,
)
from resseg.models.branch import BlockStyle, Branch
from resseg.models.layers import Norm
from resseg.models.ops.spread import spread
from resseg.models.regularisers import DropBlock, DropPath, ShakeDrop, ShakeShake
from resseg.models.shortcuts import (
    Delta,
    Gate,
    PathDropout,
    PathFactor,
    Shortcut,
    changes_shape,
    learned,
)
from resseg.models.streams import StreamMix, StreamRead, StreamWrite


class BlockFactors(NamedTuple):
    """The numbers of a block, or what its learned ones start from.

    Attributes:
        shortcut, branch: forward, c and w.
        gradient_shortcut, gradient_in, gradient_out: backward, alpha and the gammas.
        bypass: share by which the branch is left out of the gradient to the input.
        detach_rate: probability that a step leaves it out; the others make up for it.
        rate: of a shortcut that drops out.
        gate_bias: initial, of the gate.
        first: of what the first block of the stage put out, what is added.
        clip_sites: share of pixels, those of the largest gradient, that send none.
        drop_path: probability that an image leaves the branch out.
        drop_block: share of a feature that `DropBlock` drops.
        shake: probability that `ShakeDrop` shakes the branch.
    """

    shortcut: float = 1.0
    branch: float = 1.0
    gradient_shortcut: float = 1.0
    gradient_in: float = 1.0
    gradient_out: float = 1.0
    bypass: float = 0.0
    detach_rate: float = 0.0
    rate: float = 0.5
    gate_bias: float = -6.0
    first: float = 0.0
    clip_sites: float = 0.0
    drop_path: float = 0.0
    drop_block: float = 0.0
    shake: float = 0.5


class Block(nn.Module, Join):
    """One residual block, `[batch, h, w, in] -> [batch, h/s, w/s, features]`.

    Where a pre-activation block changes the shape, both ways start from the activated
    input (He 2016); everywhere else they part at the block's input. A gated block has a
    third way, to the gate.

    Attributes:
        features: true output width, expansion included.
        drop_rate: probability with which a sample skips the branch (Huang 2016), scaled
            so that the expectation stays.
        stream: number of the block among those of a stage of several streams, see
            `resseg.models.streams`; None = its signal is one.
        drop_size: side of the squares of `DropBlock`, features; 0 = there is none.
        inner, kernel: of the branch, see `Branch`.
    """

    features: int
    strides: int = 1
    dilation: int = 1
    style: BlockStyle = BlockStyle()
    factors: BlockFactors = BlockFactors()
    drop_rate: float = 0.0
    stream: int | None = None
    drop_size: int = 0
    inner: int = 0
    kernel: int = 3

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, first: jax.Array | None = None
    ) -> jax.Array:
        style = self.style
        ticket = None
        if style.preserve:
            x, ticket = enter(x)
        if style.clip:
            share = coefficient(self, CLIP_SITES, self.factors.clip_sites)
            x = without_largest_sites(x, share)
        activated = (
            style.order == "pre"
            and self.stream is None
            and changes_shape(x, self.features, self.strides)
        )
        if activated:
            norm = Norm(style.norm, dtype=style.dtype, name="norm")
            x = style.activation(norm(x, train))
        ways = self.part(x, train)
        gate = None
        if GATE in ways:
            gate = self.gate_of(ways[GATE])
        if SHORTCUT in ways:
            carried = self.carried(ways[SHORTCUT], train, gate, first)
            y = carried + self.computed(ways[BRANCH], train, activated, gate, carried)
        else:
            y = self.computed(ways[BRANCH], train, activated)
        y = self.finish(y, train)
        return y if ticket is None else leave(y, ticket)

    def part(self, x: jax.Array, train: bool) -> dict[str, jax.Array]:
        """The ways that `x` takes, by name."""
        style, factors = self.style, self.factors
        backward = {
            SHORTCUT: factors.gradient_shortcut,
            BRANCH: factors.gradient_in,
            GATE: 1.0,
        }
        bare = self.is_bare(x)
        if bare:
            del backward[SHORTCUT]
        if bare or style.shortcut not in GATED:
            del backward[GATE]
        fork = Fork("block", tuple(backward), tuple(backward.values()), name=FORK)
        to_branch = 1 - coefficient(self, BYPASS, factors.bypass)
        if style.detach:
            rate = coefficient(self, DETACH_RATE, factors.detach_rate)
            if train:
                kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - rate)
                to_branch = to_branch * kept / (1 - rate)
        ways = dict(zip(backward, fork(x, {BRANCH: to_branch}), strict=True))
        if style.surgery != "no" and not bare:
            pair = without_conflict(ways[SHORTCUT], ways[BRANCH], style.surgery)
            ways |= zip((SHORTCUT, BRANCH), pair, strict=True)
        return ways

    def is_bare(self, x: jax.Array) -> bool:
        """Whether the branch of `x` is all that there is."""
        style = self.style
        if style.shortcut in ("none", "conv1x1") or style.transition != "none":
            return style.shortcut == "none"
        return changes_shape(x, self.features, self.strides)

    def carried(
        self,
        x: jax.Array,
        train: bool,
        gate: jax.Array | None = None,
        first: jax.Array | None = None,
    ) -> jax.Array:
        """W_c · x, and what comes with it of the first feature of the stage."""
        style = self.style
        shortcut = Shortcut(
            style.shortcut,
            self.features if self.stream is None else x.shape[-1],
            self.strides,
            style.norm,
            normalized=style.order != "pre",
            dtype=style.dtype,
            transition=style.transition,
            standardized=style.standardized,
            name="shortcut",
        )
        factor = PathFactor(
            learned(style.shortcut), self.factors.shortcut, name=SHORTCUT_FACTOR
        )
        x = shortcut(x, train)
        if self.stream is not None:
            x = StreamMix(style.streams, style.constrained, name="stream_mix")(x)
        x = factor(x)
        if style.shortcut == "dropout":
            x = PathDropout(self.factors.rate, name="shortcut_dropout")(x, train)
        x = self.drop_block(x, SHORTCUT, train)
        x = x if gate is None else (1 - gate) * x
        if first is not None:
            x = x + first * spread(coefficient(self, FIRST, self.factors.first), first)
        return x

    def computed(
        self,
        x: jax.Array,
        train: bool,
        activated: bool,
        gate: jax.Array | None = None,
        carried: jax.Array | None = None,
    ) -> jax.Array:
        """W_r · h(x; W)"""
        style = self.style
        factor = PathFactor(style.learn_branch, self.factors.branch, name=BRANCH_FACTOR)
        streams, constrained = style.streams, style.constrained
        if self.stream is not None:
            x = StreamRead(streams, constrained, self.stream, name="stream_read")(x)
        y = self.branches(x, train, activated)
        if style.delta and carried is not None:
            y = Delta(style.delta, self.strides, style.dtype, name=DELTA)(x, y, carried)
        y = factor(y)
        if self.stream is not None:
            y = StreamWrite(streams, constrained, name="stream_write")(y)
        if gate is not None and style.shortcut == "gate_exclusive":
            y = gate * y
        if carried is not None and style.orthogonal != "no":
            parallel = along(y, carried, WITHIN[style.orthogonal])
            y = y - (parallel * carried.astype(jnp.float32)).astype(y.dtype)
        gamma = coefficient(self, BRANCH_OUT, self.factors.gradient_out)
        y = scale_cotangent(y, gamma)
        # Where nothing is carried, a branch that is left out would leave nothing.
        if carried is not None:
            drop = nn.Dropout(self.drop_rate, (1, 2, 3), deterministic=not train)
            y = drop(y)
        if style.drop_path and carried is not None:
            y = DropPath(self.factors.drop_path, name="branch_drop_path")(y, train)
        return self.drop_block(y, BRANCH, train)

    def branches(self, x: jax.Array, train: bool, activated: bool) -> jax.Array:
        """h(x; W), of one branch or two, which may be shaken."""
        style = self.style
        shape = (self.features, self.strides, self.dilation, style, activated)
        shape = (*shape, self.inner, self.kernel)
        y = Branch(*shape, name="branch")(x, train)
        directions = (style.shake_forward, style.shake_backward)
        if style.shake == "shake_shake":
            other = Branch(*shape, name="branch2")(x, train)
            return ShakeShake(*directions, name="branch_shake")(y, other, train)
        if style.shake == "shake_drop":
            rate = self.factors.shake
            return ShakeDrop(rate, *directions, name="branch_shake")(y, train)
        return y

    def drop_block(self, x: jax.Array, way: str, train: bool) -> jax.Array:
        """Squares dropped on one of the ways, where they shall be."""
        if not self.drop_size or self.style.drop_block not in (way, "both"):
            return x
        drop = DropBlock(
            self.factors.drop_block, self.drop_size, name=f"{way}_drop_block"
        )
        return drop(x, train)

    def gate_of(self, x: jax.Array) -> jax.Array:
        """g(x), between 0 and 1."""
        return Gate(
            self.features,
            self.strides,
            self.factors.gate_bias,
            self.style.dtype,
            name=GATE,
        )(x)

    def finish(self, y: jax.Array, train: bool) -> jax.Array:
        """What stands behind the sum, g; nothing in the other orders."""
        style = self.style
        if style.order == "bn_after_add":
            y = Norm(style.norm, dtype=style.dtype, name="norm_sum")(y, train)
        return style.activation(y) if style.order in ("post", "bn_after_add") else y
