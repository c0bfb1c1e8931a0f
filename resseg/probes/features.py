"""What the network computes on the way: its stages, blocks and activations by name."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.models.blocks import Block, Branch
from resseg.models.resnet import Stage, Stem

LOGITS = "logits"


class FeatureInfo(NamedTuple):
    """What is static about a feature.

    Attributes:
        name: module path of what puts it out; `<branch>/relu<n>` for the activations
            inside of a branch, and `logits`.
        kind: stem, stage, block, activation or logits.
        shape: `[batch, height, width, channels]`.
    """

    name: str
    kind: str
    shape: tuple[int, ...]


def with_features(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[Any, dict[str, jax.Array]]:
    """Calls `function`, which applies a segmenter, and notes its features by name.

    Returns:
        What it returned, and the features in the order in which they are computed; the
        last block of a stage and the stage are one array under two names.
    """
    features: dict[str, jax.Array] = {}

    def note(call, positional, keywords, context):
        value = call(*positional, **keywords)
        path = "/".join(context.module.path)
        method = context.method_name
        if isinstance(context.module, Branch) and method == "activate":
            before = sum(name.startswith(f"{path}/relu") for name in features)
            features[f"{path}/relu{before + 1}"] = value
        if isinstance(context.module, Block | Stage | Stem) and method == "__call__":
            features[path] = value
        return value

    with nn.intercept_methods(note):
        result = function(*args, **kwargs)
    return result, features


def list_features(
    model: nn.Module, image_shape: Sequence[int]
) -> tuple[FeatureInfo, ...]:
    """The features of a segmenter, logits last; computes nothing.

    Args:
        image_shape: `[batch, height, width, 3]`.
    """
    listed: list[FeatureInfo] = []

    def run(images):
        (outputs, _), features = with_features(
            model.init_with_output, jax.random.key(0), images
        )
        for name, value in (features | {LOGITS: outputs["logits"]}).items():
            listed.append(FeatureInfo(name, _kind(name), value.shape))

    jax.eval_shape(run, jax.ShapeDtypeStruct(tuple(image_shape), jnp.float32))
    return tuple(listed)


def _kind(name: str) -> str:
    last = name.split("/")[-1].rstrip("0123456789")
    kinds = {"stem": "stem", "stage": "stage", "relu": "activation", LOGITS: LOGITS}
    return kinds.get(last, "block")
