"""What `resseg evaluate` scored, where a run folder holds it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resseg.errors import UserError
from resseg.report.page import formatting
from resseg.report.page.markup import Cell, Html, join, table, tag
from resseg.report.run.samples import file_uri
from resseg.runs import layout, read_json

_SCORES = {
    "mean IoU": "mean_iou",
    "mean boundary IoU": "mean_boundary_iou",
    "pixel accuracy": "pixel_accuracy",
    "ECE": "ece",
    "NLL": "nll",
}
_LACKING = "Where there are no brackets there were fewer than 20 images."


class Evaluation(NamedTuple):
    """What is shown of one.

    Attributes:
        name: data set and split.
        words: how probabilities were made.
        images: how many.
        scores: with interval, by title; None where it was not scored.
        picture: reliability diagrams, or None.
    """

    name: str
    words: str
    images: int
    scores: dict[str, tuple[float | None, str] | None]
    picture: Path | None


def read_evaluations(folder: Path) -> list[Evaluation]:
    """Those in a run folder; a damaged one is left out."""
    found = []
    for path in sorted((folder / layout.EVALUATIONS).glob("*.json")):
        picture = path.with_suffix(".png")
        try:
            read = _read(read_json(path), picture if picture.is_file() else None)
        except (UserError, KeyError, TypeError, ValueError, AttributeError):
            continue
        found.append(read)
    return found


def section(evaluations: list[Evaluation]) -> Html:
    """A table of all, then their reliability diagrams."""
    titles = [
        title
        for title in _SCORES
        if any(each.scores[title] is not None for each in evaluations)
    ]
    rows = [
        [each.name, each.words, str(each.images), *(_cell(each, t) for t in titles)]
        for each in evaluations
    ]
    scores = table(
        "Scores, and 95 % intervals over images",
        ["split", "made of", "images", *titles],
        rows,
        text_columns=2,
    )
    return join([scores, tag("p", _LACKING, cls="soft"), *map(_figure, evaluations)])


def _figure(each: Evaluation) -> Html:
    if each.picture is None:
        return join([])
    words = f"Reliability diagrams of {each.name}, {each.words}"
    image = tag("img", src=file_uri(each.picture.read_bytes(), "png"), alt=words)
    return tag(
        "figure",
        image,
        tag(
            "figcaption",
            f"{words}: how often what has a probability of p is true, in all pixels, "
            "at boundaries and inside. Below the diagonal the network is too sure.",
        ),
        cls="probes",
    )


def _read(record: Mapping[str, Any], picture: Path | None) -> Evaluation:
    scores, intervals = record["scores"], record["intervals"]
    return Evaluation(
        f"{record['data']}/{record['split']}",
        str(record["words"]),
        int(record["images"]),
        {
            title: (scores[name], _ends(intervals.get(name)))
            if name in scores
            else None
            for title, name in _SCORES.items()
        },
        picture,
    )


def _ends(interval: list[float | None] | None) -> str:
    if interval is None or interval[0] is None:
        return ""
    low, high = (formatting.score(end) for end in interval)
    return f" [{low}, {high}]"


def _cell(each: Evaluation, title: str) -> Cell:
    value, ends = each.scores[title] or (None, "")
    return Cell(formatting.score(value) + ends, -1.0 if value is None else value)
