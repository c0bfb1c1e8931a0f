"""A folder of images and masks becomes a prepared data set."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from resseg.data import checks, mask_files, reading, sources
from resseg.data.depth import FEWEST, in_8_bits
from resseg.data.findings import Report
from resseg.data.mask_rule import AS_INDICES, MaskRule
from resseg.data.pairs import Listing, Pair
from resseg.data.writing import dataset_folder, read_spec
from resseg.errors import UserError

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def prepare(
    name: str,
    listing: Listing,
    classes: Sequence[str],
    rule: MaskRule = AS_INDICES,
    data_dir: str | Path = "data",
    overwrite: bool = False,
    check_line: str = "resseg data check",
    bits: int | None = None,
    labels: Mapping[str, str] | None = None,
) -> Report:
    """Checks every pair, then writes the data set `<data_dir>/<name>`.

    Nothing is written where the check finds an error. JPEG files and 8-bit grey or
    RGB PNG files are stored byte for byte; all other images as 8-bit RGB PNG, those
    of more than 8 bits scaled by what the whole data set uses (see `data.depth`).

    Args:
        name: of the data set, `config.data.name` later.
        listing: the pairs of each split.
        classes: class names, by index.
        rule: how mask values become class indices.
        data_dir: where prepared data sets live.
        overwrite: replace a data set of that name.
        check_line: the command that shows every error.
        bits: in use by images of more than 8; None takes what the data set that is
            replaced recorded, or else guesses.
        labels: how objects become masks, kept with the data set.

    Returns:
        The report of the check; its warnings did not stop the preparation.

    Raises:
        UserError: a bad or taken name, or an error in the data; the message tells the
            most important one and how many there are.
    """
    require_free(name, data_dir, overwrite)
    reason = "--bits"
    if bits is None:
        bits = _bits_before(Path(data_dir), name)
        reason = "as in the data set that is replaced; --bits N says otherwise"
    report = checks.check_folder(listing, classes, rule, name, bits, reason, labels)
    used = report.bits or FEWEST
    if report.errors:
        raise UserError(_worst(report, check_line))
    splits = {
        split: lambda pairs=pairs, split=split: checks.watched(
            _records(pairs, len(classes), rule, used),
            f"writing {split}",
            len(pairs),
        )
        for split, pairs in listing.splits.items()
    }
    sources.write_dataset(
        data_dir,
        name,
        classes,
        splits,
        bits=used,
        overwrite=overwrite,
        labels=labels,
    )
    return report


def _bits_before(data_dir: Path, name: str) -> int | None:
    """The bits of deep images in a data set that is there already."""
    try:
        before = read_spec(dataset_folder(data_dir, name)).bits
    except (UserError, OSError):
        return None
    return before if before is not None and before > FEWEST else None


def require_free(name: str, data_dir: str | Path, overwrite: bool) -> None:
    """Raises UserError unless a data set of this name may be written."""
    from resseg.data import catalogue

    if not _NAME.fullmatch(name):
        raise UserError(
            f"NAME={name!r}: expected small letters, digits and _, "
            "beginning with a letter"
        )
    if name == "shapes" or catalogue.find(name) is not None:
        raise UserError(f"NAME={name!r}: taken by a built-in data set; choose another")
    if Path(data_dir).is_file():
        raise UserError(f"{data_dir}: a file, expected the folder of data sets")
    target = Path(data_dir) / name
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists; add --overwrite to replace it")


def _worst(report: Report, check_line: str) -> str:
    message = report.lines("error")[0]
    more = len(report.errors) - 1
    if more:
        message += f" (and {more} more error{'s' * (more > 1)}: {check_line})"
    return message


def _records(
    pairs: Sequence[Pair], num_classes: int, rule: MaskRule, bits: int
) -> Iterator[dict]:
    for pair in pairs:
        as_is = reading.stored_as_is(pair.image)
        image = pair.image if as_is else in_8_bits(reading.load_image(pair.image), bits)
        mask = rule.read(pair.mask)
        labels = rule.apply(mask, num_classes).labels
        unchanged = np.array_equal(labels, mask)
        yield {
            "image": image,
            "mask": pair.mask
            if unchanged and mask_files.stored_as_is(pair.mask)
            else labels,
            "name": pair.name,
        }
