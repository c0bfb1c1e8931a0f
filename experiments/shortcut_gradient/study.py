"""Does training need the gradient through the shortcuts, if the value stays the same?

The forward pass is the same for every alpha, the factor on the cotangent of each
block's shortcut: alpha = 1 is the ordinary residual network, alpha = 0 sends nothing
back through any shortcut. Under SGD and Adam, 5 seeds, procedural and real images.

Prediction, from a pilot of 16 blocks on discs of 16 x 16 under Adam with 2 seeds (final
losses .588, .219, .214, .209 for alpha = 0, .5, .8, 1): alpha = 0 is far above .5, that
above .8, and .8 not below 1; a forward factor of .8 is not worse than alpha = .8. The
differences are larger under SGD, because Adam undoes a uniform shrinkage.
"""

from resseg.sweeps import product, seeds, zipped

CONFIG = "config.py"
ARMS = [
    {"model.gradient.shortcut": 1.0},
    {"model.gradient.shortcut": 0.8},
    {"model.gradient.shortcut": 0.5},
    {"model.gradient.shortcut": 0.0},
    {"model.shortcut.scale": 0.8},
]


def runs():
    return product(
        seeds(5),
        {"data.name": ["shapes", "nuclei"]},
        zipped({"optim.name": ["sgd", "adamw"], "optim.learning_rate": [0.05, 2e-3]}),
        ARMS,
    )
