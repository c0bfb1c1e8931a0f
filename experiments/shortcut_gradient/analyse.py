"""The answer of this study, from the run folders of its sweep.

python experiments/shortcut_gradient/analyse.py SWEEP_DIR

Writes results.csv, one row per run, and figure.png beside this file; prints the table
that stands in README.md.
"""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resseg.errors import UserError
from resseg.report.curves import style
from resseg.report.timeline import timelines
from resseg.runs import open_run
from resseg.sweeps import local
from resseg.sweeps.study import Planned, load_study

HERE = Path(__file__).parent
ROWS = 5  # logged steps at the end over which the training loss is averaged
T95 = 2.776  # two-sided 95 % quantile of Student's t with 4 degrees of freedom
FORWARD = "forward 0.8"


def result(run: Planned, folder: Path) -> dict:
    """What one run says: loss, score, and its gradient at the last logged steps."""
    opened = open_run(folder)
    train = opened.metrics[opened.metrics["split"] == "train"].tail(ROWS)
    forward = "model.shortcut.scale" in run.overrides
    lines = [t for t in timelines(opened.gradients) if t.kind == "block"]
    first, last = lines[0].total[-ROWS:], lines[-1].total[-ROWS:]
    return {
        "data": run.overrides["data.name"],
        "optimizer": run.overrides["optim.name"],
        "arm": FORWARD
        if forward
        else f"alpha {run.overrides['model.gradient.shortcut']:g}",
        "seed": run.overrides["seed"],
        "train_loss": float(train["loss"].mean()),
        "mean_iou": local.evaluations(run, folder.parent)[-1]["mean_iou"],
        "log10_first_over_last": float(np.log10(first / last).mean()),
        "shortcut_share": float(np.mean([t.share[0][-ROWS:].mean() for t in lines])),
    }


def table(results: pd.DataFrame) -> str:
    """Markdown: mean and deviation over seeds, paired difference to alpha = 1."""
    text = [
        "| data | optimizer | arm | training loss | minus alpha 1 | mIoU "
        "| minus alpha 1 | log10 g first / last | shortcut share |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (data, optimizer), rows in results.groupby(["data", "optimizer"], sort=False):
        base = rows[rows["arm"] == "alpha 1"].set_index("seed")
        for arm, part in rows.groupby("arm", sort=False):
            part = part.set_index("seed")
            cells = [data, optimizer, arm]
            for name in ("train_loss", "mean_iou"):
                cells.append(f"{part[name].mean():.3f} ± {part[name].std():.3f}")
                cells.append(
                    "" if arm == "alpha 1" else paired(part[name] - base[name])
                )
            cells.append(f"{part['log10_first_over_last'].mean():+.2f}")
            cells.append(f"{part['shortcut_share'].mean():.2f}")
            text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def paired(differences: pd.Series) -> str:
    """Mean and its 95 % interval (Student, so 5 seeds)."""
    half = T95 * differences.std() / math.sqrt(len(differences))
    mean = differences.mean()
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def draw(results: pd.DataFrame, file: Path) -> None:
    """Loss and mIoU against alpha, every seed a thin line; the forward arm beside."""
    figure = Figure((9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    groups = list(results.groupby(["data", "optimizer"], sort=False))
    axes = figure.subplots(2, len(groups), sharex=True, squeeze=False)
    for column, ((data, optimizer), rows) in enumerate(groups):
        backward = rows[rows["arm"] != FORWARD].copy()
        backward["alpha"] = backward["arm"].str.removeprefix("alpha ").astype(float)
        forward = rows[rows["arm"] == FORWARD]
        for row, name in enumerate(("train_loss", "mean_iou")):
            plot = axes[row, column]
            for _, seed in backward.groupby("seed"):
                seed = seed.sort_values("alpha")
                plot.plot(seed["alpha"], seed[name], color="0.75", linewidth=0.8)
            mean = backward.groupby("alpha")[name].mean()
            plot.plot(mean.index, mean, **style(0), label="backward α, mean")
            plot.plot(
                [0.8] * len(forward),
                forward[name],
                "s",
                color=style(1)["color"],
                markersize=5,
                fillstyle="none",
                label="forward c = 0.8",
            )
            plot.grid(alpha=0.3)
        axes[0, column].set_title(f"{data}, {optimizer}", fontsize=10)
        axes[1, column].set_xlabel("α, factor on the\nshortcuts' cotangent")
    axes[0, 0].set_ylabel("training loss, last 50 steps")
    axes[1, 0].set_ylabel("validation mIoU")
    axes[0, -1].legend(fontsize=8)
    figure.savefig(file, dpi=120)


def main(sweep: Path) -> None:
    study = load_study(HERE)
    done = [run for run in study.runs if local.finished(run, sweep)]
    if len(done) < len(study.runs):
        raise UserError(
            f"{sweep}: {len(done)} of {len(study.runs)} runs are finished: "
            f"resseg sweep {HERE.name} --workdir {sweep} goes on"
        )
    results = pd.DataFrame([result(run, local.folder_of(run, sweep)) for run in done])
    results.round(5).to_csv(HERE / "results.csv", index=False)
    draw(results, HERE / "figure.png")
    print(table(results))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (UserError, IndexError) as error:
        sys.exit(f"analyse.py: {error or 'expected SWEEP_DIR'}")
