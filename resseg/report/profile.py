"""What the end of a gradient log says about each path, for tables and sentences."""

import numpy as np
import pandas as pd

KINDS = {
    "block": "Residual blocks",
    "long_skip": "Long skips",
    "pyramid": "Pyramid",
    "auxiliary": "Auxiliary heads",
}
USED = (  # the columns of the log that the report reads
    *("step", "depth", "fork", "kind", "path", "site", "share", "cosine"),
    *("total_l2", "nonfinite", "numel", "loss_pixels"),
)


def last_steps(gradients: pd.DataFrame, count: int) -> pd.DataFrame:
    """The rows of the last `count` logged steps."""
    steps = np.unique(gradients["step"].to_numpy())[-count:]
    return gradients[gradients["step"] >= steps[0]]


def summarise(gradients: pd.DataFrame) -> pd.DataFrame:
    """One row per fork and path, in depth order.

    Columns: depth, fork, kind, path; `site`, `total_site` (of the sum of the paths):
    geometric mean over the steps where it is finite and not 0, else 0 or NaN; `share`,
    `cosine`: mean where defined; `nonfinite`: entries in all steps; `dead_steps`,
    `nonfinite_steps`, `steps`: how many steps had a gradient of exactly 0, one that is
    not finite, and how many there are.
    """
    rows = []
    keys = ["depth", "fork", "kind", "path"]
    for key, group in gradients.groupby(keys, sort=False, observed=True):
        site = group["site"].to_numpy()
        total = group["total_l2"] / np.sqrt(group["numel"]) * group["loss_pixels"]
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "site": geometric_mean(site),
                "total_site": geometric_mean(total.to_numpy()),
                "share": _mean(group["share"]),
                "cosine": _mean(group["cosine"]),
                "nonfinite": int(group["nonfinite"].sum()),
                "dead_steps": int((site == 0).sum()),
                "nonfinite_steps": int((~np.isfinite(site)).sum()),
                "steps": len(site),
            }
        )
    return pd.DataFrame(rows).sort_values("depth", kind="stable", ignore_index=True)


def geometric_mean(values: np.ndarray) -> float:
    """Over finite positive values; 0 where all finite ones are 0, NaN if none is."""
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    if positive.size:
        return float(np.exp(np.log(positive).mean()))
    return 0.0 if finite.size else float("nan")


def note(row: pd.Series) -> str:
    """What is wrong with a path, in words; "" if nothing is."""
    path, steps = row["path"], row["steps"]
    if row["nonfinite_steps"] == steps:
        return f"{path} not finite"
    if row["nonfinite_steps"]:
        return f"{path} not finite in {row['nonfinite_steps']} of {steps} steps"
    if row["dead_steps"] == steps:
        return f"{path} dead"
    if row["dead_steps"]:
        return f"{path} 0 in {row['dead_steps']} of {steps} steps"
    return ""


def first_to_last(summary: pd.DataFrame) -> str | None:
    """How much gradient (site norm) the first residual block receives, in words."""
    blocks = summary[summary["kind"] == "block"].groupby("depth")["total_site"].max()
    names = summary.drop_duplicates("depth").set_index("depth")["fork"]
    if len(blocks) < 2:
        return None
    first, last = blocks.iloc[0], blocks.iloc[-1]
    shallow, deep = names[blocks.index[0]], names[blocks.index[-1]]
    if not last > 0:
        return f"The last block, {deep}, receives no finite gradient to compare with."
    ratio = f"{first / last:.3g}x the gradient" if first >= 0 else "no finite gradient"
    return f"The first block, {shallow}, receives {ratio} of the last, {deep}."


def first_trouble(gradients: pd.DataFrame) -> str | None:
    """Where a non-finite gradient appeared first, in a sentence."""
    bad = gradients[(gradients["nonfinite"] > 0) | ~np.isfinite(gradients["site"])]
    if bad.empty:
        return None
    # Backward, the deepest fork comes first.
    row = bad[bad["step"] == bad["step"].iloc[0]].iloc[-1]
    count = bad["step"].nunique()
    return (
        f"Not finite in {count} logged step{'s' if count > 1 else ''}; first at step "
        f"{row['step']}, deepest in {row['fork']} ({row['path']})."
    )


def _mean(values: pd.Series) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
