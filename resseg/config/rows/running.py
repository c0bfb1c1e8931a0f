"""What is measured and written when, and on which devices."""

from resseg.config.key import (
    FIXED,
    FREE,
    LOOP,
    LOOP_SWITCH,
    OUTSIDE,
    SAME,
    SHAPES,
    Key,
)
from resseg.config.values import (
    COUNT_OR_LEFT,
    INSIDE_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_OR_LEFT,
    TRACKER,
    flag,
    integer,
    real,
    texts,
)

ROWS = (
    Key(
        "eval.every",
        integer(0, NOT_NEGATIVE),
        "steps between evaluations; 0 = only at the end",
        (LOOP, FIXED, SAME),
    ),
    Key(
        "eval.boundary",
        real(0.02, INSIDE_ONE),
        "Boundary IoU band, share of the image diagonal",
        (OUTSIDE, FIXED, SAME),
    ),
    Key(
        "eval.predictions",
        integer(8, NOT_NEGATIVE),
        "overlays written after the last evaluation",
        (OUTSIDE, FREE, SAME),
    ),
    Key(
        "checkpoint.every",
        integer(100, POSITIVE),
        "steps between checkpoints, of which the last two are kept",
        (LOOP, FREE, SAME),
    ),
    Key(
        "checkpoint.keep_every",
        integer(0, NOT_NEGATIVE),
        "steps between checkpoints kept for good; 0 = none",
        (LOOP, FREE, SAME),
    ),
    Key(
        "log.every",
        integer(10, POSITIVE),
        "steps between rows of metrics.jsonl and the progress line",
        (LOOP, FREE, SAME),
    ),
    Key(
        "log.gradients.every",
        integer(1, NOT_NEGATIVE),
        "steps between rows of the gradient log; 0 = off",
        (LOOP_SWITCH, FIXED, SAME),
    ),
    Key(
        "log.tensorboard",
        flag(True),
        "write event files too",
        (OUTSIDE, FREE, SAME),
    ),
    Key(
        "log.trackers",
        texts((), TRACKER),
        "wandb, mlflow, trackio: trackers that are written to as well",
        (OUTSIDE, FREE, SAME),
        later=True,
    ),
    Key(
        "mesh.data",
        integer(0, COUNT_OR_LEFT),
        "devices that share a batch; 0 or -1 = what mesh.space leaves, all by default",
        (SHAPES, FREE, SAME),
    ),
    Key(
        "mesh.space",
        integer(1, POSITIVE_OR_LEFT),
        "devices that share the height of an image; -1 = what mesh.data leaves",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
)
