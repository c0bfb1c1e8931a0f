"""The card of an export: what the model is, how well it does, how it is run."""

from collections.abc import Mapping
from typing import Any

from resseg import __version__
from resseg.config.keys import without_folders
from resseg.export.folder import FACTS, Images, Written
from resseg.export.formats import FORMATS
from resseg.export.network import CLASSES, INPUT, LOGITS, SINGLE, ExportedNetwork
from resseg.gradient_log.summary import USED, last_steps, summarise
from resseg.report.page import formatting
from resseg.report.run.facts import changed_from_base, config_value
from resseg.report.run.findings import checked
from resseg.report.run.flow import RECENT
from resseg.report.run.markdown import code, escape, table
from resseg.report.run.page import RunReport
from resseg.runs import layout, read_evaluations, read_json
from resseg.runs.dataset import fingerprint
from resseg.runs.environment import versions

_HEAD = """\
---
library_name: resseg
pipeline_tag: image-segmentation
license: # for you to say: what may these weights, and the data behind them, be used for
---"""
_SCORES = {  # key of an evaluation -> its name
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
    "mean_boundary_iou": "mean boundary IoU",
    "pixel_accuracy": "pixel accuracy",
}


def facts_of(
    one: RunReport,
    network: ExportedNetwork,
    written: Mapping[str, Written],
    images: Images,
) -> dict[str, Any]:
    """What the card says, for programs; ready for JSON."""
    trained, data = network.trained, network.dataset
    return {
        "resseg": __version__,
        "run": one.facts.name,
        "step": trained.step,
        "model": one.facts.model,
        "parameters": one.facts.params,
        "classes": list(trained.classes),
        "data": {**data, "fingerprint": fingerprint(data)},
        "scores": _evaluation(one, network),
        "temperature": trained.temperature,
        "calibration": network.calibration and network.calibration._asdict(),
        "input": {"name": INPUT, "shape": _shape(network), "dtype": "uint8"},
        "outputs": {CLASSES: "uint8", network.scores: "float32"},
        "dtype": SINGLE,
        "compared": {"images": images.source, "count": len(images.arrays)},
        "formats": {name: each.facts() for name, each in written.items()},
        "exported_with": versions(),
        "trained_with": one.facts.environment.get("packages", {}),
        "config": without_folders(trained.config),
    }


def card(
    one: RunReport,
    network: ExportedNetwork,
    written: Mapping[str, Written],
    images: Images,
) -> str:
    """The card, as Markdown."""
    parts = [
        _HEAD,
        f"# {escape(one.facts.name)}",
        f"{escape(one.facts.model)}, {_data(network)}. Weights of step "
        f"{network.trained.step:,}, {formatting.large(one.facts.params)} parameters"
        f"{_macs(one)}, exported by resseg {__version__}.",
        *_contract(network),
        *_running(network, written),
        *_compared(written, images),
        *_scores(one, network),
        *_gradients(one),
        *_config(network),
        *_versions(one),
    ]
    return "\n\n".join(parts) + "\n"


def _data(network: ExportedNetwork) -> str:
    data = network.dataset
    sizes = ", ".join(f"{n} {split}" for split, n in data.get("splits", {}).items())
    words = [f"trained on {code(data.get('name', 'an unknown data set'))}"]
    words += [f"({escape(sizes)} images)"] if sizes else []
    words += [f"fingerprint {code(fingerprint(data))}"] if data else []
    return " ".join(words)


def _macs(one: RunReport) -> str:
    if not one.facts.macs:
        return ""
    size = one.facts.macs_size
    return f", {formatting.large(one.facts.macs)} multiply-accumulates at {size}"


def _shape(network: ExportedNetwork) -> list[Any]:
    return ["batch", *(network.size or ("height", "width")), 3]


def _contract(network: ExportedNetwork) -> list[str]:
    trained = network.trained
    shape = ", ".join(map(str, _shape(network)))
    bits = network.dataset.get("bits")
    deep = (
        f" Images of {bits} bits are scaled to 8 first."
        if bits not in (None, 8)
        else ""
    )
    divided = "" if trained.temperature == 1 else f" over {trained.temperature:.6g}"
    scores = "softmax of the logits" + divided
    if network.scores == LOGITS:
        scores = f"logits{divided}; their softmax is the probabilities"
    rows = [
        [code(INPUT), "uint8", code(f"[{shape}]"), f"RGB, 0 to 255.{deep}"],
        [
            code(CLASSES),
            "uint8",
            code(f"[{shape[:-3]}]"),
            "index of the likeliest class",
        ],
        [
            code(network.scores),
            "float32",
            code(f"[{shape[:-1]}{len(trained.classes)}]"),
            scores,
        ],
    ]
    named = [[str(i), escape(name)] for i, name in enumerate(trained.classes)]
    return [
        "## In and out",
        table(["tensor", "type", "shape", ""], rows, text=4),
        "Inside: normalisation, padding on the right and below to a multiple of "
        f"{network.multiple}, the network in {SINGLE}, and the cut back to the size of "
        f"the image.{_half(network)}",
        table(["index", "class"], named, text=2),
    ]


