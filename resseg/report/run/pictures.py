"""Sample predictions as a section of a page."""

from typing import Any

from resseg.report.page import formatting
from resseg.report.page.document import csv_button
from resseg.report.page.markup import EMPTY, Html, join, tag
from resseg.report.run.samples import Predictions, colors

_SMALL = 280  # pixels; a panel is about as wide on a page
_PANELS = {
    "truth": "truth",
    "prediction": "prediction",
    "error": "errors",
    "confidence": "confidence",
}


def sample_section(predictions: Predictions, classes: tuple[str, ...]) -> Html:
    """Best, median and worst image; overlays of an older run; or nothing."""
    if predictions.samples:
        return _samples(predictions, classes)
    if not predictions.overlays:
        return EMPTY
    parts = [
        tag(
            "p",
            "This run recorded overlays alone, of images spread evenly over the split: "
            "image, truth, prediction, errors.",
        )
    ]
    for name, uri in predictions.overlays:
        alternative = f"Image, truth, prediction and errors of {name}"
        picture = tag("img", src=uri, alt=alternative, cls="overlay", loading="lazy")
        parts.append(tag("figure", picture, tag("figcaption", name)))
    return join(parts)


def _samples(predictions: Predictions, classes: tuple[str, ...]) -> Html:
    count = len(predictions.images)
    samples = predictions.samples
    seen = sorted({place for sample in samples for place in sample["present"]})
    palette = colors(len(classes))
    toggles = [
        tag(
            "button",
            tag("span", cls="swatch", style=f"background: {palette[place]}"),
            formatting.shorten(classes[place]),
            type="button",
            title=classes[place],
            data_class=place,
            aria_pressed="true",
        )
        for place in seen
        if place < len(classes)
    ]
    intro = (
        f"Of {formatting.plural(count, 'image')} of the {predictions.split} split, by "
        "the mean IoU of each image alone: the best, the worst, and the one next to "
        "the median (of at most 24 images spread evenly over the split). They show the "
        "range, not what is typical. "
    )
    controls = tag(
        "div",
        *toggles,
        cls="controls",
        role="group",
        aria_label="Classes that are painted",
    )
    frames = [_sample(*numbered, classes) for numbered in enumerate(samples)]
    return join(
        [
            tag("p", intro, csv_button("images", "the score of every image")),
            controls,
            *frames,
        ]
    )


def _sample(number: int, sample: dict[str, Any], classes: tuple[str, ...]) -> Html:
    wrong = None
    if sample["pixel_accuracy"] is not None:
        wrong = 1 - sample["pixel_accuracy"]
    # A small image is enlarged: its pixels are to be seen as they are.
    cls = "small" if sample["width"] < _SMALL else None
    alternative = f"Image {sample['name']}"
    picture = tag("img", src=sample["image"], alt=alternative, cls=cls)
    panels = [tag("figure", picture, tag("figcaption", "image"))]
    for name, label in _PANELS.items():
        if name == "confidence" and "confidence" not in sample:
            continue
        words = label
        if name == "error":
            words = f"errors, {formatting.percent(wrong)} of the pixels"
        if name == "confidence":
            words = "confidence: probability of the predicted class, black 0, white 1"
        canvas = tag(
            "canvas",
            width=sample["width"],
            height=sample["height"],
            data_panel=name,
            cls=cls,
            role="img",
            aria_label=f"{words} of {sample['name']}",
        )
        panels.append(tag("figure", canvas, tag("figcaption", words)))
    by_class = ", ".join(
        f"{formatting.shorten(classes[place])} {formatting.score(value)}"
        for place, value in enumerate(sample["iou"])
        if value is not None and place < len(classes)
    )
    return tag(
        "div",
        tag(
            "h3",
            f"{sample['role'].capitalize()}: {sample['name']}, mean IoU "
            f"{formatting.score(sample['mean_iou'])}",
        ),
        tag("p", f"IoU: {by_class}", cls="soft"),
        tag("div", *panels, cls="panels"),
        cls="sample",
        data_sample=number,
    )
