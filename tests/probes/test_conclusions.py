"""What probes say of their tables: of tables written by hand, word for word."""

import math

import numpy as np
import pandas as pd
import pytest

from resseg.probes import (
    hessian,
    jacobian,
    lesion,
    noise_scale,
    paths,
    profile,
    rank,
    receptive_field,
    reorder,
    shattering,
    signal,
    underflow,
)
from resseg.probes.probe import slope

SPECTRUM = {
    "eigenvalue": [8.0, 1.0, -2.0],
    "residual": [0.079, 0.0, 0.0],
    "trace": 5.5,
    "trace_error": 0.25,
    "parameters": 123,
}
PARTS = {
    "part": ["block", "block", "net"],
    "module": ["a", "b", "net"],
    "sigma_max": [3.0, 1.5, 9.0],
    "gain": [0.5, 2.0, 40.0],
    "residual": [0.1, 0.0, 0.11],
}
LESIONS = {
    "lesion": ["(none)", "(none)", "a", "b", "c", "two at once"],
    "class": ["ring", "(mean)", "(mean)", "(mean)", "(mean)", "(mean)"],
    "depth": [-1, -1, 0, 1, 2, -1],
    "iou": [0.9, 0.8, 0.5, 0.3, 0.7, 0.1],
}
NOISE = {
    "block": ["stem", "(all)"],
    "noise_scale": [1.0, 64.0],
    "spread": [0.1, 2.5],
    "images": [8, 16],
}
LENGTHS = {
    "route": ["all", "all", "all", "deepest", "all"],
    "depth": [0, 0, 0, 0, 1],
    "fork": ["first"] * 4 + ["second"],
    "blocks": [4, 4, 4, 4, 3],
    "length": [0, 1, -1, 0, 0],
    "part": [0.5, 0.25, 0.125, 1.0, 1.0],
    "mean_length": [1.5, 1.5, 1.5, 0.25, 9.0],
    "sampled_l2": [8.0, 2.0, 0.0, 0.0, 7.0],
}
GRADIENTS = {
    "pixels": ["all", "all", "all", "all", "ring", "ring", "wire", "wire"],
    "kind": ["long_skip", "block", "block", "block", *["block"] * 4],
    "fork": ["skip", "first", "first", "last", "first", "last", "first", "last"],
    "ratio": [7.0, 0.25, 0.25, 1.0, 1, 1, 1, 1],
    "part": [1.0, 1.0, 1.0, 1.0, 0.25, 0.1, -0.75, -0.5],
}
RANKS = {
    "feature": ["backbone/stage1/block1", "backbone/stage1/block2", "head/decoder1"],
    "kind": ["block", "block", "block"],
    "effective_rank": [2.0, 3.14, 9.0],
    "channels": [8, 16, 32],
    "dead": [0.0, 0.25, 0.125],
    "counted": [100, 200, 300],
}
FIELDS = {
    "feature": ["backbone/stage1", "backbone/stage2", "backbone/stage2", "logits"],
    "radius": [1.5, 4.5, 99.0, 2.25],
    "area_fraction": [0.1, 0.2, 0.3, 0.456],
}
ORDERS = {
    "class": ["(mean)"] * 3 + ["ring"],
    "tau": [1.0, -0.5, 0.5, -1.0],
    "iou": [0.5, 0.25, 0.125, 0.75],
}
CORRELATIONS = {
    "walk": ["line", "independent"],
    "correlation": [0.9, 0.123],
    "pairs": [3, 7],
}
SIGNALS = {"depth": [0, 1, 2], "variance": [1.0, 4.0, 16.0]}
COTANGENTS = {
    "fork": ["a", "a", "b"],
    "path": ["shortcut", "branch", "shortcut"],
    "below_fp16": [0.1, 0.5, 0.2],
    "below_bf16": [0.0, 0.01, 0.02],
    "scale_log2": [3, 7, 5],
    "headroom_log2": [20, 12, 15],
    "nonfinite": [0, 0, 0],
}


def said(probe, table, **changes):
    return probe.conclude(pd.DataFrame(table | changes))


