"""Samples of a network: what training drops at random is dropped (MC dropout)."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.errors import UserError
from resseg.inference.trained import Trained
from resseg.models.layers import BatchNorm


def sampled(
    model: Any, variables: Any, images: Any, keys: Mapping[str, jax.Array]
) -> jax.Array:
    """Logits with dropout and its kind as in training, batch norm as in evaluation.

    Args:
        model: a `SegmentationNetwork`.
        variables: of it.
        images: float32 `[batch, height, width, 3]`.
        keys: one, `dropout`.
    """

    def in_evaluation(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            return call(arguments[0], False)
        return call(*arguments, **keywords)

    with nn.intercept_methods(in_evaluation):
        # The auxiliary head has dropout of its own, which no prediction sees.
        outputs = model.clone(aux=None).apply(variables, images, train=True, rngs=keys)
    return outputs["logits"]


def require_dropout(member: Trained) -> None:
    """That samples of a network differ.

    Raises:
        UserError: nothing in it is drawn.
    """
    image = jax.ShapeDtypeStruct(member.blueprint.image_shape, jnp.float32)
    one = functools.partial(sampled, member.model, keys={})
    try:
        jax.eval_shape(one, member.variables, image)
    except flax.errors.InvalidRngError:
        return
    raise UserError(
        "--samples: nothing is drawn in this network (no dropout, drop path, DropBlock "
        "or shake), so all samples are equal; train with config.model.head.dropout or "
        "another, or leave --samples out"
    )
