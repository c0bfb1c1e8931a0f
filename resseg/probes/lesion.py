"""What the network scores without some of its branches (M14).

Veit 2016 (figures 3, 5a): a residual network loses little without one block, except
where a stage begins, and its error grows smoothly with the number of blocks removed; a
plain network is at chance after one. A block is removed by W_r = 0: only its shortcut
is left.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.gradient_log.summary import column, where
from resseg.probes.calibration import make_reestimate
from resseg.probes.features import list_features
from resseg.probes.probe import Options, Probe, Rows, rows_from
from resseg.probes.scoring import MEAN, SCORE_COLUMNS, Scorer, score_records
from resseg.probes.subject import Subject
from resseg.probes.surgery import without_branches
from resseg.runs.tables import Column

COLUMNS = (
    Column("lesion", "str", "", "intact; the block; or how many, and which draw"),
    Column("removed", "int64", "blocks", "number of blocks without their branch"),
    Column("draw", "int64", "", "number of the random draw; -1 = not drawn"),
    Column("depth", "int64", "blocks", "of a single block, 0 first; -1 otherwise"),
    Column("transition", "int64", "", "1: the single block changes the shape"),
    Column("blocks", "str", "", "module paths of the blocks removed"),
    *SCORE_COLUMNS,
)


def measure(subject: Subject, options: Options) -> Rows:
    """Every block alone, then `options.samples` random sets of 2, 4, 8, … blocks.

    With `options.reestimate` batch norms collect their statistics anew after each
    removal, on `options.batches` training batches.
    """
    shapes = {
        f.name: f.shape for f in list_features(subject.model, subject.image_shape)
    }
    blocks = [fork for fork in subject.forks if fork.kind == "block"]
    names = [fork.name for fork in blocks]
    lesions = [_lesion("intact", ())]
    for depth, fork in enumerate(blocks):
        transition = fork.shape != shapes[fork.name]
        lesions.append(_lesion(fork.name, (fork.name,), -1, depth, transition))
    lesions += random_lesions(names, options.samples, options.seed)

    scorer = Scorer(subject, options.images)
    reestimate = make_reestimate(subject.model)
    batches = list(subject.batches(options.batches)) if options.reestimate else []
    records, intact = [], None
    with counting("lesions", len(lesions)) as done:
        for lesion in lesions:
            variables = without_branches(subject.variables, lesion["blocks"].split())
            if options.reestimate:
                variables = reestimate(variables, batches)
            score = scorer(variables)
            intact = intact or score
            scored = score_records(score, intact, subject.spec.classes)
            records += [lesion | record for record in scored]
            done(1)
    return rows_from(records, COLUMNS)


def random_lesions(names: list[str], draws: int, seed: int) -> list[dict]:
    """`draws` sets of each size 2, 4, 8, … below the number of blocks."""
    random = np.random.default_rng(seed)
    lesions, size = [], 2
    while size < len(names):
        for draw in range(draws):
            chosen = np.sort(random.choice(len(names), size, replace=False))
            text = f"{size} blocks, draw {draw}"
            lesions.append(_lesion(text, [names[i] for i in chosen], draw))
        size *= 2
    return lesions


def _lesion(text, blocks, draw=-1, depth=-1, transition=False) -> dict:
    return {
        "lesion": text,
        "removed": len(blocks),
        "draw": draw,
        "depth": depth,
        "transition": transition,
        "blocks": " ".join(blocks),
    }


def means(table: pd.DataFrame) -> pd.DataFrame:
    """One row per lesion: the mean over classes."""
    return where(table, column(table, "class") == MEAN)


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Mean IoU without each block, and over the number of blocks removed."""
    left, right = figure.subplots(1, 2, sharey=True)
    rows = means(table)
    removed, iou = column(rows, "removed"), column(rows, "iou")
    single = where(rows, column(rows, "depth") >= 0)
    changes = where(single, column(single, "transition") == 1)
    left.plot(single["depth"], single["iou"], "-o", label="one block removed")
    left.plot(
        changes["depth"], changes["iou"], "D", color="black", label="changes the shape"
    )
    left.set_xlabel("block, shallow to deep")
    left.set_ylabel("mean IoU")
    left.set_ylim(0, 1.05 * max(iou.max(), 1e-3))
    right.plot(removed, iou, "o", color="0.6", label="one lesion")
    sizes = np.unique(removed)
    medians = [np.median(iou[removed == size]) for size in sizes]
    right.plot(sizes, medians, "-s", label="median")
    right.set_xlabel("blocks removed")
    for axes in (left, right):
        axes.axhline(
            iou[removed == 0][0], color="black", linestyle="--", label="intact"
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize="small")


def conclude(table: pd.DataFrame) -> list[str]:
    """The block that matters most, and the median one."""
    rows = means(table)
    single = where(rows, column(rows, "depth") >= 0)
    if not len(single):
        return ["the network has no residual block"]
    iou = column(single, "iou")
    worst = column(single, "lesion")[iou.argmin()]
    return [
        f"mean IoU {column(rows, 'iou')[0]:.4f} intact, {np.median(iou):.4f} without "
        f"one block (median), {iou.min():.4f} without {worst}"
    ]


PROBE = Probe(
    "mIoU and loss without the branch of a block, of several (M14)",
    COLUMNS,
    ("lesion", "removed", "transition", "iou", "iou_change", "loss", "loss_change"),
    measure,
    draw,
    conclude,
    short=means,
)
