"""A classification network: what most published backbone weights come from."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.names import CLASSIFIER
from resseg.models.heads.fcn import deepest


class ImageClassifier(nn.Module):
    """Images `[batch, height, width, 3]` -> float32 class scores `[batch, classes]`.

    The mean of the deepest feature over the image, and a linear layer (He 2015).

    Attributes:
        backbone: a `ResNet`, or what else returns features by stage.
    """

    backbone: nn.Module
    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        features = self.backbone(images.astype(self.dtype), train)
        x = features[deepest(features)].astype(jnp.float32).mean(axis=(1, 2))
        return nn.Dense(self.num_classes, name=CLASSIFIER)(x)
