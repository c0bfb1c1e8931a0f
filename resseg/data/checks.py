"""What can be wrong with images and masks, found before any training."""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from resseg.console import counting, open_console
from resseg.data import depth, reading
from resseg.data.findings import SEVERITY, Finding, Report, SplitReport
from resseg.data.mask_rule import AS_INDICES, MaskRule, counted, total
from resseg.data.pair_facts import PairFacts, facts_of
from resseg.data.pairs import WHOLE, Listing, Pair
from resseg.data.spec import LONGEST_SIDE, VOID, DatasetSpec
from resseg.errors import UserError, some


def check_folder(
    listing: Listing,
    classes: Sequence[str],
    rule: MaskRule = AS_INDICES,
    where: str = "",
    bits: int | None = None,
    reason: str = "--bits",
    labels: Mapping[str, str] | None = None,
) -> Report:
    """Decodes every image and mask of a listing and reports what is wrong.

    Args:
        listing: pairs, from `pairs.scan_folder` or `pairs.scan_pairs`.
        classes: class names, by index.
        rule: how mask values become class indices.
        where: what the report is about.
        bits: in use by the images of more than 8; None guesses.
        reason: who says so.
        labels: how objects become masks, where they do.
    """

    def examine(pair: Pair) -> PairFacts | Finding:
        return _examine(pair, rule, len(classes))

    outcomes = _in_threads(examine, listing.pairs, "checking")
    facts = [outcome for outcome in outcomes if isinstance(outcome, PairFacts)]
    broken = [outcome for outcome in outcomes if isinstance(outcome, Finding)]
    used = depth.bits_of(facts, bits)
    findings = [
        *listing.findings,
        *broken,
        *depth.beyond(facts, used),
        *_meant_otherwise(where, classes, facts, rule),
    ]
    report = _report(where, tuple(classes), list(listing.splits), facts, findings, rule)
    scale = depth.scale_of(facts, used, bits, reason)
    words = in_words(labels)
    return dataclasses.replace(report, bits=used, scale=scale, labels=words)


def check_prepared(data_config) -> Report:
    """Reads back a prepared data set, all splits, and reports what is wrong with it.

    Args:
        data_config: the `data` section of a config.

    Raises:
        UserError: the data set is not prepared.
    """
    from resseg.data import sources

    spec = sources.dataset_spec(data_config)
    facts: list[PairFacts] = []
    for split in spec.splits:
        source = sources.open_split(data_config, split)

        def examine(index: int, source=source, split=split) -> PairFacts:
            record = source[index]
            name = f"{split}/{record['name']}"
            mapped = AS_INDICES.apply(record["mask"], spec.num_classes)
            return facts_of(split, name, name, record["image"], mapped)

        facts += _in_threads(examine, range(len(source)), f"reading {split}")
    report = _report(spec.name, spec.classes, list(spec.splits), facts, [], AS_INDICES)
    return dataclasses.replace(
        report,
        bits=spec.bits,
        scale=_stored_scale(spec),
        labels=in_words(sources.labels_of(data_config)),
    )


def in_words(labels: Mapping[str, str] | None) -> str:
    """How objects became masks, for people; empty where they did not."""
    if not labels:
        return ""
    return "labels: " + "; ".join(f"{key} {value}" for key, value in labels.items())


def _stored_scale(spec: DatasetSpec) -> str:
    if spec.bits is None:
        return (
            "whether images of more than 8 bits were scaled, and how, is not recorded: "
            "prepared by an earlier version"
        )
    return depth.in_words(spec.bits, "as prepared") if spec.bits > depth.FEWEST else ""


def watched(items: Iterable, description: str, total: int) -> Iterator:
    """The items, with a progress bar on stderr where that is a terminal."""
    out = open_console(sys.stderr)
    with counting(description, total, out=out) as advance:
        for item in items:
            yield item
            advance(1)


def _in_threads(function: Callable, items: Sequence, description: str) -> list:
    # Decoders release the interpreter lock; results come in the order of the items.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(watched(pool.map(function, items), description, len(items)))


def _examine(pair: Pair, rule: MaskRule, num_classes: int) -> PairFacts | Finding:
    try:
        picture = reading.load_image(pair.image)
        image = picture.upright_rgb()
        mapped = rule.apply(rule.read(pair.mask), num_classes)
    except UserError as error:
        file, _, message = str(error).partition(": ")
        return Finding("unreadable", file, message)
    facts = facts_of(
        pair.split,
        str(pair.image),
        str(pair.mask),
        image,
        mapped,
        rule.strays_are_void,
    )
    peak = int(image.max()) if image.dtype == np.uint16 else 0
    turned = picture.header.orientation != 1
    bits = picture.header.depth
    return dataclasses.replace(facts, depth=bits, peak=peak, turned=turned)


