"""Shortcuts, branches and long skips: what they compute, and what flows back.

A coefficient is a number, a list with one per block, or, by steps, by blocks, by their
number, by stage: {"linear": [1.0, 0.0, 0, 1000]} | {"depth": [1.0, 0.3]} |
{"power": -0.5} | {"stage2": 0.5}. Learned ones start from it. Those of `model.gradient`
act backward only: the forward value stays, bit for bit.
"""

from resseg.architecture import (
    BRANCH_INITS,
    LEARN,
    MIXINGS,
    SHORTCUT_KINDS,
    TRANSITIONS,
    WITHIN,
)
from resseg.config.key import CHANGED, FIXED, NUMBER, SAME, SHAPES, SWITCH, Key
from resseg.config.values import (
    ANY_NUMBERS,
    AUXILIARY,
    BELOW_TWO,
    BLOCK,
    LEVEL,
    NOT_NEGATIVE,
    POSITIVE,
    PYRAMID_BRANCH,
    RATES,
    SHARES,
    choice,
    coefficient,
    integer,
    integers,
    real,
)

ROWS = (
    Key(
        "model.shortcut.kind",
        choice("identity", SHORTCUT_KINDS),
        "identity | none | constant (identity times scale) | learned_scalar | "
        "learned_channel | conv1x1 (a kernel in every block) | gate_exclusive "
        "(Highway) | gate_shortcut | dropout",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.shortcut.transition",
        choice("", ("", *TRANSITIONS)),
        "shortcut where the shape changes. A: zero-padded | B: 1x1 | C: 1x1 in every "
        "block | D: B behind an average pooling | none: the branch alone, as in "
        'MobileNetV2; "" = as backbone.variant says',
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.shortcut.scale",
        coefficient(1.0, BLOCK, ANY_NUMBERS),
        "W_c, the factor on the shortcut",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.shortcut.rate",
        coefficient(0.5, BLOCK, RATES),
        "of kind dropout: probability that a value of the shortcut is dropped",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.shortcut.gate_bias",
        coefficient(-6.0, BLOCK, ANY_NUMBERS),
        "bias in the gates' sigmoid at the start; number or list",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.shortcut.span",
        integer(0, NOT_NEGATIVE),
        "3x3 convolutions that a basic block skips over; 0 = 2",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.shortcut.first",
        coefficient(0.0, BLOCK, ANY_NUMBERS),
        "lambda of what the first block of a stage put out, added by those behind it "
        "(value residual, Zhou 2024); that of the first block itself is none",
        (SWITCH, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.shortcut.streams",
        integer(1, POSITIVE),
        "signals that the blocks of a stage hand on side by side and mix "
        "(hyper-connections, Zhu 2024); 1 = a plain residual network",
        (SHAPES, FIXED, CHANGED),
        later=True,
    ),
    Key(
        "model.shortcut.mixing",
        choice("free", MIXINGS),
        "what mixes streams: free | doubly_stochastic (mHC, Xie 2025)",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.branch.learn",
        choice("no", LEARN),
        "W_r: no (constant) | scalar | channel, from scale on",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.branch.scale",
        coefficient(1.0, BLOCK, ANY_NUMBERS),
        "W_r, the factor on the branch",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.branch.init",
        choice("he", BRANCH_INITS),
        "he | zero_gamma (starts as the zero map) | fixup (without norm: Zhang 2019) | "
        "dirac (kernels start as the identity) | delta_orthogonal (as a rotation)",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.branch.orthogonal",
        choice("no", WITHIN),
        "the branch adds what is at a right angle to the shortcut (Oh 2025): no | site "
        "(over the channels of a pixel) | image",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.branch.delta",
        real(0.0, BELOW_TWO),
        "the branch says along which direction of a pixel the shortcut is written over "
        "(Deep Delta, Zhang 2026), with this strength at the start; 0 = it is added",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.branch.drop_rate",
        coefficient(0.0, BLOCK, RATES),
        "probability that an image leaves the branch out, which others make up for; as "
        "backbone.stochastic_depth, for rates by steps or blocks",
        (SWITCH, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.branch.shake",
        choice("no", ("no", "shake_shake", "shake_drop")),
        "no | shake_shake (two branches mixed at random, backward otherwise) | "
        "shake_drop (one, times a random factor in some images)",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.branch.shake_rate",
        coefficient(0.5, BLOCK, RATES),
        "of shake_drop: probability that the branch of an image is shaken",
        (NUMBER, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.branch.shake_forward",
        choice("shake", ("shake", "even")),
        "factor forward: shake (at random) | even (what that is on average)",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.branch.shake_backward",
        choice("shake", ("shake", "even", "keep")),
        "factor backward: shake (at random) | even (one half) | keep (that of forward)",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.drop_block.rate",
        coefficient(0.0, BLOCK, RATES),
        "share of the features of a block that is dropped in squares, about; 0 = off",
        (SWITCH, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.drop_block.size",
        integer(64, POSITIVE),
        "side of the squares, pixels of the image: divided by the stride of a block",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.drop_block.where",
        choice("both", ("branch", "shortcut", "both")),
        "the ways on which squares are dropped",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.gradient.shortcut",
        coefficient(1.0, BLOCK, ANY_NUMBERS),
        "alpha: factor on the cotangent of the shortcut",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.gradient.branch_in",
        coefficient(1.0, BLOCK, ANY_NUMBERS),
        "gamma on dL/dx of the branch; its weights see all of it",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.gradient.branch_out",
        coefficient(1.0, BLOCK, ANY_NUMBERS),
        "gamma on the whole branch, its weights included",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.gradient.bypass",
        coefficient(0.0, BLOCK, SHARES),
        "share by which dL/dx leaves the branch out; 1 = all of it",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.gradient.detach_rate",
        coefficient(0.0, BLOCK, RATES),
        "probability that dL/dx leaves a branch out in a step; the other steps make up "
        "for it",
        (SWITCH, FIXED, SAME),
    ),
    Key(
        "model.gradient.normalize",
        choice("no", ("no", "block")),
        "block: each block keeps the norm of the cotangent",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.gradient.surgery",
        choice("no", WITHIN),
        "where gradients of shortcut and branch conflict each loses its part along the "
        "other (Yu 2020): no | site | image",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.gradient.clip_sites",
        coefficient(0.0, BLOCK, RATES),
        "share of an image's pixels, those of the largest gradient, that send none to "
        "the block before",
        (SWITCH, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.gradient.long_skip",
        coefficient(1.0, LEVEL, ANY_NUMBERS),
        "factor on the cotangent of the long skips, one per level, shallow first",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.gradient.aux",
        coefficient(1.0, AUXILIARY, ANY_NUMBERS),
        "factor on what the auxiliary head sends into the backbone",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.gradient.pyramid",
        coefficient(1.0, PYRAMID_BRANCH, ANY_NUMBERS),
        "factor on the cotangent of the branches of a head's pyramids, one per branch",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.long_skip.kind",
        choice("native", ("native", "concat", "add", "gate", "none")),
        "native (as the head is published) | concat | add | gate (native, of the skip "
        "times a sigmoid of its 1x1 convolution) | none",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.long_skip.scale",
        coefficient(1.0, LEVEL, ANY_NUMBERS),
        "forward factor kappa, one per level, shallow first",
        (NUMBER, FIXED, SAME),
    ),
    Key(
        "model.long_skip.learn",
        choice("no", LEARN),
        "kappa: no (constant) | scalar | channel, from scale on (Additive U-Net, 2026)",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.long_skip.wiring",
        integers((), NOT_NEGATIVE),
        "U-Nets: number of the skip that goes to each level, both shallow first; "
        "() = 0, 1, 2, …: to its own",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
)
