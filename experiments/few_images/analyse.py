"""The answer of this study, from the run folders of its sweep.

python -m experiments.few_images.analyse SWEEP_DIR

Scores every finished run on the images it was trained on, at their own size and
without augmentation; those of the others are in its log. Writes results.csv, one row
per run, and figure.png beside this file; prints the table that stands in README.md.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import resseg
from experiments.few_images.study import ARMS, KEYS
from resseg import sharding
from resseg.config.keys import flatten
from resseg.data.sources import dataset_spec
from resseg.errors import UserError
from resseg.figures import new_figure, save, style
from resseg.inference.evaluator import Evaluator
from resseg.inference.trained import load_trained

HERE = Path(__file__).parent
STEPS = 600


def arm_of(config: dict) -> str:
    """The arm whose keys a run has, the others at what the arm `none` leaves."""
    base = flatten(resseg.load_config(HERE / "config.py").to_dict())
    changed = {key: config[key] for key in KEYS if config[key] != base[key]}
    return next(name for name, keys in ARMS.items() if keys == changed)


def results(sweep: Path) -> pd.DataFrame:
    """One row per finished run: mIoU on both splits, and what lies between."""
    rows, mesh = [], sharding.make_mesh(1)
    for folder in sorted(sweep.iterdir()):
        if not (folder / "config.json").exists():
            continue
        run = resseg.open_run(folder)
        if STEPS not in run.steps:
            continue
        config, trained = run.config, load_trained(run)
        spec = dataset_spec(config.data)
        evaluate = Evaluator(config, trained.model, spec, mesh)
        scores = evaluate(trained.variables, "train")
        others = run.metrics.query("split == 'val'")["mean_iou"].iloc[-1]
        rows.append(
            {
                "arm": arm_of(flatten(config.to_dict())),
                "seed": config.seed,
                "train_iou": scores["mean_iou"],
                "val_iou": others,
                "gap": scores["mean_iou"] - others,
            }
        )
    if not rows:
        raise UserError(f"{sweep}: no run is finished")
    order = {name: place for place, name in enumerate(ARMS)}
    table = pd.DataFrame(rows)
    return table.sort_values(["seed", "arm"], key=lambda c: c.map(order).fillna(c))


def difference(table: pd.DataFrame, arm: str, metric: str) -> tuple[float, float, int]:
    """Mean of an arm minus `none` by seed, half of its 95 % interval, and pairs."""
    wide = table.pivot_table(values=metric, index="seed", columns="arm")
    pairs = (wide[arm] - wide["none"]).dropna().to_numpy()
    half = np.nan
    if len(pairs) > 1:
        half = (
            stats.t.ppf(0.975, len(pairs) - 1) * pairs.std(ddof=1) / len(pairs) ** 0.5
        )
    return float(pairs.mean()), float(half), len(pairs)


def summary(table: pd.DataFrame) -> str:
    """Markdown: means over seeds, and paired differences to `none`."""
    lines = [
        "| arm | mIoU, trained on | others | gap | others, minus none "
        "| gap, minus none |",
        "|---|---|---|---|---|---|",
    ]
    for arm in [name for name in ARMS if name in set(table["arm"])]:
        means = table[table["arm"] == arm][["train_iou", "val_iou", "gap"]].mean()
        cells = [arm, *(f"{value:.3f}" for value in means)]
        for metric in ("val_iou", "gap"):
            mean, half, _ = difference(table, arm, metric)
            cells.append("" if arm == "none" else f"{mean:+.3f} ± {half:.3f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(table: pd.DataFrame, file: Path) -> None:
    """Differences to `none`, every seed a dot: others' score, and the gap."""
    figure = new_figure(9, 5)
    axes = figure.subplots(1, 2, sharey=True)
    known = set(table["arm"]) - {"none"}
    arms = [name for name in ARMS if name in known][::-1]
    words = {"val_iou": "mIoU of other images, minus none", "gap": "gap, minus none"}
    for plot, (metric, label) in zip(axes, words.items(), strict=True):
        wide = table.pivot_table(values=metric, index="seed", columns="arm")
        for place, arm in enumerate(arms):
            pairs = (wide[arm] - wide["none"]).dropna()
            plot.plot(pairs, [place] * len(pairs), "o", color="0.7", markersize=4)
            mean, half, _ = difference(table, arm, metric)
            colour = style(0)["color"]
            plot.errorbar(mean, place, xerr=half, fmt="s", color=colour, capsize=3)
        plot.axvline(0, color="0.5", linewidth=0.8)
        plot.set_xlabel(label)
        plot.set_yticks(range(len(arms)), arms)
        plot.grid(alpha=0.3, axis="x")
    save(figure, file, dpi=120)


def main(folder: str) -> None:
    table = results(Path(folder))
    table.round(5).to_csv(HERE / "results.csv", index=False)
    draw(table, HERE / "figure.png")
    print(summary(table))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (UserError, IndexError) as error:
        sys.exit(f"analyse.py: {error or 'expected SWEEP_DIR'}")
