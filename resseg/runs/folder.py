"""Whether a folder may be trained in, and the config and the data of its run."""

import json
import os
import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from resseg.config.keys import whole_path, with_whole_paths
from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.json_files import read_json, values_of, write_json
from resseg.runs.places import check_free, check_writable, make_folder

_NAMED = 6  # differing keys that a message lists


def prepare(workdir: str | os.PathLike) -> Path:
    """Makes the run folder where it is missing, and nothing else.

    Raises:
        UserError: The path is a file, cannot be made or written to, has a name that
            checkpoints could not be read from again, holds imported weights, logs
            without the config they belong to, or something in the way of a file.
    """
    if not os.fspath(workdir):
        raise UserError("--workdir '': expected the name of a folder")
    folder = Path(workdir)
    check_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--workdir {folder} is a file, expected a folder")
    make_folder("--workdir", folder)
    check_free(folder)
    if (folder / layout.IMPORTED).exists():
        raise UserError(
            f"--workdir {folder} holds imported weights: train in another folder, with "
            f"{shlex.join(['--init-from', str(folder)])}"
        )
    if not (folder / layout.CONFIG).exists():
        names = (*layout.LOGS, layout.CHECKPOINTS)
        for name in names:
            if (folder / name).exists():
                raise UserError(
                    f"--workdir {folder} holds {name} but no {layout.CONFIG}: "
                    "choose another folder"
                )
    return folder


def write_config(workdir: str | os.PathLike, config: ConfigDict) -> None:
    """Stores the resolved config as plain JSON: tuples as lists, unset keys as null.

    Folders are stored as whole paths.
    """
    write_json(Path(workdir) / layout.CONFIG, with_whole_paths(config))


def read_config(workdir: str | os.PathLike) -> FrozenConfigDict:
    """The stored config; lists are tuples again.

    Raises:
        UserError: There is none, or it is not JSON.
    """
    with values_of(Path(workdir) / layout.CONFIG):
        return FrozenConfigDict(_tuples(_load(workdir)))


def check_same_config(
    workdir: str | os.PathLike,
    config: ConfigDict,
    defaults: ConfigDict,
    free: Collection[str],
) -> bool:
    """True where the folder holds a run of this config, False where it holds none.

    Args:
        workdir: the run folder.
        config: of the run that is to go on in it.
        defaults: a key that the run does not know yet, as it is of an earlier version,
            had in effect the default that it has now.
        free: keys that may differ, as nothing that is computed depends on them.

    Raises:
        UserError: It holds a run of another config; the message names what differs.
    """
    folder = Path(workdir)
    if not (folder / layout.CONFIG).exists():
        return False
    known = dict(_flat(json.loads(json.dumps(defaults.to_dict()))))
    stored = known | {
        key: whole_path(key, value) for key, value in _flat(_load(folder))
    }
    given = dict(_flat(json.loads(json.dumps(with_whole_paths(config)))))
    differing = [
        key
        for key in sorted(stored | given)
        if _in_words(stored, key) != _in_words(given, key) and key not in free
    ]
    if differing:
        listed = [
            f"{key} is {_in_words(stored, key)} there and {_in_words(given, key)} here"
            for key in differing[:_NAMED]
        ]
        rest = len(differing) - _NAMED
        more = f"; and {rest} more" if rest > 0 else ""
        other = "another --workdir"
        if "train.steps" in differing:  # the learning rate schedule depends on it
            start = shlex.join(["--init-from", str(folder)])
            other += f" (with {start} to start from its weights)"
        raise UserError(
            f"--workdir {folder} holds a run of another config: "
            f"{'; '.join(listed)}{more}. Choose {other}, or the config of that run to "
            "resume it"
        )
    return True


def _load(workdir: str | os.PathLike) -> dict[str, Any]:
    return read_json(Path(workdir) / layout.CONFIG)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _in_words(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "missing"
