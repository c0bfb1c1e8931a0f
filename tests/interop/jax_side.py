"""The same networks here, from the same tensors."""

import jax
import numpy as np
import optax
from drawn import LEARNING_RATE, images, labels
from flax import traverse_util

from resseg.blueprint.network import build_segmenter
from resseg.config.load import load_config
from resseg.interop import from_torch, to_torch
from resseg.models.classifier import ImageClassifier

BASE = "base"


class Ported:
    """A network from a state dict."""

    def __init__(self, layout, tensors, dropout=True):
        self.layout = layout
        overrides, variables = from_torch(layout, tensors)
        if not dropout:
            overrides |= {"model.head.dropout": 0.0}
        self.config = load_config(BASE, overrides)
        params = variables["params"]
        self.classifies = "head" not in params
        self.variables = variables
        scores = params["classifier"] if self.classifies else params["head"]
        scores = scores if self.classifies else scores["classifier"]["conv"]
        classes = scores["bias"].shape[0]
        self.model = network(self.config, classes, not self.classifies)

    def tensors(self):
        """The state dict again."""
        return to_torch(self.layout, self.config, self.variables)

    def scores(self, height, width):
        """Logits by torchvision's names in eval mode."""
        apply = jax.jit(lambda variables, x: self.model.apply(variables, x))
        return self._named(apply(self.variables, images(1, height, width)))

    def step(self, count, height, width):
        """The state dict after one SGD step on the mean cross-entropy."""
        x, variables = images(count, height, width), self.variables

        def loss(params):
            outputs, changed = self.model.apply(
                variables | {"params": params},
                x,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )
            out = self._named(outputs)["out"]
            wanted = labels(out.shape[:-1], out.shape[-1])
            each = optax.softmax_cross_entropy_with_integer_labels(out, wanted)
            return each.mean(), changed["batch_stats"]

        @jax.jit
        def step(params):
            gradients, statistics = jax.grad(loss, has_aux=True)(params)
            moved = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradients)
            return {"params": moved, "batch_stats": statistics}

        after = jax.device_get(step(variables["params"]))
        return to_torch(self.layout, self.config, after)

    def _named(self, outputs):
        if self.classifies:
            return {"out": outputs}
        names = {"logits": "out", "aux": "aux"}
        return {names[name]: value for name, value in outputs.items()}


def network(config, classes, segments):
    """The segmentation network of a config, or a classifier on its backbone."""
    segmenter = build_segmenter(config.model, classes)
    if segments:
        return segmenter
    return ImageClassifier(segmenter.backbone, classes)


def flat(tree):
    """Shapes by path."""
    leaves = traverse_util.flatten_dict(tree, sep="/")
    return {path: tuple(leaf.shape) for path, leaf in leaves.items()}


def difference(ours, theirs):
    """Largest absolute difference over the largest absolute value of theirs."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    return np.abs(ours - theirs).max() / np.abs(theirs).max()
