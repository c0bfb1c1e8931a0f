"""The blueprint of a network: everything static about what a config describes."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from resseg.architecture import DEPTHS, spell_out
from resseg.blueprint.description import Description, describe
from resseg.blueprint.drawing import Drawing
from resseg.blueprint.network import at_start, build_segmenter
from resseg.blueprint.outline import Outline, Placed
from resseg.blueprint.trace import Trace, trace, zeros
from resseg.config.coefficients import Schedule, constant
from resseg.gradients.fork import TAPS, ForkInfo
from resseg.models.network import SegmentationNetwork


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """A network and the one trace of it, which holds for all configs of its structure.

    Attributes:
        model: the network; its coefficients are those of the config it was made of.
        image_shape: `[1, height, width, 3]`, what was traced.
        num_classes: void not counted.
        title: head and backbone by their names.
        outline: what a training needs to know of its trace.
    """

    model: SegmentationNetwork
    image_shape: tuple[int, int, int, int]
    num_classes: int
    title: str
    outline: Outline

    @classmethod
    def of(
        cls,
        config: Any,
        num_classes: int,
        size: tuple[int, int] | None = None,
        outline: Outline | None = None,
    ) -> "Blueprint":
        """Traces the network of a config; computes nothing.

        Args:
            config: as `load_config` returns it.
            num_classes: void not counted.
            size: height and width of the image; None = `config.data.crop`.
            outline: known from an earlier trace, so that there is none before it is
                asked for more.
        """
        model, _ = _placed(config, num_classes)
        height, width = size or config.data.crop
        shape = (1, height, width, 3)
        title = title_of(config.model)
        if outline is not None:
            return cls(model, shape, num_classes, title, outline)
        traced = trace(model, shape)
        made = cls(model, shape, num_classes, title, Outline.of(traced))
        made.__dict__["trace"] = traced
        return made

    @functools.cached_property
    def trace(self) -> Trace:
        """What the network consists of."""
        return trace(self.model, self.image_shape)

    @property
    def variables(self) -> dict[str, Any]:
        """Shapes and dtypes of every collection."""
        return dict(self.outline.variables)

    @property
    def params(self) -> int:
        """Learned numbers; statistics and constant factors are none."""
        return self.outline.params

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions for one image."""
        return self.outline.macs

    @functools.cached_property
    def description(self) -> Description:
        """Part by part, with receptive fields."""
        return describe(self.trace, self.title, self.num_classes)

    def forks(self, batch: int) -> tuple[ForkInfo, ...]:
        """In the order the signal meets them, with the shapes of a batch."""
        return tuple(
            fork._replace(shape=(batch, *fork.shape[1:])) for fork in self.outline.forks
        )

    def zero_taps(self) -> Any:
        """The `taps` collection, on the host."""
        return zeros(self.variables[TAPS])

    def drawing(self) -> Callable[[jax.Array], dict[str, Any]]:
        """`key -> {"params", "batch_stats"}`; see `Trace.drawing`."""
        return self.trace.drawing()

    def draw(self, key: jax.Array) -> dict[str, Any]:
        """The collections that a key fills, on the host."""
        return Drawing.of(self.drawing(), key)(key)

    def lines(self, config: Any) -> dict[str, Any]:
        """For `TrainState.schedules`: float32 `[4]` per leaf of `paths`.

        Args:
            config: of the same structure; its coefficients may be others.
        """
        return self._each(config, lambda schedule: np.asarray(schedule, np.float32))

    def paths(self, config: Any) -> dict[str, Any]:
        """The `paths` collection at step 0; `config` as for `lines`."""
        return self._each(config, lambda schedule: np.float32(at_start(schedule)))

    def _each(self, config: Any, read: Callable[[Schedule], Any]) -> dict[str, Any]:
        _, schedules = _placed(config, self.num_classes)
        leaves = {}
        for path, value in self.outline.coefficients.items():
            # The way deeper at a long skip is 1 whatever a config says.
            placed = isinstance(value, Placed)
            leaves[path] = read(schedules[value.place] if placed else constant(value))
        return traverse_util.unflatten_dict(leaves)


def title_of(model: Any) -> str:
    """`unet on ResNet-34 (v1.5, width 64)`: what `config.model` describes."""
    plan, backbone = spell_out(model), model.backbone
    if backbone.layout:
        return f"{model.head.name} on {backbone.layout} (width {plan.width})"
    name = f"ResNet-{backbone.depth}"
    if (plan.stage_sizes, plan.block) != DEPTHS[backbone.depth]:
        name = f"ResNet of {plan.stage_sizes} {plan.block} blocks"
    return f"{model.head.name} on {name} ({backbone.variant}, width {plan.width})"


def _placed(
    config: Any, num_classes: int
) -> tuple[SegmentationNetwork, list[Schedule]]:
    """The network, and the schedules that the numbers in it point to."""
    met: list[Schedule] = []

    def pick(schedule: Schedule) -> Placed:
        met.append(schedule)
        return Placed.at(at_start(schedule), len(met) - 1)

    return build_segmenter(config.model, num_classes, pick), met
