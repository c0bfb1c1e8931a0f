"""The answer of this study, from the run folders of its sweep.

python experiments/shortcut_gradient/analyse.py SWEEP_DIR

Writes results.csv, one row per run, and figure.png beside this file; prints the table
that stands in README.md.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from resseg.errors import UserError
from resseg.figures import new_figure, save, style
from resseg.sweeps.plan import Plan, read_plan
from resseg.sweeps.table.cells import difference, score
from resseg.sweeps.table.table import load_table

HERE = Path(__file__).parent
METRICS = ("train_loss", "mean_iou", "log10_first_over_last", "shortcut_share")
GROUP = ("data.name", "optim.name")
FORWARD = "forward 0.8"


def arm(values: Mapping[str, Any]) -> str:
    """What is done to the shortcuts."""
    forward = values["model.shortcut.scale"] != 1
    return FORWARD if forward else f"alpha {values['model.gradient.shortcut']:g}"


def results(sweep: Plan) -> pd.DataFrame:
    """One row per run.

    Raises:
        UserError: runs are not finished.
    """
    table = load_table(sweep, also=METRICS)
    if table.unfinished:
        done = sum(row.finished for row in table.rows)
        raise UserError(
            f"{sweep.folder}: {done} of {len(table.runs)} runs are finished: "
            f"resseg sweep {HERE.name} --workdir {sweep.folder} goes on"
        )
    runs = table.runs
    return pd.DataFrame(
        {
            "data": runs["data.name"],
            "optimizer": runs["optim.name"],
            "arm": [arm(run) for run in runs.to_dict("records")],
            "seed": runs["seed"],
            **{name: runs[name] for name in METRICS},
        }
    )


def summary(sweep: Plan) -> str:
    """Markdown: means over seeds, paired differences to alpha = 1."""
    text = [
        "| data | optimizer | arm | training loss | minus alpha 1 | mIoU "
        "| minus alpha 1 | log10 g first / last | shortcut share |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    tables = [load_table(sweep, metric, by=GROUP) for metric in METRICS]
    loss, iou, ratio, share = ({row.name: row for row in t.rows} for t in tables)
    for name, row in loss.items():
        cells = [*(row.values[key] for key in GROUP), arm(row.values)]
        for compared in (row, iou[name]):
            cells += [score(compared.score), difference(compared)]
        cells += [f"{ratio[name].score.mean:+.2f}", f"{share[name].score.mean:.2f}"]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def draw(results: pd.DataFrame, file: Path) -> None:
    """Loss and mIoU against alpha, every seed a thin line; the forward arm beside."""
    figure = new_figure(9, 6)
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
    axes[0, 0].set_ylabel("training loss,\n5 logged batches")
    axes[1, 0].set_ylabel("validation mIoU")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8)
    save(figure, file, dpi=120)


def main(folder: str) -> None:
    sweep = read_plan(folder)
    table = results(sweep)
    table.round(5).to_csv(HERE / "results.csv", index=False)
    draw(table, HERE / "figure.png")
    print(summary(sweep))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (UserError, IndexError) as error:
        sys.exit(f"analyse.py: {error or 'expected SWEEP_DIR'}")