@pytest.mark.parametrize(
    ("probe", "table", "sentences"),
    [
        (
            hessian,
            SPECTRUM,
            [
                "largest eigenvalue 8: gradient descent is stable there up to a "
                "learning rate of 0.25",
                "smallest Ritz value -2; trace 5.5 ± 0.25, over 123 weights",
            ],
        ),
        (
            jacobian,
            PARTS,
            [
                "a stretches most, 3-fold; a random cotangent grows 1-fold in the mean "
                "of the blocks",
                "1 of 3 iterations ended with a residual above 0.1; their sigma_max is "
                "a lower bound, and more --iterations raise it",
            ],
        ),
        (
            lesion,
            LESIONS,
            ["mean IoU 0.8000 intact, 0.5000 without one block (median), 0.3000 "
             "without b"],
        ),
        (
            noise_scale,
            NOISE,
            ["noise scale of all parameters: 64 images, standard error 2.5"],
        ),
        (
            paths,
            LENGTHS,
            [
                "all: at first the mean path takes 1.5 of 4 branches",
                "all: 12.5% of the gradient came by longer ones",
                "deepest: at first the mean path takes 0.25 of 4 branches",
                "a single path changes by a factor of 0.25 per branch",
            ],
        ),
        (
            profile,
            GRADIENTS,
            [
                "the gradient changes by a factor of 0.25 per block on its way back; "
                "at first it is 0.25 of the deepest block's",
                "wire: -75.0% of the gradient at first",
                "ring: 25.0% of the gradient at first",
            ],
        ),
        (
            rank,
            RANKS,
            [
                "backbone/stage1/block2 uses 3.1 of its 16 channels (effective rank)",
                "most dead channels: backbone/stage1/block2, 25.0% over 200 sites",
            ],
        ),
        (
            receptive_field,
            FIELDS,
            [
                "radius of the deepest stage 4.5 pixels, of the logits 2.25, which "
                "listen to 45.6% of the image"
            ],
        ),
        (reorder, ORDERS, ["mean IoU 0.5000 as it is, 0.2500 at tau -0.50"]),
        (
            shattering,
            CORRELATIONS,
            ["gradients of two images correlate by 0.123 (7 pairs)"],
        ),
        (signal, SIGNALS, ["the variance of the sum grows by a factor of 4 per block"]),
        (
            underflow,
            COTANGENTS,
            [
                "float16 would lose 50.00% of a branch, the path that loses most; "
                "bfloat16 at most 2.00% of a path",
                "loss scales from 2^7 to 2^12 keep 99.9% of every path",
            ],
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_each_probe_says_what_its_table_holds(probe, table, sentences):
    assert said(probe, table) == sentences


def test_what_is_said_where_something_is_missing():
    flat = said(hessian, SPECTRUM, eigenvalue=[0.0, -1.0, -2.0])
    assert flat[0] == "no direction curves upwards"
    late = said(hessian, SPECTRUM, residual=[0.081, 0.0, 0.0])
    assert late[2] == "the largest has not converged; more --iterations raise it"
    assert len(said(jacobian, PARTS, residual=[0.1, 0.1, 0.1])) == 1
    assert len(said(jacobian, PARTS, part="net")) == 1
    none = said(lesion, LESIONS, depth=-1)
    assert none == ["the network has no residual block"]
    drowned = said(noise_scale, NOISE, noise_scale=[1.0, math.nan])
    assert drowned[0].startswith("the gradient drowns in noise: 16 images")
    alone = said(noise_scale, NOISE, spread=[0.1, math.nan])
    assert alone == ["noise scale of all parameters: 64 images"]
    assert len(said(paths, LENGTHS, sampled_l2=[8.0, 0, 0, 0, 7.0])) == 3
    assert len(said(rank, RANKS, dead=0.0)) == 1
    broken = said(underflow, COTANGENTS, nonfinite=[1, 0, 2])
    assert broken[1] == "3 entries are not finite"
    torn = said(underflow, COTANGENTS, headroom_log2=[20, 6, 15])
    assert torn[1].startswith(
        "no loss scale serves every path: 99.9% are kept from 2^7"
    )
    assert torn[1].endswith("and beyond 2^6 something overflows")
    assert "from 2^7 to 2^7" in said(underflow, COTANGENTS, headroom_log2=7)[1]


def test_a_profile_in_short_has_parts_at_the_first_block_alone():
    table = profile.in_short(pd.DataFrame(GRADIENTS))
    assert list(zip(table["pixels"], table["fork"], strict=True)) == [
        ("all", "skip"),
        ("all", "first"),
        ("all", "first"),
        ("all", "last"),
        ("ring", "first"),
        ("wire", "first"),
    ]
    alone = pd.DataFrame(GRADIENTS).query("pixels == 'all'")
    found = profile.in_short(alone)
    assert list(found.columns) == ["kind", "fork", "ratio"] and len(found) == 4


def test_a_slope_leaves_out_what_is_not_finite():
    assert slope([0, 1, 2, 3], [1.0, math.nan, 5.0, 7.0]) == pytest.approx(2)
    assert slope([1, 3], [4.0, 0.0]) == pytest.approx(-2)
    assert np.isnan(slope([0, 1, 2], [1.0, math.inf, math.nan]))
