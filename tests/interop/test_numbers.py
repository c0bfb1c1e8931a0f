"""The numbers of torch's own networks, from fixtures: scores, and one training step."""

import json
import lzma

import numpy as np
import pytest
from drawn import (
    NAMES,
    SHAPES,
    STEP_BATCH,
    STEPS,
    VALUES,
    change,
    key,
    sample,
    size,
    stands_still,
    weights,
)
from jax_side import Ported

TOLERANCE = 1e-4
QUICK_SCORES = (
    "torchvision/resnet18",
    "torchvision/mobilenet_v2",
    "torchvision/efficientnet_b0",
    "torchvision/resnext50_32x4d",
    "torchvision/deeplabv3_resnet50+aux",
    "timm/resnet50d",
    "timm/seresnet50",
    "timm/resnetv2_50",
    "smp/Unet_resnet18",
    "smp/DeepLabV3_resnet18",
    "smp/DeepLabV3Plus_resnet18",
    "smp/FPN_resnet18",
    "smp/PSPNet_resnet18",
    "smp/PAN_resnet18",
)
QUICK_STEPS = ("torchvision/resnet18", "smp/DeepLabV3Plus_resnet18")
IMAGE_LEVEL = "decoder.aspp.0.convs.4.2.running_var"


def cases(names, quick):
    return [
        pytest.param(*case, id=at, marks=[] if at in quick else pytest.mark.slow)
        for case in names
        for at in [key(*case)]
    ]


@pytest.fixture(scope="module")
def shapes():
    return json.loads(lzma.decompress(SHAPES.read_bytes()))


@pytest.fixture(scope="module")
def values():
    return dict(np.load(VALUES))


@pytest.mark.parametrize(("layout", "name", "aux"), cases(NAMES, QUICK_SCORES))
def test_scores_are_those_of_the_library(layout, name, aux, shapes, values):
    at = key(layout, name, aux)
    ours = Ported(layout, weights(shapes[at])).scores(*size(layout, name))
    assert set(ours) == ({"out", "aux"} if aux else {"out"})
    for output, scores in ours.items():
        largest = values[f"{at}/{output}/max"]
        difference = sample(scores) - values[f"{at}/{output}"]
        assert np.isfinite(scores).all()
        assert np.abs(difference).max() < TOLERANCE * largest
        assert abs(np.abs(scores).max() - largest) < TOLERANCE * largest


@pytest.fixture(scope="module")
def stepped():
    """The state dict after a step; that of a network is computed once."""
    known = {}

    def step(layout, name, before):
        if (layout, name) not in known:
            ported = Ported(layout, before, dropout=False)
            known[layout, name] = ported.step(STEP_BATCH, *size(layout, name))
        return known[layout, name]

    return step


@pytest.mark.parametrize(("layout", "name", "aux"), cases(STEPS, QUICK_STEPS))
def test_a_training_step_is_that_of_the_library(
    layout, name, aux, shapes, values, stepped
):
    """Parameters and statistics to 1e-3, and what the step changed in each of them.

    A change is a small difference of float32 numbers, so it is held to 2 %, and to what
    rounding leaves of it.
    """
    at = key(layout, name, aux)
    before = weights(shapes[at])
    after = stepped(layout, name, before)
    ours, theirs = change(before, after), values[f"{at}/step"]
    starts = [(name, start) for name, start in before.items() if start.ndim]
    assert len(starts) == len(theirs)
    for (name, start), mine, wanted in zip(starts, ours, theirs, strict=True):
        if stands_still(name, at):
            continue
        rounding = 1e-7 * np.linalg.norm(start)
        assert wanted[0] > 10 * rounding, name
        assert abs(mine[0] - wanted[0]) < 0.02 * wanted[0] + rounding, name
        largest = np.abs(start).max()
        assert np.abs(mine[1:] - wanted[1:]).max() < 1e-3 * largest, name
        unit = 2e-7 * largest
        assert np.abs(mine[1:] - wanted[1:]).max() < 0.02 * wanted[0] + unit, name


def test_the_image_level_branch_collects_the_unbiased_variance(shapes, values, stepped):
    """One value per image and channel: the biased variance of 4 is a quarter less."""
    layout, name = "smp", "DeepLabV3Plus_resnet18"
    at = key(layout, name, False)
    before = weights(shapes[at])
    after = stepped(layout, name, before)[IMAGE_LEVEL]
    row = [name for name, start in before.items() if start.ndim].index(IMAGE_LEVEL)
    theirs = sample(before[IMAGE_LEVEL], 3) + values[f"{at}/step"][row, 1:]
    np.testing.assert_allclose(sample(after, 3), theirs, rtol=1e-5)
    collected = sample(after, 3) - 0.9 * sample(before[IMAGE_LEVEL], 3)
    biased = theirs - collected / STEP_BATCH
    assert np.abs(biased / theirs - 1).max() > 1e-3
