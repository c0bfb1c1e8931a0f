"""What can be wrong with images and masks, found before any training."""

import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from resseg.console import counting, open_console
from resseg.data import reading
from resseg.data.findings import SEVERITY, Finding, Report, SplitReport
from resseg.data.pairs import WHOLE, Listing, Pair
from resseg.data.reading import AS_INDICES, MaskRule
from resseg.data.spec import VOID
from resseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class _PairFacts:
    """What is known of one pair once it was decoded."""

    split: str
    image: str
    mask: str
    size: tuple[int, int]
    mask_size: tuple[int, int]
    digest: bytes
    values: dict[int, int]  # mask value -> pixels
    peak: int = 0  # largest value of a 16-bit image
    turned: bool = False


def check_folder(
    listing: Listing,
    classes: Sequence[str],
    rule: MaskRule = AS_INDICES,
    where: str = "",
) -> Report:
    """Decodes every image and mask of a listing and reports what is wrong.

    Args:
        listing: pairs, from `pairs.scan_folder` or `pairs.scan_pairs`.
        classes: class names, by index.
        rule: how mask values become class indices.
        where: what the report is about.
    """
    outcomes = _in_threads(lambda pair: _examine(pair, rule), listing.pairs, "checking")
    facts = [outcome for outcome in outcomes if isinstance(outcome, _PairFacts)]
    broken = [outcome for outcome in outcomes if isinstance(outcome, Finding)]
    report = _report(
        where, tuple(classes), list(listing.splits), facts, listing.findings + broken
    )
    peak = max((item.peak for item in facts), default=0)
    return dataclasses.replace(report, bits=reading.used_bits(peak or 65535))


def check_prepared(data_config) -> Report:
    """Reads back a prepared data set, all splits, and reports what is wrong with it.

    Args:
        data_config: the `data` section of a config.

    Raises:
        UserError: the data set is not prepared.
    """
    from resseg.data import sources

    spec = sources.dataset_spec(data_config)
    facts: list[_PairFacts] = []
    for split in spec.splits:
        source = sources.open_split(data_config, split)

        def examine(index: int, source=source, split=split) -> _PairFacts:
            record = source[index]
            name = f"{split}/{record['name']}"
            return _facts(split, name, name, record["image"], record["mask"])

        facts += _in_threads(examine, range(len(source)), f"reading {split}")
    return _report(spec.name, spec.classes, list(spec.splits), facts, [])


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


def _examine(pair: Pair, rule: MaskRule) -> _PairFacts | Finding:
    try:
        image = reading.decode(pair.image)
        turned = reading.is_turned(pair.image)
        mask = rule.apply(reading.read_mask(pair.mask))
    except UserError as error:
        file, _, message = str(error).partition(": ")
        return Finding("unreadable", file, message)
    facts = _facts(pair.split, str(pair.image), str(pair.mask), image, mask)
    peak = int(image.max()) if image.dtype == np.uint16 else 0
    return dataclasses.replace(facts, peak=peak, turned=turned)


def _facts(
    split: str, image_file: str, mask_file: str, image: np.ndarray, mask: np.ndarray
) -> _PairFacts:
    # Same bytes in another shape are another picture.
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(image.tobytes())
    values, counts = _count(mask)
    return _PairFacts(
        split=split,
        image=image_file,
        mask=mask_file,
        size=image.shape[:2],
        mask_size=mask.shape[:2],
        digest=digest.digest(),
        values=dict(zip(values.tolist(), counts.tolist(), strict=True)),
    )


def _count(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if mask.dtype != np.uint8:
        return np.unique(mask, return_counts=True)
    counts = np.bincount(mask.ravel(), minlength=256)
    values = np.flatnonzero(counts)
    return values, counts[values]


def _report(
    where: str,
    classes: tuple[str, ...],
    names: list[str],
    facts: list[_PairFacts],
    findings: list[Finding],
) -> Report:
    splits = {name: SplitReport() for name in names}
    for item in facts:
        split = splits[item.split]
        split.images += 1
        split.sizes[item.size] += 1
        for value, pixels in item.values.items():
            if 0 <= value <= VOID:
                split.pixels[value] += pixels
                split.present[value] += 1
    findings = [
        *findings,
        *_of_splits(where, classes, splits, facts, findings),
        *_of_pairs(classes, facts),
        *_duplicates(facts),
    ]
    order = list(SEVERITY)
    findings.sort(key=lambda item: order.index(item.kind))
    return Report(where, classes, splits, findings)


def _of_splits(
    where: str,
    classes: tuple[str, ...],
    splits: dict[str, SplitReport],
    facts: list[_PairFacts],
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
    if not known:
        return
    seen = {value for item in facts for value in item.values}
    if VOID in seen and seen <= {0, VOID}:
        yield Finding(
            "binary",
            facts[0].mask,
            "this and every other mask hold only 0 and 255, and 255 means void; "
            "if 255 is a class here, add --binary (255 becomes 1)",
        )
        return
    if 0 not in seen and seen - {VOID} == set(range(1, len(classes) + 1)):
        yield Finding(
            "id",
            where,
            f"masks count from 1 to {len(classes)}, classes count from 0; "
            "add --first 1 (value 1 is class 0)",
        )
    for split in known:
        unseen = [
            f"{index} {name!r}"
            for index, name in enumerate(classes)
            if not splits[split].present[index]
        ]
        if unseen:
            message = f"no mask of split {split!r} holds class {', '.join(unseen)}"
            yield Finding("unseen", where, message)


def _of_pairs(classes: tuple[str, ...], facts: list[_PairFacts]) -> Iterator[Finding]:
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
        wrong = {
            value: pixels
            for value, pixels in item.values.items()
            if value != VOID and not 0 <= value < len(classes)
        }
        if wrong:
            some = [f"{value} ({pixels} px)" for value, pixels in wrong.items()][:4]
            more = ", ..." * (len(wrong) > len(some))
            yield Finding(
                "id",
                item.mask,
                f"holds {', '.join(some)}{more}; classes are 0 to {len(classes) - 1}, "
                "255 is void",
            )
        if set(item.values) == {VOID}:
            yield Finding("unlabelled", item.mask, "every pixel is void")
        if item.turned:
            message = "EXIF orientation is applied; the mask must be upright too"
            yield Finding("turned", item.image, message)


def _duplicates(facts: list[_PairFacts]) -> Iterator[Finding]:
    first: dict[bytes, _PairFacts] = {}
    for item in facts:
        earlier = first.setdefault(item.digest, item)
        if earlier.split != item.split:
            message = f"same picture as {earlier.image}, which is in another split"
            yield Finding("duplicate", item.image, message)
