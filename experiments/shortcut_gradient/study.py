"""Does training need the gradient through the shortcuts, if the value stays the same?

The forward pass is the same for every alpha, the factor on the cotangent of each
block's shortcut: alpha = 1 is the ordinary residual network, alpha = 0 sends nothing
back through any shortcut. Under SGD and Adam, 5 seeds, procedural and real images.

Prediction, from a pilot of 16 blocks on discs of 16 x 16 under Adam with 2 seeds (final
losses .588, .219, .214, .209 for alpha = 0, .5, .8, 1): alpha = 0 is far above .5, that
above .8, and .8 not below 1; a forward factor of .8 is not worse than alpha = .8. The
differences are larger under SGD, because Adam undoes a uniform shrinkage.
"""

from resseg.sweeps import ordering, product, ratio, seeds, zipped

CONFIG = "config.py"
ALPHA = "model.gradient.shortcut"
FORWARD = "model.shortcut.scale"
ARMS = [
    {ALPHA: 1.0},
    {ALPHA: 0.8},
    {ALPHA: 0.5},
    {ALPHA: 0.0},
    {FORWARD: 0.8},
]
BASELINE = {ALPHA: 1.0, FORWARD: 1.0}
EACH = ["data.name", "optim.name"]
CLAIMS = [
    ordering(
        "the loss falls from alpha = 0 to .5 to .8",
        [{ALPHA: 0.8}, {ALPHA: 0.5}, {ALPHA: 0.0}],
        metric="train_loss",
        lower=True,
        each=EACH,
    ),
    ratio(
        "alpha = .8 is not below 1",
        {ALPHA: 0.8},
        BASELINE,
        metric="train_loss",
        at_least=1.0,
        each=EACH,
    ),
    ratio(
        "a forward factor of .8 is not worse than alpha = .8",
        {FORWARD: 0.8},
        {ALPHA: 0.8},
        metric="train_loss",
        at_most=1.0,
        each=EACH,
    ),
]


def runs():
    return product(
        seeds(5),
        {"data.name": ["shapes", "nuclei"]},
        zipped({"optim.name": ["sgd", "adamw"], "optim.learning_rate": [0.05, 2e-3]}),
        ARMS,
    )
