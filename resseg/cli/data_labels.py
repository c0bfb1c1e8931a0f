"""What options of `resseg data` say of labels that other tools exported."""

import argparse
from typing import TYPE_CHECKING, NamedTuple

from resseg.errors import UserError

if TYPE_CHECKING:
    from resseg.data.labels.formats import Options
    from resseg.data.mask_rule import MaskRule
    from resseg.data.pairs import Listing

_ONLY_LABELS = (
    *("format", "overlap", "rest", "unlisted"),
    *("attribute", "axis", "window", "channels"),
)
_MASKS = ("colors", "values", "void", "binary", "first", "strays_void")


class Asked(NamedTuple):
    """What `prepare` and `check` work on.

    Attributes:
        listing: the pairs.
        classes: names, by index.
        rule: what masks mean.
        labels: how objects become masks; None where they are masks.
    """

    listing: "Listing"
    classes: tuple[str, ...]
    rule: "MaskRule"
    labels: dict[str, str] | None


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--labels` and what goes with it."""
    group = parser.add_argument_group(
        "labels of other tools",
        "instead of --masks: COCO, LabelMe, CVAT and others (docs/labels.md)",
    )
    group.add_argument(
        "--labels",
        action="append",
        metavar="[SPLIT=]PATH",
        help="a file or folder as a tool exports it; several with a SPLIT each. Images "
        "are found by name below --images, or beside the labels",
    )
    group.add_argument(
        "--format",
        metavar="NAME",
        help="what --labels are, where their content leaves it open: coco, labelme, "
        "cvat, labelstudio, yolo, cityscapes, geojson, imagej, voc, masks, nnunet, "
        "nifti, dicom, dicomseg",
    )
    group.add_argument(
        "--overlap",
        metavar="ORDER",
        help="file: later objects cover earlier ones (default); area: smaller cover "
        "larger; void: pixels of several classes become void",
    )
    group.add_argument(
        "--rest",
        metavar="CLASS",
        help="class of pixels that no object covers, or void (default: background "
        "where it is a class, else void)",
    )
    group.add_argument(
        "--unlisted",
        metavar="FATE",
        help="objects of categories that --classes does not name: skip leaves what is "
        "below (default), void makes them void",
    )
    group.add_argument(
        "--attribute",
        metavar="NAME",
        help="what holds the category: of GeoJSON the name of an attribute, of ImageJ "
        "name (default) or group",
    )
    group.add_argument(
        "--axis",
        type=int,
        metavar="N",
        help="of NIfTI volumes: slices are cut across it, 0 to 2 (default 2)",
    )
    group.add_argument(
        "--window",
        metavar="LOW,HIGH",
        help="of NIfTI and DICOM: values that become black and white (default: those "
        "of the file, else its smallest and largest)",
    )
    group.add_argument(
        "--channels",
        metavar="LIST",
        help="of nnU-Net: numbers of the channels that become grey or red, green, "
        "blue, such as 0,1,2",
    )


def asked_of_labels(arguments: argparse.Namespace) -> Asked:
    """Reads the labels that the options name.

    Raises:
        UserError: an option or a label file is wrong.
    """
    from resseg.cli.data_masks import classes_and_rule
    from resseg.data import class_names
    from resseg.data.labels import listing

    for name in ("folder", "masks", "layout"):
        if getattr(arguments, name) is not None:
            raise UserError(f"--labels and --{name}: give one of the two")
    found = listing.places(arguments.labels)
    root = arguments.images
    row, reading = listing.read(found, root, arguments.format, _options(arguments))
    where = ", ".join(str(place.path) for place in found)
    record = {"format": row.name}
    if not row.painted:
        _refuse(arguments, ("overlap", "rest", "unlisted"), f"are masks ({row.name})")
        if reading.rule is not None and arguments.classes is None:
            _refuse(arguments, _MASKS, f"say what values mean ({row.name})")
            assert reading.classes is not None
            classes, rule = reading.classes, reading.rule
        else:
            classes, rule = classes_and_rule(arguments)
        return Asked(listing.valued(reading), classes, rule, record)
    _refuse(arguments, _MASKS, f"are objects ({row.name})")
    named = arguments.classes
    classes = class_names.read_classes(named) if named is not None else None
    decided = listing.decide(
        row,
        reading,
        classes,
        arguments.rest,
        arguments.unlisted,
        arguments.overlap or "file",
    )
    pairs = listing.painted(where, reading, decided)
    return Asked(pairs, decided.classes, decided.rule, record | decided.record)


def require_labels(arguments: argparse.Namespace) -> None:
    """Raises UserError where an option for labels is given, and none are."""
    for name in _ONLY_LABELS:
        if getattr(arguments, name) is not None:
            raise UserError(f"--{name}: goes with --labels, and none are given")


def label_words(arguments: argparse.Namespace) -> list[str]:
    """The options of labels as they were typed."""
    words = []
    for place in arguments.labels or ():
        words += ["--labels", place]
    for name in _ONLY_LABELS:
        value = getattr(arguments, name)
        if value is not None:
            words.append(f"--{name}={value}")  # a window may begin with a minus
    return words


def _refuse(arguments: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    for name in names:
        if getattr(arguments, name):
            option = name.replace("_", "-")
            raise UserError(f"--{option}: these labels {reason}; drop it")


def _options(arguments: argparse.Namespace) -> "Options":
    from resseg.data.labels.formats import Options

    axis = arguments.axis
    if axis is not None and not 0 <= axis <= 2:
        raise UserError(f"--axis {axis}: expected 0, 1 or 2")
    window = None
    if arguments.window is not None:
        numbers = _numbers("--window", arguments.window, float, "-160,240")
        if len(numbers) != 2 or not -1e9 < numbers[0] < numbers[1] < 1e9:
            raise UserError(
                f"--window {arguments.window}: expected a low and a high value"
            )
        window = (numbers[0], numbers[1])
    channels = None
    if arguments.channels is not None:
        channels = tuple(_numbers("--channels", arguments.channels, int, "0,1,2"))
        if len(channels) not in (1, 3) or min(channels) < 0:
            raise UserError(
                f"--channels {arguments.channels}: expected one or three numbers"
            )
    return Options(arguments.attribute, axis, window, channels)


def _numbers(option: str, words: str, kind: type, example: str) -> list:
    try:
        return [kind(word) for word in words.split(",")]
    except ValueError:
        raise UserError(
            f"{option} {words}: expected numbers, such as {example}"
        ) from None
