"""Files that a command is to write: what stands in their way is found beforehand."""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from resseg.errors import UserError

_SWEEP = "sweep.json"


def check_file(option: str, file: str | os.PathLike) -> Path:
    """A file that can be written there, as far as can be seen before.

    Args:
        option: that names it.
        file: may be there already, if it is no file of a run.

    Raises:
        UserError: it is a folder, or its folder is missing or cannot be written to; its
            name is too long; a run or sweep needs what is there.
    """
    path = Path(file)
    named = f"{option} {path}"
    _look(option, path)
    if path.is_dir():
        raise UserError(f"{named}: it is a folder, expected a file")
    if not path.parent.is_dir():
        raise UserError(f"{named}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"{named}: cannot write to {path.parent}")
    refuse_own(named, path)
    return path


def refuse_own(named: str, path: Path) -> None:
    """That no run or sweep needs what is, or is to be, of this name.

    Raises:
        UserError: one does; begins with `named`.
    """
    whole = path.resolve()
    for folder in whole.parents:
        own = _own_names(folder)
        if whole.relative_to(folder).parts[0] in own:
            raise UserError(f"{named}: a file of the run in {folder}; choose another")


def check_files(files: Mapping[str, str | os.PathLike | None]) -> None:
    """As `check_file`, by option, and that no two are one file; None = not asked for.

    Raises:
        UserError: see `check_file`; or two options name one file.
    """
    known: dict[Path, str] = {}
    for option, file in files.items():
        if file is None:
            continue
        other = known.setdefault(check_file(option, file).resolve(), option)
        if other != option:
            raise UserError(f"{other} and {option} {file}: expected two files")


def check_each_apart(
    option: str, files: Iterable[tuple[Path, Path]], inputs: Sequence[Path]
) -> None:
    """That files made of several inputs are one file each, and replace no input.

    Args:
        option: that names their folder.
        files: pairs of an input and a file that is to be made of it; the folder exists.
        inputs: that must stay as they are.

    Raises:
        UserError: two are one file, one is an input or a folder, or a name is too long;
            nothing has been written.
    """
    known = {
        (stat.st_dev, stat.st_ino): path for path in inputs if (stat := _stat(path))
    }
    made: dict[str, Path] = {}
    blind = None
    for source, file in files:
        _look(option, file)
        if blind is None:
            blind = _is_blind_to_case(file.parent)
        key = file.name.casefold() if blind else file.name
        if key in made:
            raise UserError(
                f"{source}: {made[key].name} would be written to the same file "
                f"{file.name}; rename one"
            )
        made[key] = source
        if file.is_dir():
            raise UserError(f"{option} {file}: it is a folder, where a file is to go")
        stat = _stat(file)
        if stat and (stat.st_dev, stat.st_ino) in known:
            same = known[stat.st_dev, stat.st_ino]
            raise UserError(
                f"{option} {file}: is the input {same}; choose another folder"
            )


def _own_names(folder: Path) -> tuple[str, ...]:
    """What a run or a sweep in a folder cannot do without."""
    from resseg.runs import layout

    if (folder / _SWEEP).is_file():
        return (_SWEEP, "plans", "workers", "programs")
    if not (folder / layout.CONFIG).is_file():
        return ()
    return (
        *(layout.CONFIG, layout.ENVIRONMENT, layout.DATASET, layout.NETWORK),
        *(layout.STATUS, layout.CLAIM, layout.LOCK, layout.LOG, layout.IMPORTED),
        *(*layout.LOGS, layout.CHECKPOINTS, layout.BEST, layout.INITIAL),
    )


def _look(option: str, path: Path) -> None:
    """Refuses a name that the system cannot look for."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        shown = f"{path.name[:40]}…" if len(path.name) > 40 else path.name
        raise UserError(f"{option}: {shown}: {error.strerror}") from error


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _is_blind_to_case(folder: Path) -> bool:
    """Whether the file system takes `A` and `a` for one name."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="Case") as file:
        name = Path(file.name)
        return (folder / name.name.swapcase()).exists()


def check_free(workdir: Path) -> None:
    """Raises UserError unless a new run folder can be made of that name."""
    from resseg.runs import layout

    if workdir.is_dir() and any(workdir.iterdir()):
        what = "holds a run" if (workdir / layout.CONFIG).exists() else "is not empty"
        raise UserError(f"--workdir {workdir} {what}: choose another folder")
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir {workdir} is a file, expected a folder")
