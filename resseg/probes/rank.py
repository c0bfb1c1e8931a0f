"""The effective rank of features, and units that are never active (M18, M19).

The identity carries a shallow feature on, so a network can do without new directions:
how many it has is the effective rank (Roy & Vetterli 2007), the exponential of the
entropy of the normalised singular values, beside the participation ratio of their
squares.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.gradient_log.summary import column, where
from resseg.probes.calibration import settled
from resseg.probes.features import LOGITS, FeatureInfo, list_features, with_features
from resseg.probes.probe import Options, Probe, Rows, rows_from
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

SITES = 4096  # of a batch that enter the ranks, at most
_LABELS = 24  # blocks that are named in the figure, at most

COLUMNS = (
    Column("depth", "int64", "features", "order in which they are computed, 0 first"),
    Column(
        "feature", "str", "", "module path of what puts it out; relu<n> of a branch"
    ),
    Column("kind", "str", "", "stem, block, stage, activation or logits"),
    Column("channels", "int64", "channels", "of the feature: the largest rank"),
    Column("sites", "int64", "sites", "places, over all images, that enter the ranks"),
    Column("effective_rank", "float64", "channels", "exp of the entropy of s / sum(s)"),
    Column("participation", "float64", "channels", "(sum s^2)^2 / sum s^4"),
    Column("fraction", "float64", "1", "effective_rank / channels"),
    Column("dead", "float64", "1", "share of channels that are 0 at every site"),
    Column("inactive", "float64", "1", "share of all entries that are exactly 0"),
    Column("counted", "int64", "sites", "sites over which `dead` was counted: all"),
)


def measure(subject: Subject, options: Options) -> Rows:
    """Over `options.batches` training batches, as evaluation computes the features.

    Ranks are those of sites x channels, centred per channel, at up to 4096 sites of a
    batch that are drawn once; s are the singular values. Only what a ReLU puts out has
    entries of exactly 0: in pre-activation networks the blocks' sums have none.
    """
    batches = list(subject.batches(options.batches))
    variables = settled(subject, batches)
    features = list_features(subject.model, subject.image_shape)
    chosen = {f.name: _sites(f.shape, options.seed) for f in features}

    @jax.jit
    def of_batch(variables, images, chosen):
        outputs, features = with_features(
            subject.model.apply, variables, images, train=False
        )
        result = {}
        for name, x in (features | {LOGITS: outputs["logits"]}).items():
            rows = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
            result[name] = rows[chosen[name]], jnp.sum(rows == 0, axis=0)
        return result

    rows: dict[str, list[np.ndarray]] = {f.name: [] for f in features}
    zeros: dict[str, list[np.ndarray]] = {f.name: [] for f in features}
    with counting("features", len(batches)) as done:
        for batch in batches:
            measured = jax.device_get(of_batch(variables, batch["image"], chosen))
            for name, (part, zero) in measured.items():
                rows[name].append(part)
                zeros[name].append(zero)
            done(1)
    records = []
    for depth, feature in enumerate(features):
        values = np.concatenate(rows[feature.name])
        zero = np.asarray(sum(zeros[feature.name]), np.int64)
        records.append(_record(depth, feature, values, zero, len(batches)))
    return rows_from(records, COLUMNS)


def _sites(shape: tuple[int, ...], seed: int) -> np.ndarray:
    count = int(np.prod(shape[:-1]))
    places = np.random.default_rng(seed).permutation(count)[:SITES]
    return np.sort(places)


def _record(
    depth: int, feature: FeatureInfo, values: np.ndarray, zero: np.ndarray, batches: int
) -> dict:
    singular = singular_values(values)
    channels = feature.shape[-1]
    counted = batches * int(np.prod(feature.shape[:-1]))
    rank = effective_rank(singular)
    return {
        "depth": depth,
        "feature": feature.name,
        "kind": feature.kind,
        "channels": channels,
        "sites": len(values),
        "effective_rank": rank,
        "participation": participation_ratio(singular),
        "fraction": rank / channels,
        "dead": np.mean(zero == counted),
        "inactive": np.mean(zero) / counted,
        "counted": counted,
    }


def singular_values(rows: np.ndarray) -> np.ndarray:
    """Of `[sites, channels]`, centred per channel; float64, `[channels]` or fewer."""
    rows = np.asarray(rows, np.float64)
    return np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)


def effective_rank(singular: np.ndarray) -> float:
    """exp(H(s / sum s)) (Roy & Vetterli 2007, definition 2); 0 where all are 0."""
    total = np.sum(singular)
    if not total > 0:
        return 0.0
    share = singular[singular > 0] / total
    return float(np.exp(-np.sum(share * np.log(share))))


def participation_ratio(singular: np.ndarray) -> float:
    """(sum s^2)^2 / sum s^4; 0 where all are 0."""
    power = np.square(singular)
    fourth = np.sum(np.square(power))
    return float(np.sum(power) ** 2 / fourth) if fourth > 0 else 0.0


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Rank over channels along the depth; dead and inactive units below."""
    top, bottom = figure.subplots(2, 1, sharex=True)
    kind = column(table, "kind")
    sums = where(table, kind == "block")
    relus = where(table, kind == "activation")
    top.plot(sums["depth"], sums["effective_rank"], "-o", label="effective rank")
    top.plot(sums["depth"], sums["participation"], "--s", label="participation ratio")
    top.plot(sums["depth"], sums["channels"], ":", color="black", label="channels")
    top.set_yscale("log")
    top.set_ylabel("rank of block outputs")
    top.legend(fontsize="small")
    bottom.plot(sums["depth"], sums["inactive"], "-o", label="block output, zeros")
    bottom.plot(relus["depth"], relus["inactive"], "^", label="in the branch, zeros")
    both = where(table, np.isin(kind, ("block", "activation")))
    bottom.plot(both["depth"], both["dead"], "x", color="black", label="dead channels")
    bottom.set_ylabel("share")
    bottom.set_ylim(-0.05, 1.05)
    bottom.legend(fontsize="small", ncols=3)
    names = [str(name).removeprefix("backbone/") for name in sums["feature"]]
    step = -(-len(sums) // _LABELS)
    bottom.set_xticks(
        column(sums, "depth")[::step],
        names[::step],
        rotation=45,
        ha="right",
        fontsize="x-small",
    )


def conclude(table: pd.DataFrame) -> list[str]:
    """Rank of the deepest block, and whether channels are dead."""
    encoder = [str(name).startswith("backbone") for name in table["feature"]]
    blocks = where(table, (column(table, "kind") == "block") & np.asarray(encoder))
    sentences = [
        f"{column(blocks, 'feature')[-1]} uses "
        f"{column(blocks, 'effective_rank')[-1]:.1f} of its "
        f"{column(blocks, 'channels')[-1]} channels (effective rank)"
    ]
    dead = column(table, "dead")
    if dead.any():
        most = dead.argmax()
        sentences.append(
            f"most dead channels: {column(table, 'feature')[most]}, {dead[most]:.1%} "
            f"over {column(table, 'counted')[most]} sites"
        )
    return sentences


PROBE = Probe(
    "effective rank of features, dead units (M18, M19)",
    COLUMNS,
    (
        "feature",
        "channels",
        "sites",
        "effective_rank",
        "participation",
        "dead",
        "inactive",
    ),
    measure,
    draw,
    conclude,
)
