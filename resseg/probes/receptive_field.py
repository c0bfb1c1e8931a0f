"""The effective receptive field of the stages and of the logits (M17).

Luo 2016: not every pixel in reach of a unit moves it. The field of a convolutional
network is close to a Gaussian, whose width grows with the root of the depth; shortcuts
shrink it, dilation and training enlarge it.
"""

import functools

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.gradient_log.summary import column, where
from resseg.gradients.analysis.effective_field import centre_field, coarse, extent
from resseg.probes.calibration import settled
from resseg.probes.features import LOGITS, FeatureInfo, list_features, with_features
from resseg.probes.probe import Options, Probe, Rows
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

KINDS = ("stem", "stage", LOGITS)
_CELLS = 64  # of the stored field along each axis, at most
_PANELS = 4  # in a row of the figure, at most

COLUMNS = (
    Column("feature", "str", "", "module path of what puts it out, or logits"),
    Column("stride", "float64", "pixels", "rows of the image per row of the feature"),
    Column("radius", "float64", "pixels", "rms distance to the field's centre of mass"),
    Column("std_y", "float64", "pixels", "standard deviation of the field along rows"),
    Column("std_x", "float64", "pixels", "the same along columns"),
    Column("area", "int64", "pixels", "with more than 4.55 % of the largest e"),
    Column("area_fraction", "float64", "1", "area / pixels of the image"),
    Column("y", "float64", "pixels", "row of the centre of a cell of the field"),
    Column("x", "float64", "pixels", "its column"),
    Column("share", "float64", "1", "of the cell in the sum of e over the image"),
)


def measure(subject: Subject, options: Options) -> Rows:
    """Fields of the centre units, over `options.batches` training batches.

    Each image draws its own signs for the channels. Norms use fixed statistics, or
    every pixel of every image would be in every field. The field is stored in cells of
    pixels, so that its rows stay few; the other columns repeat along them.
    """
    batches = list(subject.batches(options.batches))
    variables = settled(subject, batches)
    features = [
        feature
        for feature in list_features(subject.model, subject.image_shape)
        if feature.kind in KINDS
    ]
    rows: dict[str, list] = {column.name: [] for column in COLUMNS}
    with counting("receptive fields", len(features) * len(batches)) as done:
        for feature in features:
            field = np.zeros(subject.image_shape[1:3])
            of_batch = jax.jit(functools.partial(_field, subject, feature.name))
            for number, batch in enumerate(batches):
                key = jax.random.fold_in(jax.random.key(options.seed), number)
                shape = (len(batch["image"]), feature.shape[-1])
                signs = jax.random.rademacher(key, shape, np.float32)
                field += np.asarray(of_batch(variables, batch["image"], signs))
                done(1)
            for name, values in _columns(feature, field).items():
                rows[name] += values
    return rows


def _field(subject: Subject, name: str, variables, images, signs) -> jax.Array:
    def feature(images):
        outputs, features = with_features(
            subject.model.apply, variables, images, train=False
        )
        return (features | {LOGITS: outputs["logits"]})[name]

    return centre_field(feature, images, signs)


def _columns(feature: FeatureInfo, field: np.ndarray) -> dict[str, list]:
    measured = extent(field)
    sums, y, x = coarse(field, _CELLS)
    same = {
        "feature": feature.name,
        "stride": field.shape[0] / feature.shape[1],
        "radius": measured.radius,
        "std_y": measured.std_y,
        "std_x": measured.std_x,
        "area": measured.area,
        "area_fraction": measured.area / field.size,
    }
    total = field.sum()
    return {name: [value] * sums.size for name, value in same.items()} | {
        "y": np.repeat(y, len(x)).tolist(),
        "x": np.tile(x, len(y)).tolist(),
        "share": (sums / total if total > 0 else sums).ravel().tolist(),
    }


def fields(table: pd.DataFrame) -> pd.DataFrame:
    """One row per feature."""
    return table.drop_duplicates("feature")


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """The fields, each over its own maximum; roots, so that the skirts are seen."""
    rows = fields(table)
    lines = -(-len(rows) // _PANELS)
    columns = -(-len(rows) // lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    used = list(panels.flat[: len(rows)])
    image = None
    for axes, name, radius in zip(used, rows["feature"], rows["radius"], strict=True):
        cells = where(table, column(table, "feature") == name)
        grid = cells.pivot(index="y", columns="x", values="share")
        picture = np.sqrt(grid.to_numpy() / max(grid.to_numpy().max(), 1e-300))
        height, width = (2 * axis.to_numpy().mean() + 1 for axis in grid.axes)
        image = axes.imshow(
            picture, cmap="cividis", vmin=0, vmax=1, extent=(0, width, height, 0)
        )
        title = f"{str(name).removeprefix('backbone/')}: radius {radius:.1f}"
        axes.set_title(title, fontsize="medium")
    for axes in panels.flat[len(rows) :]:
        axes.remove()
    figure.supxlabel("pixels", fontsize="medium")
    figure.supylabel("pixels", fontsize="medium")
    if image is not None:
        figure.colorbar(image, ax=used, label="|gradient| / its maximum", shrink=0.7)


def conclude(table: pd.DataFrame) -> list[str]:
    """How far the deepest stage and the logits listen."""
    rows = fields(table)
    stages = ["stage" in str(name) for name in rows["feature"]]
    deepest = column(rows, "radius")[np.asarray(stages)][-1]
    return [
        f"radius of the deepest stage {deepest:.3g} pixels, of the logits "
        f"{column(rows, 'radius')[-1]:.3g}, which listen to "
        f"{column(rows, 'area_fraction')[-1]:.1%} of the image"
    ]


PROBE = Probe(
    "effective receptive field of stages and logits (M17)",
    COLUMNS,
    ("feature", "stride", "radius", "std_y", "std_x", "area", "area_fraction"),
    measure,
    draw,
    conclude,
    short=fields,
)
