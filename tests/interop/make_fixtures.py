"""Writes the fixtures: what the real networks of torch answer to drawn weights.

In an environment with torch, torchvision, timm and segmentation-models-pytorch, without
JAX:

    python tests/interop/make_fixtures.py
    python tests/interop/make_fixtures.py FPN PSPNet    # what these are in the name of

`shapes.json.xz` holds names and shapes of every state dict; `values.npz` samples of the
scores of every network, and of what one SGD step changed in some.
"""

import json
import lzma
import sys

import numpy as np
import torch_side
from drawn import (
    FOLDER,
    NAMES,
    SHAPES,
    STEP_BATCH,
    STEPS,
    VALUES,
    change,
    key,
    sample,
    size,
    weights,
)


def main(words):
    """About ten minutes on two cores; what no word is in the name of stays."""
    FOLDER.mkdir(exist_ok=True)
    names, values, known, kept = {}, {}, {}, {}
    if words:
        known = json.loads(lzma.decompress(SHAPES.read_bytes()))
        kept = dict(np.load(VALUES))
    for layout, name, aux in NAMES:
        at = key(layout, name, aux)
        if at in known and not any(word in at for word in words):
            names[at] = known[at]
            values |= {k: x for k, x in kept.items() if k.startswith(f"{at}/")}
            continue
        print(at, file=sys.stderr, flush=True)
        module = torch_side.load(torch_side.build(layout, name, aux))
        names[at] = torch_side.shapes(module)
        for output, scores in torch_side.scores(module, *size(layout, name)).items():
            values[f"{at}/{output}"] = sample(scores)
            values[f"{at}/{output}/max"] = np.abs(scores).max()
        if (layout, name, aux) in STEPS:
            before = weights(names[at])
            after = torch_side.step(module, STEP_BATCH, *size(layout, name))
            values[f"{at}/step"] = change(before, after)
    SHAPES.write_bytes(lzma.compress(json.dumps(names).encode(), preset=9))
    np.savez_compressed(VALUES, **values)


if __name__ == "__main__":
    main(sys.argv[1:])
