"""`resseg data`: prepare, check, show and list data sets."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resseg.cli import outputs
from resseg.cli.data_labels import Asked, asked_of_labels, label_words, require_labels
from resseg.cli.data_masks import classes_and_rule
from resseg.cli.data_options import add_arguments
from resseg.errors import UserError

if TYPE_CHECKING:
    from resseg.data.pairs import Listing

__all__ = ["EPILOG", "SUMMARY", "add_arguments", "run"]

SUMMARY = "prepare, check and show data sets"
EPILOG = """\
examples:
  resseg data list
  resseg data prepare cells --images photos --masks masks --classes background,cell
  resseg data check cells
  resseg data show cells --out cells.png"""

_MOST_BATCHES = 1000  # in one picture


def run(arguments: argparse.Namespace) -> int:
    """Runs the subcommand that `add_arguments` parsed; returns the exit status.

    Raises:
        UserError: wrong input.
    """
    command = {"prepare": _prepare, "check": _check, "show": _show, "list": _list}
    return command[arguments.data_command](arguments)


def _prepare(arguments: argparse.Namespace) -> int:
    from resseg.console import open_console, say
    from resseg.data import catalogue, depth, folder
    from resseg.data.findings import print_report

    entry = catalogue.find(arguments.name)
    if entry is not None and not _names_files(arguments):
        spec = catalogue.prepare(entry, arguments.dir)
        say(f"{spec.name}: {spec.splits}")
        return 0
    depth.require_bits(arguments.bits)
    if arguments.seed < 0:
        raise UserError(f"--seed {arguments.seed}: expected 0 or more")
    folder.require_free(arguments.name, arguments.dir, arguments.overwrite)
    asked = _asked(arguments)
    report = folder.prepare(
        arguments.name,
        _split(asked.listing, arguments),
        asked.classes,
        asked.rule,
        arguments.dir,
        arguments.overwrite,
        _check_line(arguments),
        arguments.bits,
        asked.labels,
    )
    print_report(report, open_console())
    extra = [] if arguments.dir == Path("data") else ["--dir", str(arguments.dir)]
    show = shlex.join(["resseg", "data", "show", arguments.name, *extra])
    say(f"written to {arguments.dir / arguments.name}; look at it, then train:")
    say(f"  {show}")
    say(f"  {_train_line(arguments, report.splits)}")
    return 0


def _split(listing: "Listing", arguments: argparse.Namespace) -> "Listing":
    """The listing in its splits: those that it has, or those that are asked for."""
    from resseg.data import pairs

    if arguments.split_file is not None and arguments.val_fraction is not None:
        raise UserError("--split-file and --val-fraction: give one of the two")
    if arguments.folder is not None or pairs.WHOLE not in listing.splits:
        if arguments.split_file is not None or arguments.val_fraction is not None:
            given = "--folder" if arguments.folder is not None else "--labels"
            raise UserError(f"{given} brings its splits; drop the other split option")
        return listing
    if arguments.split_file is not None:
        return pairs.split_by_file(listing, arguments.split_file)
    fraction = 0.2 if arguments.val_fraction is None else arguments.val_fraction
    return pairs.split_by_fraction(listing, fraction, arguments.seed)


def _check(arguments: argparse.Namespace) -> int:
    from resseg.console import open_console
    from resseg.data import checks, depth
    from resseg.data.findings import print_report

    depth.require_bits(arguments.bits)
    if _names_files(arguments):
        if arguments.name is not None:
            raise UserError(f"NAME={arguments.name!r}: give a NAME or files, not both")
        where = arguments.folder or arguments.images or arguments.labels[0]
        asked = _asked(arguments)
        report = checks.check_folder(
            asked.listing,
            asked.classes,
            asked.rule,
            str(where),
            arguments.bits,
            labels=asked.labels,
        )
    elif arguments.name is None:
        raise UserError("give NAME, or --folder, or --images with --masks or --labels")
    elif arguments.bits is not None:
        raise UserError(
            f"--bits {arguments.bits}: {arguments.name} is prepared already"
        )
    else:
        report = checks.check_prepared(_data_config(arguments))
    print_report(report, open_console())
    return report.status


def _show(arguments: argparse.Namespace) -> int:
    from resseg.data.contact_sheet import write_contact_sheet

    data = _data_config(arguments)
    if not 1 <= arguments.batches <= _MOST_BATCHES:
        raise UserError(f"--batches {arguments.batches}: expected 1 to {_MOST_BATCHES}")
    if arguments.out is not None:
        outputs.check_file("--out", arguments.out)
    out = arguments.out or Path(data.dir, arguments.name, "sheet.png")
    print(write_contact_sheet(data, out, arguments.batches))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from resseg.console import (
        add_row,
        folded,
        left,
        new_table,
        open_console,
        say,
        show,
    )
    from resseg.data import catalogue, sources

    out = open_console()
    table = new_table(
        out,
        *(left(name) for name in ("name", "splits", "bits")),
        *(folded(name) for name in ("classes", "where")),
    )
    entries = [
        e.name for e in catalogue.ENTRIES if catalogue.is_prepared(e, arguments.dir)
    ]
    damaged = []
    for name in [*sources.prepared(arguments.dir), *entries]:
        data = _base_data(name, arguments.dir)
        try:
            spec = sources.dataset_spec(data)
            for split in spec.splits:
                sources.open_split(data, split)
        except UserError as error:
            add_row(table, name, "damaged", "", "", str(arguments.dir / name))
            damaged.append(f"{name}: {error}")
            continue
        splits = ", ".join(f"{split} {count}" for split, count in spec.splits.items())
        some = ", ".join(spec.classes[:8]) + ", ..." * (spec.num_classes > 8)
        classes = f"{spec.num_classes}: {some}"
        bits = "?" if spec.bits is None else str(spec.bits)
        add_row(table, name, splits, bits, classes, str(arguments.dir / name))
    if table.row_count:
        show(table, out)
        for line in damaged:
            say(line, "red", out=out)
    else:
        say(f"no data set is prepared in {arguments.dir}", out=out)
    say("built in: shapes (makes itself on first use)", out=out)
    names = ", ".join(entry.name for entry in catalogue.ENTRIES)
    say(f"from the TFDS catalogue: {names}", out=out)
    return 0


def _names_files(arguments: argparse.Namespace) -> bool:
    return any(
        option is not None
        for option in (
            arguments.folder,
            arguments.images,
            arguments.masks,
            arguments.labels,
        )
    )


def _asked(arguments: argparse.Namespace) -> Asked:
    """The pairs that the options name, and what their masks mean."""
    from resseg.data import cuts

    side, overlap = arguments.cut, arguments.cut_overlap
    if overlap is not None and side is None:
        raise UserError("--cut-overlap: expected --cut N beside it")
    if arguments.labels is not None:
        if side is not None:
            raise UserError("--cut and --labels: only images with masks are cut")
        return asked_of_labels(arguments)
    require_labels(arguments)
    _require_places(arguments)
    classes, rule = classes_and_rule(arguments)
    listing = _listing(arguments)
    if side is not None:
        listing = cuts.cut(listing, side, overlap or 0.0, bool(rule.colors))
    return Asked(listing, classes, rule, None)


def _require_places(arguments: argparse.Namespace) -> None:
    """Raises UserError where the options name no images, or no masks."""
    for option, given in (("images", arguments.images), ("masks", arguments.masks)):
        if given is None and arguments.folder is None:
            raise UserError(f"--{option} DIR is missing; or give --folder DIR")


def _listing(arguments: argparse.Namespace) -> "Listing":
    from resseg.data import layouts, pairs

    if arguments.folder is None:
        if arguments.layout is not None:
            layout = f"--layout {arguments.layout}"
            raise UserError(f"{layout}: give its tree with --folder DIR")
        return pairs.scan_pairs(arguments.images, arguments.masks)
    if arguments.images is not None or arguments.masks is not None:
        raise UserError("--folder holds images and masks; drop --images and --masks")
    return layouts.layout(arguments.layout or "folders").scan(arguments.folder)


def _data_config(arguments: argparse.Namespace) -> Any:
    """The `data` section of --config, or of the base config, for arguments.name."""
    file = getattr(arguments, "config", None)
    if file is None:
        return _base_data(arguments.name, arguments.dir)
    from resseg.config.load import load_config

    changes = {"data.name": arguments.name}
    if arguments.dir != Path("data"):
        changes["data.dir"] = str(arguments.dir)
    return load_config(file, changes).data


def _base_data(name: str, data_dir: Path) -> Any:
    from resseg.config.keys import base_config

    config = base_config()
    config.update({"data": {"name": name, "dir": str(data_dir)}})
    return config.data


def _check_line(arguments: argparse.Namespace) -> str:
    """The command that checks the files that `prepare` was given."""
    words = ["resseg", "data", "check"]
    for name in (
        "folder",
        "layout",
        "images",
        "masks",
        "classes",
        "colors",
        "values",
        "void",
        "bits",
        "cut",
        "cut_overlap",
    ):
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if arguments.first:
        words += ["--first", str(arguments.first)]
    words += ["--binary"] * arguments.binary + ["--strays-void"] * arguments.strays_void
    return shlex.join(words + label_words(arguments))


def _train_line(arguments: argparse.Namespace, splits) -> str:
    words = ["resseg", "train", "--config", "quickstart"]
    words += ["--workdir", f"runs/{arguments.name}"]
    words.append(f"--config.data.name={arguments.name}")
    if arguments.dir != Path("data"):
        words.append(f"--config.data.dir={arguments.dir}")
    for key, usual in (("split", "train"), ("eval_split", "val")):
        if usual not in splits:
            words.append(f"--config.data.{key}={next(iter(splits))}")
    return shlex.join(words)