def _half(network: ExportedNetwork) -> str:
    dtype = network.trained.config.model.dtype
    if dtype == SINGLE:
        return ""
    return f" The run itself computes in {dtype}, as its weights do once imported."


def _running(network: ExportedNetwork, written: Mapping[str, Written]) -> list[str]:
    parts = ["## Running it"]
    for name, each in written.items():
        parts.append(
            f"{code(each.file)} ({name}, {each.size / 1e6:.1f} MB): {each.contract}."
        )
        language = "sh" if name == "safetensors" else "python"
        parts.append(f"```{language}\n{FORMATS[name].snippet(network)}```")
    return parts


def _compared(written: Mapping[str, Written], images: Images) -> list[str]:
    rows = [
        [
            name,
            f"{each.difference.largest:.2g}",
            f"{each.difference.flips:,} of {each.difference.pixels:,}",
            f"{each.difference.widest:.2g}",
            f"{each.difference.tolerance:g}",
        ]
        for name, each in written.items()
    ]
    head = ["format", "largest difference of a probability", "pixels of another class"]
    return [
        "## Compared with the network it is of",
        f"On {formatting.plural(len(images.arrays), 'image')} of "
        f"{escape(images.source)}, beside `resseg predict`; {FACTS} has the same "
        "numbers.",
        table([*head, "largest margin of these", "tolerance"], rows),
    ]


def _evaluation(one: RunReport, network: ExportedNetwork) -> dict[str, Any]:
    """Scores of the checkpoint: of `resseg evaluate`, or else as the log has them.

    Those of `resseg evaluate` come with intervals, and with how many images they are
    of.
    """
    data, step = network.trained.config.data, network.trained.step
    stored = f"{data.name}-{data.eval_split}-{step}.json"
    file = one.run.path / layout.EVALUATIONS / stored
    if file.is_file():
        kept = ("scores", "intervals", "level", "images", "split")
        known = read_json(file)
        return {name: known[name] for name in kept if name in known}
    rows = [row for row in read_evaluations(one.run.path) if row["step"] == step]
    scores = (
        {key: rows[-1][key] for key in (*_SCORES, "iou") if key in rows[-1]}
        if rows
        else {}
    )
    return {"scores": scores, "split": data.eval_split} if rows else {}


def _scores(one: RunReport, network: ExportedNetwork) -> list[str]:
    found = _evaluation(one, network)
    if not found:
        return ["## Scores", "None: this checkpoint was not evaluated in training."]
    scores, known = found["scores"], found.get("intervals", {})
    means = [
        [name, formatting.score(scores[key]), _interval(known.get(key))]
        for key, name in _SCORES.items()
        if key in scores
    ]
    per_class = enumerate(zip(network.trained.classes, scores.get("iou", ())))  # noqa: B905
    classes = [
        [escape(name), formatting.score(value), _interval(known.get("iou"), at)]
        for at, (name, value) in per_class
    ]
    words = "one seed, without intervals (`resseg evaluate` finds them)"
    if known:
        words = (
            f"{found['images']:,} images, one seed; {found['level']:.0%} intervals are "
            "over images"
        )
    return [
        "## Scores",
        f"Of the split {code(found['split'])} at original image size; {words}.",
        table(["score", "", "interval"], means),
        table(["class", "IoU", "interval"], classes),
    ]


def _interval(known: Any, place: int | None = None) -> str:
    ends = known if known is None or place is None else known[place]
    if ends is None or None in ends:
        return formatting.NOTHING
    return " to ".join(map(formatting.score, ends))


def _gradients(one: RunReport) -> list[str]:
    parts = ["## Gradient health"]
    parts += [f"- {escape(each.text)}" for each in one.findings] or [checked(one.flow)]
    if one.flow is None:
        return parts
    rows = []
    recent = last_steps(one.run.read_gradients(list(USED)), RECENT)
    for fork in summarise(recent):
        shares = [
            f"{path.path} {formatting.percent(path.share)}" for path in fork.paths
        ]
        trouble = [path.trouble for path in fork.paths if path.trouble]
        rows.append(
            [
                code(fork.name),
                escape(", ".join(shares)),
                escape("; ".join(trouble) or "none"),
                formatting.number(fork.total_site),
            ]
        )
    return [
        *parts,
        f"What comes back at each fork, mean over the last {RECENT} logged steps:",
        table(["fork", "shares", "trouble", "site norm"], rows, text=3),
    ]


def _config(network: ExportedNetwork) -> list[str]:
    changed = changed_from_base(without_folders(network.trained.config))
    rows = [[code(key), code(config_value(here))] for key, (here, _) in changed.items()]
    head = "## Config, where it differs from the base config"
    return [head, table(["key", "value"], rows, text=2)]


def _versions(one: RunReport) -> list[str]:
    before, now = one.facts.environment.get("packages", {}), versions()
    names = [name for name in now if before.get(name) or now[name]]
    rows = [[name, before.get(name) or "-", now[name] or "-"] for name in names]
    return [
        "## Versions",
        table(["package", "trained with", "exported with"], rows, text=3),
    ]
