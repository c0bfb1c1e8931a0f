"""Backbone, head and auxiliary head, with the scores at the size of the image."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from resseg.models.ops.halo import splitting
from resseg.models.resizing import resize


class SegmentationNetwork(nn.Module):
    """Images `[batch, height, width, 3]` -> {"logits": …, "aux": …, "level1": …}, each
    float32 `[batch, height, width, classes]`; "aux" is there if there is an auxiliary
    head, "level1", … if the decoder is supervised at its levels, finest first.

    Attributes:
        split: how devices share batch and height of the images, see `ops.halo`; None =
            each has whole images.
    """

    backbone: nn.Module
    head: nn.Module
    aux: nn.Module | None = None
    dtype: Any = jnp.float32
    align_corners: bool = False
    split: NamedSharding | None = None

    def __call__(self, images: jax.Array, train: bool = False) -> dict[str, jax.Array]:
        size = (images.shape[1], images.shape[2])
        with splitting(self.split):
            features = self.backbone(images.astype(self.dtype), train)
            features["image"] = images  # its size is where a decoder ends
            # Nothing behind the head sees half precision.
            logits = self.head(features, train)
            scores = logits if isinstance(logits, dict) else {"logits": logits}
            if self.aux is not None:
                scores["aux"] = self.aux(features, train)
            return {
                name: resize(score.astype(jnp.float32), size, self.align_corners)
                for name, score in scores.items()
            }