def _report(
    where: str,
    classes: tuple[str, ...],
    names: list[str],
    facts: list[PairFacts],
    findings: list[Finding],
    rule: MaskRule,
) -> Report:
    splits = {name: SplitReport() for name in names}
    for item in facts:
        split = splits[item.split]
        split.images += 1
        split.sizes[item.size] += 1
        for value, pixels in item.values.items():
            split.pixels[value] += pixels
            split.present[value] += 1
    findings = [
        *findings,
        *_of_splits(where, classes, splits, facts, findings),
        *_of_pairs(facts),
        *_strays(len(classes), facts, rule),
        *_duplicates(facts),
    ]
    order = list(SEVERITY)
    findings.sort(key=lambda item: order.index(item.kind))
    return Report(where, classes, splits, findings)


def _of_splits(
    where: str,
    classes: tuple[str, ...],
    splits: dict[str, SplitReport],
    facts: list[PairFacts],
    earlier: list[Finding],
) -> Iterator[Finding]:
    """Whatever concerns a split, or the data set, as a whole."""
    known = [split for split, report in splits.items() if report.images]
    if len(known) == 1 and known != [WHOLE]:
        message = f"has images in split {known[0]!r} alone: none to evaluate on"
        yield Finding("split", where, message)
    broken = any(item.severity == "error" for item in earlier)
    for split in splits:
        if split not in known and not broken:
            yield Finding("layout", where, f"split {split!r} is empty")
    if any(item.kind in ("binary", "rule") for item in earlier):
        return  # shares of the wrong classes would only distract
    for split in known:
        if not splits[split].pixels[: len(classes)].any():
            yield Finding(
                "unlabelled", where, f"no pixel of split {split!r} is labelled"
            )
            continue
        unseen = [
            f"{index} {name!r}"
            for index, name in enumerate(classes)
            if not splits[split].present[index]
        ]
        if unseen:
            message = f"no mask of split {split!r} holds class {some(unseen)}"
            yield Finding("unseen", where, message)


def _of_pairs(facts: list[PairFacts]) -> Iterator[Finding]:
    """Whatever concerns one image and its mask."""
    for item in facts:
        if item.size != item.mask_size:
            (height, width), (rows, columns) = item.size, item.mask_size
            hint = "; the EXIF orientation of the image is applied" * item.turned
            yield Finding(
                "size",
                item.mask,
                f"mask is {rows}x{columns}, image is {height}x{width} "
                f"(height x width){hint}",
            )
        if max(item.size) > LONGEST_SIDE:
            message = f"{item.size[0]}x{item.size[1]}: no crop can be cut from sides "
            yield Finding("size", item.image, f"{message}beyond {LONGEST_SIDE}")
        if set(item.values) <= {VOID} and not item.strays:
            yield Finding("unlabelled", item.mask, "every pixel is void")
        if item.turned:
            message = "EXIF orientation is applied; the mask must be upright too"
            yield Finding("turned", item.image, message)


def _strays(
    num_classes: int, facts: list[PairFacts], rule: MaskRule
) -> Iterator[Finding]:
    """Values and colours that are no class: of each mask, and of all together."""
    kind = "stray" if rule.strays_are_void else "id"
    ending = "read as void" if rule.strays_are_void else rule.expects(num_classes)
    wrong = [item for item in facts if item.strays]
    if len(wrong) > 1:
        pixels = counted(total(item.strays for item in wrong))
        ending += f" ({len(wrong)} of {len(facts)} masks: {pixels})"
    for item in wrong:
        yield Finding(kind, item.mask, f"holds {counted(item.strays)}; {ending}")


def _meant_otherwise(
    where: str, classes: Sequence[str], facts: list[PairFacts], rule: MaskRule
) -> Iterator[Finding]:
    """Values that look like another rule's than "class indices as they are"."""
    if dataclasses.replace(rule, void=None) != AS_INDICES or not facts:
        return
    seen = {value for item in facts for value in item.values}
    seen |= {int(value) for item in facts for value in item.strays}
    if VOID in seen and seen <= {0, VOID}:
        yield Finding(
            "binary",
            facts[0].mask,
            "this and every other mask hold only 0 and 255, and 255 means void; "
            "if 255 is a class here, add --binary (255 becomes 1)",
        )
    elif 0 not in seen and seen - {VOID} == set(range(1, len(classes) + 1)):
        yield Finding(
            "rule",
            where,
            f"masks count from 1 to {len(classes)}, classes count from 0; "
            "add --first 1 (value 1 is class 0)",
        )
    elif len(seen) == len(classes) and max(seen - {VOID}, default=0) >= len(classes):
        values = ",".join(map(str, sorted(seen)))
        yield Finding(
            "rule",
            where,
            f"masks hold {len(seen)} values, as many as there are classes; if they are "
            f"the classes in this order, add --values {values}",
        )


def _duplicates(facts: list[PairFacts]) -> Iterator[Finding]:
    first: dict[bytes, PairFacts] = {}
    for item in facts:
        earlier = first.setdefault(item.digest, item)
        if earlier.split != item.split:
            message = f"same picture as {earlier.image}, which is in another split"
            yield Finding("duplicate", item.image, message)
