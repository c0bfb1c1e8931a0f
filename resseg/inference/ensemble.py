"""Class probabilities of images: the mean over networks and views of the image."""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from resseg import sharding
from resseg.architecture import padding_multiple
from resseg.blueprint.reach import reach
from resseg.data.planning import PlannedBatch, plan_batches
from resseg.inference import metrics, mosaic
from resseg.inference.averaging import Averaging, joined, stride_of
from resseg.inference.evaluator import Batch, compile_evaluation, run_ahead
from resseg.inference.samples import require_dropout, sampled
from resseg.inference.trained import Trained

_CPU_AREA = 512 * 512  # pixels of the tiles that a processor predicts at a time


class Ensemble:
    """Networks, and what of an image their class probabilities are the mean of.

    One network without scales, samples and tiles is evaluated by the very program that
    training evaluates it with.

    Attributes:
        members: the networks.
        averaging: what is averaged.
        mesh: its devices share the images of a batch, or the tiles.
        multiple: that sides of images are padded to; 1 with tiles.
    """

    def __init__(self, members: Sequence[Trained], averaging: Averaging, mesh: Mesh):
        """Compiles nothing yet.

        Args:
            members: networks of the same classes, which see images alike, as
                `members.load_members` loads them.
            averaging: what is averaged.
            mesh: whole images are split over all its devices.

        Raises:
            UserError: samples of a network in which nothing is dropped; tiles that the
                stride of the networks does not divide.
        """
        self.members, self.averaging, self.mesh = tuple(members), averaging, mesh
        strides = [padding_multiple(each.config.model) for each in members]
        self._stride = math.lcm(*strides)
        self.multiple = 1 if averaging.tile else self._stride
        self.classes = members[0].classes
        whole = sharding.replicated(mesh)
        self._variables = [sharding.put(each.variables, whole) for each in members]
        self._views: list[Any] = []
        for member in members:
            self._views.append(self._known_view(member) or self._view_of(member))
        self._finish = jax.jit(self._finished, static_argnums=(0, 1))
        if averaging.samples:
            for member in members:
                require_dropout(member)
        if averaging.tile:
            self.grid = self._make_grid()

    @property
    def words(self) -> str:
        """Whose weights these are and what is averaged, for people."""
        weights = list(dict.fromkeys(each.weights for each in self.members))
        count = len(self.members)
        networks = [f"{count} networks"] if count > 1 else []
        words = ", ".join(weights) + joined([*networks, *self.averaging.words()])
        if self.averaging.tile and self.grid.margin:
            words += f" ({self.grid.margin} pixels at their borders, which what lies "
            words += "outside may change, count nowhere)"
        return words

    @property
    def plain(self) -> bool:
        """Whether the program is that of training."""
        return self.averaging.plain and len(self.members) == 1

    def plan(self, sizes: Sequence[tuple[int, int]]) -> list[PlannedBatch]:
        """Batches of images of these heights and widths."""
        most = self.batch_size(self.members[0].config.data.eval_batch_size)
        return plan_batches(np.asarray(sizes), self.multiple, most)

    def batch_size(self, configured: int) -> int:
        """Images of a batch. What is drawn for an image depends on no other."""
        return 1 if self.averaging.samples else configured

    def run(
        self, batches: Iterable[Batch], probabilities: bool = False
    ) -> Iterator[tuple[Batch, tuple[np.ndarray, ...]]]:
        """Each batch with what `make_eval_step` says of it.

        Args:
            batches: as for `run_ahead`, padded to `multiple`.
            probabilities: adds a fourth result, the mean itself, float32 `[batch,
                height, width, classes]`.
        """
        if self.averaging.tile:
            for batch in batches:
                yield batch, self._of_tiles(batch, probabilities)
            return
        step = self._plain_step if self.plain else self._mean_step
        step = functools.partial(step, probabilities)
        yield from run_ahead(step, {}, batches, self.mesh)

    def mean(self, images: np.ndarray, numbers: Sequence[int] = (0,)) -> np.ndarray:
        """Class probabilities, float32 `[batch, height, width, classes]`.

        Args:
            images: float32 `[batch, height, width, 3]`, normalised, sides multiples of
                the networks' stride; as many as devices share evenly.
            numbers: of tiles, to draw other samples for each.
        """
        split = sharding.by_image(self.mesh)
        placed = sharding.put_batch({"image": images}, split)["image"]
        return np.asarray(self._sum(placed, numbers[0]) / self._passes)

    @functools.cached_property
    def _plain(self) -> Any:
        (member,) = self.members
        return compile_evaluation(
            member.model,
            len(self.classes),
            self.mesh,
            self.averaging.flip,
            member.temperature,
        )

    def _plain_step(self, wanted: bool, _: Any, batch: Any) -> tuple:
        results = self._plain(self._variables[0], batch)
        if not wanted:
            return results
        return *results, self._sum(batch["image"]) / self._passes

    def _mean_step(self, wanted: bool, _: Any, batch: Any) -> tuple:
        total = self._sum(batch["image"])
        return self._finish(self._passes, wanted, total, batch["label"])

    @property
    def _passes(self) -> int:
        return len(self.members) * self.averaging.passes

    def _sum(self, images: jax.Array, number: int = 0) -> jax.Array:
        """Of the softmaxes of all networks and views."""
        key = jax.random.fold_in(jax.random.key(self.averaging.seed), number)
        total = None
        for index, view in enumerate(self._views):
            for scale in self.averaging.scales:
                size = self._scaled(images.shape[1:3], scale)
                for sample in range(max(self.averaging.samples, 1)):
                    drawn = jax.random.fold_in(jax.random.fold_in(key, index), sample)
                    given = self._variables[index], images, drawn
                    found = view(size, *given, self.members[index].temperature)
                    total = found if total is None else total + found
        assert total is not None, "there are networks and scales"
        return total

    def _scaled(self, size: tuple[int, ...], scale: float) -> tuple[int, int]:
        """The multiple of the stride next to a scaled size."""
        height, width = (
            max(1, round(scale * side / self._stride)) * self._stride for side in size
        )
        return height, width

    def _known_view(self, member: Trained) -> Any:
        """That of a network of the same structure, so that it compiles once."""
        for view, other in zip(self._views, self.members, strict=False):
            if other.model == member.model:
                return view
        return None

    def _view_of(self, member: Trained) -> Any:
        """`(size, variables, images, key, temperature) -> softmaxes`, with `flip` a sum
        of two."""
        flip, samples = self.averaging.flip, self.averaging.samples

        def scores(variables: Any, images: jax.Array, key: jax.Array) -> jax.Array:
            if samples:
                return sampled(member.model, variables, images, {"dropout": key})
            outputs: Any = member.model.apply(variables, images, train=False)
            return outputs["logits"]

        def view(size, variables, images, key, temperature):
            full = images.shape[1:3]
            images = _resized(images, size)
            logits = [scores(variables, images, key)]
            if flip:
                mirrored = images[:, :, ::-1]
                logits.append(scores(variables, mirrored, key)[:, :, ::-1])
            return sum(
                jax.nn.softmax(_resized(each, full) / temperature) for each in logits
            )

        whole, split = sharding.replicated(self.mesh), sharding.by_image(self.mesh)
        return jax.jit(
            view,
            static_argnums=0,
            in_shardings=(whole, split, whole, whole),
            out_shardings=sharding.readable(split),
        )

    def _finished(self, passes, wanted, total, labels):
        mean = total / passes
        predictions = mean.argmax(-1)
        confusion = metrics.confusion_matrix(labels, predictions, len(self.classes))
        sure = jnp.rint(255 * mean.max(-1)).astype(jnp.uint8)
        results = predictions.astype(jnp.uint8), confusion, sure
        return (*results, mean) if wanted else results

    def _make_grid(self) -> mosaic.Grid:
        apart = stride_of(self.averaging, self._stride)
        side, blend = self.averaging.tile, self.averaging.blend
        reached = max(self._reach(each) for each in self.members)
        return mosaic.make_grid(side, apart, blend, self._stride, reached)

    def _reach(self, member: Trained) -> float:
        """Infinite where a tile is no part of the image: resized, or with its corners
        where those of the image are."""
        side, head = self.averaging.tile, member.config.model.head
        if self.averaging.scales != (1.0,) or head.align_corners:
            return math.inf
        return reach(member.model, member.variables, side, self._stride)

    @functools.cached_property
    def tile_batch(self) -> int:
        """Tiles that are predicted at a time; devices share them evenly.

        A processor is as fast with few, and features of many would fill its memory.
        """
        side, size = self.averaging.tile, self.mesh.size
        most = self.batch_size(self.members[0].config.data.eval_batch_size)
        if self.mesh.devices.flat[0].platform == "cpu":
            most = min(most, max(1, _CPU_AREA // side**2))
        (planned, *_) = plan_batches(np.full((1024, 2), side), self._stride, most)
        return -(-planned.images // size) * size

    def block(
        self, read: mosaic.Read, size: tuple[int, int], rows: slice, columns: slice
    ) -> np.ndarray:
        """Class probabilities of a block, float32 `[rows, columns, classes]`.

        Args:
            read: of the image, see `mosaic.Read`.
            size: its height and width.
            rows: of the block.
            columns: of the block.
        """
        return mosaic.probabilities(
            read, size, rows, columns, self.grid, self.mean, self.tile_batch
        )

    def _of_tiles(self, batch: Batch, wanted: bool) -> tuple[np.ndarray, ...]:
        shape = batch["label"].shape
        predictions, sure = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        mean = np.zeros((*shape, len(self.classes)) if wanted else 0, np.float32)
        for place in range(len(batch["name"])):
            image = batch["image"][place]
            read = functools.partial(_of_array, image)
            height, width = image.shape[:2]
            cut = mosaic.blocks(height, width, self.grid, len(self.classes))
            for rows, columns in cut:
                values = self.block(read, (height, width), rows, columns)
                predictions[place, rows, columns] = values.argmax(-1)
                sure[place, rows, columns] = np.rint(255 * values.max(-1))
                if wanted:
                    mean[place, rows, columns] = values
        labels = np.asarray(batch["label"])
        counted = metrics.confusion_matrix(labels, predictions, len(self.classes))
        results = predictions, counted, sure
        return (*results, mean) if wanted else results


def _of_array(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return image[np.ix_(rows, columns)]


def _resized(images: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Bilinear; what is made smaller is smoothed before."""
    if images.shape[1:3] == tuple(size):
        return images
    shape = (images.shape[0], *size, images.shape[-1])
    return jax.image.resize(images, shape, "bilinear")
