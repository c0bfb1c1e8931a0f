"""PSPNet (Zhao 2017): what regions of four sizes hold, beside every pixel."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork
from resseg.gradients.names import CLASSIFIER, FORK
from resseg.models.heads.fcn import deepest
from resseg.models.layers import Classifier, ConvNormAct
from resseg.models.pooling import adaptive_average_pool
from resseg.models.resizing import resize_whole, size_of

POOLS = (1, 2, 3, 6)  # regions along a side of the image (Zhao 2017, section 3.2)
BRANCHES = (*(f"pool{size}" for size in POOLS), "identity")


class PoolingPyramid(nn.Module):
    """Means of regions, a 1x1 convolution of each grid, enlarged, beside the feature.

    It is a fork with one path per branch.

    Attributes:
        width: channels of each grid.
        gradients: backward factor per branch; () = all 1.
        normalizes_all: also the mean of the image, one value per channel and image,
            which otherwise gets a bias.
        feature_first: the feature's channels stand in front of the others.
    """

    width: int
    gradients: tuple[float, ...] = ()
    norm: str = "batch"
    dtype: Any = jnp.float32
    align_corners: bool = False
    normalizes_all: bool = False
    feature_first: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        fork = Fork("pyramid", BRANCHES, self.gradients, name=FORK)
        *to_pools, identity = fork(x)
        pooled = []
        for size, to_pool in zip(POOLS, to_pools, strict=True):
            norm = self.norm if size > 1 or self.normalizes_all else "none"
            layer = ConvNormAct(
                self.width, 1, norm=norm, dtype=self.dtype, name=f"pool{size}"
            )
            grid = layer(adaptive_average_pool(to_pool, size), train)
            pooled.append(resize_whole(grid, size_of(x), self.align_corners))
        branches = [identity, *pooled] if self.feature_first else [*pooled, identity]
        return jnp.concatenate(branches, axis=-1)


class PSPNet(nn.Module):
    """The pooling pyramid, a 1x1 convolution, classifier.

    The layout is that of segmentation_models.pytorch. Its auxiliary loss on stage 3
    (Zhao 2017, figure 4) is `model.aux`.

    Attributes:
        width: channels behind the pyramid.
        branch_gradients: backward factor per branch, those of the pools first.
        dropout: of channels, in front of the classifier.
    """

    num_classes: int
    width: int
    branch_gradients: tuple[float, ...] = ()
    dropout: float = 0.0
    norm: str = "batch"
    dtype: Any = jnp.float32
    align_corners: bool = False

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        x = features[deepest(features)]
        pyramid = PoolingPyramid(
            max(x.shape[-1] // len(POOLS), 1),
            self.branch_gradients,
            self.norm,
            self.dtype,
            self.align_corners,
            name="pyramid",
        )
        x = pyramid(x, train)
        project = ConvNormAct(
            self.width, 1, norm=self.norm, dtype=self.dtype, name="project"
        )
        scores = Classifier(
            self.num_classes,
            self.dropout,
            self.dtype,
            kernel=3,
            drops_channels=True,
            name=CLASSIFIER,
        )
        return scores(project(x, train), train)
