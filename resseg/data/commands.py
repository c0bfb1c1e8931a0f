"""`resseg data`: prepare, check, show and list data sets."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from resseg.data.options import add_arguments
from resseg.errors import UserError

__all__ = ["add_arguments", "run"]

# Everything heavy is imported where it is needed: `resseg --help` must not wait.


def run(args: argparse.Namespace) -> int:
    """Runs the subcommand that `add_arguments` parsed; returns the exit status.

    Raises:
        UserError: wrong input.
    """
    command = {"prepare": _prepare, "check": _check, "show": _show, "list": _list}
    return command[args.data_command](args)


def _prepare(args: argparse.Namespace) -> int:
    from rich.console import Console

    from resseg.data import catalogue, folder, pairs
    from resseg.data.findings import print_report

    console = Console()
    entry = catalogue.find(args.name)
    if entry is not None and not _names_files(args):
        spec = catalogue.prepare(entry, args.dir)
        console.print(f"{spec.name}: {spec.splits}", markup=False)
        return 0
    folder.require_free(args.name, args.dir, args.overwrite)
    classes = _classes(args)
    listing = _listing(args)
    if args.split_file is not None and args.val_fraction is not None:
        raise UserError("--split-file and --val-fraction: give one of the two")
    if args.folder is not None:
        if args.split_file is not None or args.val_fraction is not None:
            raise UserError("--folder brings its splits; drop the other split option")
    elif args.split_file is not None:
        listing = pairs.split_by_file(listing, args.split_file)
    else:
        fraction = 0.2 if args.val_fraction is None else args.val_fraction
        listing = pairs.split_by_fraction(listing, fraction, args.seed)
    report = folder.prepare(
        args.name,
        listing,
        classes,
        _rule(args),
        args.dir,
        args.overwrite,
        _check_line(args),
    )
    print_report(report, console)
    extra = "" if args.dir == Path("data") else f" --dir {args.dir}"
    print(f"written to {args.dir / args.name}; look at it, then train:")
    print(f"  resseg data show {args.name}{extra}")
    print(f"  {_train_line(args, report.splits)}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from rich.console import Console

    from resseg.data import checks
    from resseg.data.findings import print_report

    if _names_files(args):
        if args.name is not None:
            raise UserError(f"NAME={args.name!r}: give a NAME or files, not both")
        where = str(args.folder or args.images)
        report = checks.check_folder(_listing(args), _classes(args), _rule(args), where)
    elif args.name is None:
        raise UserError("give NAME, or --folder, or --images with --masks")
    else:
        report = checks.check_prepared(_data_config(args))
    print_report(report, Console())
    return report.status


def _show(args: argparse.Namespace) -> int:
    from resseg.data.contact_sheet import write_contact_sheet

    data = _data_config(args)
    if args.out is not None and not args.out.parent.is_dir():
        raise UserError(f"--out {args.out}: there is no folder {args.out.parent}")
    out = args.out or Path(data.dir, args.name, "sheet.png")
    print(write_contact_sheet(data, out, args.batches))
    return 0


def _list(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from resseg.data import catalogue, sources

    console = Console()
    table = Table("name", "splits", "classes", "where", box=None, pad_edge=False)
    entries = [e.name for e in catalogue.ENTRIES if catalogue.is_prepared(e, args.dir)]
    damaged = []
    for name in [*sources.prepared(args.dir), *entries]:
        data = _base_data(name, args.dir)
        try:
            spec = sources.dataset_spec(data)
            for split in spec.splits:
                sources.open_split(data, split)
        except UserError as error:
            table.add_row(name, "damaged", "", str(args.dir / name))
            damaged.append(f"{name}: {error}")
            continue
        splits = ", ".join(f"{split} {count}" for split, count in spec.splits.items())
        shown = ", ".join(spec.classes[:8]) + ", ..." * (spec.num_classes > 8)
        classes = f"{spec.num_classes}: {shown}"
        table.add_row(name, splits, classes, str(args.dir / name))
    if table.row_count:
        console.print(table)
        for line in damaged:
            console.print(line, style="red", markup=False, soft_wrap=True)
    else:
        console.print(f"no data set is prepared in {args.dir}")
    console.print("built in: shapes (makes itself on first use)")
    names = ", ".join(entry.name for entry in catalogue.ENTRIES)
    console.print(f"from the TFDS catalogue: {names}")
    return 0


def _names_files(args: argparse.Namespace) -> bool:
    return any(option is not None for option in (args.folder, args.images, args.masks))


def _listing(args: argparse.Namespace):
    from resseg.data import pairs

    if args.folder is not None:
        if args.images is not None or args.masks is not None:
            raise UserError(
                "--folder holds images and masks; drop --images and --masks"
            )
        return pairs.scan_folder(args.folder)
    for option, given in (("images", args.images), ("masks", args.masks)):
        if given is None:
            raise UserError(f"--{option} DIR is missing; or give --folder DIR")
    return pairs.scan_pairs(args.images, args.masks)


def _classes(args: argparse.Namespace) -> tuple[str, ...]:
    from resseg.data import folder

    if args.classes is None:
        raise UserError("--classes is missing: a,b,c or a text file with one per line")
    return folder.read_classes(args.classes)


def _rule(args: argparse.Namespace):
    from resseg.data.reading import MaskRule

    if args.void is not None and not 0 <= args.void <= 255:
        raise UserError(f"--void {args.void}: expected 0 to 255")
    if not 0 <= args.first < 255:
        raise UserError(f"--first {args.first}: expected 0 to 254")
    if args.binary and args.void == 255:
        raise UserError("--binary makes 255 a class, --void 255 makes it void")
    return MaskRule(args.void, args.binary, args.first)


def _data_config(args: argparse.Namespace) -> Any:
    """The `data` section of --config, or of the base config, for args.name."""
    file = getattr(args, "config", None)
    if file is None:
        return _base_data(args.name, args.dir)
    from resseg.config.load import load_config

    changes = {"data.name": args.name}
    if args.dir != Path("data"):
        changes["data.dir"] = str(args.dir)
    return load_config(file, changes).data


def _base_data(name: str, data_dir: Path) -> Any:
    from resseg.config.keys import base_config

    config = base_config()
    config.update({"data": {"name": name, "dir": str(data_dir)}})
    return config.data


def _check_line(args: argparse.Namespace) -> str:
    """The command that checks the files that `prepare` was given."""
    words = ["resseg", "data", "check"]
    for name in ("folder", "images", "masks", "classes", "void"):
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    if args.binary:
        words.append("--binary")
    if args.first:
        words += ["--first", str(args.first)]
    return shlex.join(words)


def _train_line(args: argparse.Namespace, splits) -> str:
    words = [
        "resseg train --config configs/quickstart.py",
        f"--workdir runs/{args.name}",
        f"--config.data.name={args.name}",
    ]
    if args.dir != Path("data"):
        words.append(f"--config.data.dir={args.dir}")
    for key, usual in (("split", "train"), ("eval_split", "val")):
        if usual not in splits:
            words.append(f"--config.data.{key}={next(iter(splits))}")
    return " ".join(words)
