"""What is exported: bytes of an image in, classes and their scores out."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from resseg.architecture import padding_multiple
from resseg.blueprint.blueprint import Blueprint
from resseg.data.normalization import coefficients
from resseg.inference.trained import Trained
from resseg.models.ops.choice import Formulation, formulation
from resseg.runs.calibration import Calibration

PROBABILITIES, LOGITS = "probabilities", "logits"
SCORES = (PROBABILITIES, LOGITS)
SINGLE = "float32"
INPUT, CLASSES = "image", "classes"  # names of what goes in and comes out


@dataclasses.dataclass(frozen=True)
class ExportedNetwork:
    """A network with all that stands before and behind it.

    uint8 RGB `[batch, height, width, 3]` -> class indices, uint8 `[batch, height,
    width]`, and scores, float32 `[batch, height, width, classes]`. Images are
    normalised, padded on the right and below to a multiple of what the network halves,
    and results are cut to the image again. It computes in float32 whatever the run
    computed in, and is traced in its plain formulation, which has no calls into a
    library of one device.

    Attributes:
        trained: the network, its weights and their temperature.
        dataset: what it was trained on, see `resseg.runs.dataset`.
        calibration: of its temperature; None = nobody fitted one.
        scores: probabilities, or logits over the temperature, of which the softmax is
            the probabilities.
        size: height and width of the images; None = any.
    """

    trained: Trained
    dataset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    calibration: Calibration | None = None
    scores: str = PROBABILITIES
    size: tuple[int, int] | None = None

    @property
    def outputs(self) -> tuple[str, str]:
        """Names of the results."""
        return CLASSES, self.scores

    @property
    def multiple(self) -> int:
        """What height and width are padded to multiples of."""
        return padding_multiple(self.trained.config.model)

    @property
    def normalisation(self) -> tuple[np.ndarray, np.ndarray]:
        """What is subtracted from 0 to 255, and the factor then, `[3]` each."""
        data = self.trained.config.data
        return coefficients(data.mean, data.std)

    def padded(self, side: Any) -> Any:
        """Height or width of what the network sees of an image of that side."""
        return -(-side // self.multiple) * self.multiple

    def body_shape(self) -> tuple[Any, ...]:
        """Shape of what the network itself is given; symbols `b`, `p`, `q`.

        Height and width are `p` and `q` times the multiple: from these, and not from
        those of the image, it follows that features of two ways have one size.
        """
        if self.size is None:
            by = self.multiple
            return (*export.symbolic_shape(f"b, {by}*p, {by}*q"), 3)
        return (*export.symbolic_shape("b"), *map(self.padded, self.size), 3)

    def image_shape(self) -> tuple[Any, ...]:
        """Shape of the images, with symbols `batch`, `height` and `width`."""
        if self.size is None:
            return (*export.symbolic_shape("batch, height, width"), 3)
        return (*export.symbolic_shape("batch"), *self.size, 3)

    def body(self, images: jax.Array) -> jax.Array:
        """Normalised, padded images -> logits of the same height and width."""
        with formulation(Formulation.PLAIN):
            model: Any = self.in_single.model
            outputs = model.apply(self.trained.variables, images, train=False)
        return outputs["logits"]

    def normalised(self, images: jax.Array) -> jax.Array:
        """Bytes -> what `body` is given."""
        shift, factor = (each[None, None, None] for each in self.normalisation)
        x = (images.astype(jnp.float32) - shift) * factor
        sides = [(0, self.padded(side) - side) for side in images.shape[1:3]]
        return jnp.pad(x, ((0, 0), *sides, (0, 0)))

    def finished(
        self, logits: jax.Array, shape: tuple[Any, ...]
    ) -> tuple[jax.Array, jax.Array]:
        """What `body` returned -> the results for images of that shape."""
        batch, height, width, _ = shape
        size = batch, height, width, logits.shape[-1]
        logits = jax.lax.slice(logits, (0,) * 4, size)
        classes = jax.lax.argmax(logits, 3, jnp.int32).astype(jnp.uint8)
        logits = logits / self.trained.temperature
        if self.scores == LOGITS:
            return classes, logits
        return classes, jax.nn.softmax(logits)

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """All of it, for images of a known size."""
        return self.finished(self.body(self.normalised(images)), images.shape)

    @functools.cached_property
    def in_single(self) -> Trained:
        """The network in float32: itself, unless it is one of half precision."""
        trained = self.trained
        if trained.config.model.dtype == SINGLE:
            return trained
        config = trained.config.copy_and_resolve_references()
        config.model.dtype = SINGLE
        blueprint = Blueprint.of(config, len(trained.classes))
        return dataclasses.replace(trained, config=config, blueprint=blueprint)


def probabilities(scores: np.ndarray, kind: str) -> np.ndarray:
    """Of what an export put out, whatever kind of scores it is."""
    if kind == PROBABILITIES:
        return scores
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
