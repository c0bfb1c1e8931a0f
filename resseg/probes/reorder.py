"""What the network scores with its blocks in another order (M14).

Veit 2016 (figure 5b): blocks of equal shape are exchanged, and the error grows smoothly
as Kendall's tau between the old order and the new falls from 1. Blocks move within
their stage, with parameters, statistics and coefficients.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.errors import UserError
from resseg.gradient_log.summary import column
from resseg.probes.calibration import make_reestimate
from resseg.probes.features import list_features
from resseg.probes.lesion import means
from resseg.probes.probe import Options, Probe, Rows, rows_from
from resseg.probes.scoring import SCORE_COLUMNS, Scorer, score_records
from resseg.probes.subject import Subject
from resseg.probes.surgery import interchangeable, pairs, reordered, scrambled
from resseg.runs.tables import Column

COLUMNS = (
    Column("order", "int64", "", "number of the order; 0 is that of the network"),
    Column("tau", "float64", "1", "Kendall's tau to it, over pairs within a stage"),
    Column("inversions", "int64", "pairs", "pairs of blocks that are turned around"),
    Column("places", "str", "", "per stage: numbers of the blocks in their new order"),
    *SCORE_COLUMNS,
)


def measure(subject: Subject, options: Options) -> Rows:
    """`options.samples` orders, evenly spread from one inversion to all of them.

    With `options.reestimate` batch norms collect their statistics anew after each
    change, on `options.batches` training batches.

    Raises:
        UserError: no two blocks can take each other's place.
    """
    shapes = {
        f.name: f.shape for f in list_features(subject.model, subject.image_shape)
    }
    groups = interchangeable(subject.variables, subject.forks, shapes)
    if not groups:
        raise UserError(
            "--what reorder: no stage of the network has two blocks of equal shape; "
            "expected a config.model.backbone.depth of 18 or more"
        )
    orders = random_orders([len(g) for g in groups], options.samples, options.seed)
    scorer = Scorer(subject, options.images)
    reestimate = make_reestimate(subject.model)
    batches = list(subject.batches(options.batches)) if options.reestimate else []
    records, intact = [], None
    with counting("orders", len(orders)) as done:
        for number, (inversions, order) in enumerate(orders):
            variables = reordered(subject.variables, _contents(groups, order))
            if options.reestimate:
                variables = reestimate(variables, batches)
            score = scorer(variables)
            intact = intact or score
            about = {
                "order": number,
                "tau": 1 - 2 * inversions / pairs(map(len, groups)),
                "inversions": inversions,
                "places": "; ".join(map(_text, groups, order)),
            }
            scored = score_records(score, intact, subject.spec.classes)
            records += [about | record for record in scored]
            done(1)
    return rows_from(records, COLUMNS)


def random_orders(
    sizes: list[int], count: int, seed: int
) -> list[tuple[int, list[list[int]]]]:
    """The order as it is, then up to `count` others, each with its inversions."""
    random = np.random.default_rng(seed)
    orders = [(0, scrambled(sizes, 0, random))]
    for wanted in np.linspace(1, pairs(sizes), count).round().astype(int):
        order = int(wanted), scrambled(sizes, int(wanted), random)
        if order not in orders:
            orders.append(order)
    return orders


def _contents(groups: list[tuple[str, ...]], order: list[list[int]]) -> dict[str, str]:
    return {
        place: group[source]
        for group, places in zip(groups, order, strict=True)
        for place, source in zip(group, places, strict=True)
    }


def _text(group: tuple[str, ...], order: list[int]) -> str:
    """ "backbone/stage3: 2 4 3": the digits are those of the blocks' names."""
    stage = group[0].rsplit("/", 1)[0]
    numbers = [group[i].rsplit("/", 1)[1].removeprefix("block") for i in order]
    return f"{stage}: {' '.join(numbers)}"


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Mean IoU and loss over Kendall's tau."""
    rows = means(table).sort_values("tau", ascending=False)
    left, right = figure.subplots(1, 2)
    for axes, name, text in ((left, "iou", "mean IoU"), (right, "loss", "loss")):
        axes.plot(rows["tau"], rows[name], "-o", label="new order")
        as_trained = column(rows, name)[column(rows, "order") == 0][0]
        axes.axhline(as_trained, color="black", linestyle="--", label="as it is")
        axes.set_xlim(1.08, -1.08)
        axes.set_xlabel("Kendall's tau to the order of the network")
        axes.set_ylabel(text)
        axes.legend(fontsize="small")
    left.set_ylim(0, 1.05 * max(column(rows, "iou").max(), 1e-3))


def conclude(table: pd.DataFrame) -> list[str]:
    """The score as it is, and with the order most turned around."""
    rows = means(table)
    tau, iou = column(rows, "tau"), column(rows, "iou")
    return [
        f"mean IoU {iou[0]:.4f} as it is, {iou[tau.argmin()]:.4f} at tau "
        f"{tau.min():.2f}"
    ]


PROBE = Probe(
    "mIoU and loss with equal blocks of a stage exchanged (M14)",
    COLUMNS,
    ("order", "tau", "places", "iou", "iou_change", "loss", "loss_change"),
    measure,
    draw,
    conclude,
    short=means,
)
