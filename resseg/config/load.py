"""Load an experiment, override keys, compare and print. Imports no JAX.

`load_config` reads an experiment file, a stored `config.json` or a run folder, always
into the keys of `resseg.config.base`, so all three give equal configs for the same run;
but a run has its folders as whole paths.
"""

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from resseg import text
from resseg.config import builtin
from resseg.config.fields import check_keys, normalise, parse
from resseg.config.keys import base_config, flatten, whole_path
from resseg.config.validation import check_against_data, validate
from resseg.errors import UserError, nearest

# What ml_collections says of a value of another type.
_OTHER_TYPE = re.compile(r"field '(\w+)'.*<class '(\w+)'>.*<class '(\w+)'>")

__all__ = [
    "check_against_data",
    "describe",
    "diff",
    "flatten",
    "load_config",
    "parse",
    "validate",
]


def load_config(
    path: str | Path, overrides: Mapping[str, object] | None = None
) -> ConfigDict:
    """Reads, overrides, validates and locks a config.

    Args:
      path: an experiment file with a `get_config()`, the name of one that comes with
        resseg (`builtin.names()`), a stored `config.json`, or a run folder that holds
        one.
      overrides: values by dotted key, as in `{"train.steps": 5}`; they have the type
        of the key (`parse` makes them from text).

    Returns:
      A locked config with exactly the keys of `resseg.config.base`; lists are tuples.

    Raises:
      UserError: the file cannot be read or run, or `validate` refuses the config.

    Example:
        >>> config = load_config("quickstart", {"model.gradient.shortcut": 0.5})
        >>> config.model.gradient.shortcut, config.train.steps
        (0.5, 950)
        >>> load_config("quickstart", {"trin.steps": 5})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        resseg.errors.UserError: config.trin.steps: no such key (did you mean ...)
    """
    values = _read(Path(path)) | dict(overrides or {})
    config = base_config()
    # Our own type check has run before each assignment and knows more: some keys take
    # a number or a list, and ml_collections would hold them to the type of the default.
    with config.ignore_type():
        for key, value in values.items():
            _assign(config, key, normalise(key, value))
    validate(config)
    return config.lock()


def _assign(config: Any, key: str, value: object) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        config = config[section]
    config[leaf] = value


def _read(path: Path) -> dict[str, object]:
    """The values that a file or run folder sets, by dotted key."""
    if path.is_dir():
        stored = path / "config.json"
        if not stored.is_file():
            raise UserError(f"{path}: not a run folder, it has no config.json")
        return _read_json(stored)
    if not path.exists() and path.as_posix() in builtin.names():
        return _run_experiment(builtin.file_of(path.as_posix()))
    if not path.is_file():
        hint = nearest(path.with_suffix("").as_posix(), builtin.names())
        raise UserError(f"{path}: no such config file{hint}")
    if path.suffix == ".json":
        return _read_json(path)
    if path.suffix == ".py":
        return _run_experiment(path)
    raise UserError(
        f"{path}: expected an experiment file (.py), a config.json or a run folder"
    )


def _read_json(path: Path) -> dict[str, object]:
    try:
        stored = text.parse_json(text.read(path))
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(stored, dict):
        raise UserError(f"{path}: expected a JSON object of config sections")
    return flatten(stored)


def _run_experiment(path: Path) -> dict[str, object]:
    namespace: dict[str, object] = {"__name__": "experiment", "__file__": str(path)}
    source = text.read_source(path)
    try:
        exec(compile(source, str(path), "exec"), namespace)
        get_config = namespace.get("get_config")
        config = get_config() if callable(get_config) else None
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
    except Exception as error:
        raise UserError(_where_it_failed(path, source, error)) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: needs a get_config() that returns a ConfigDict")
    values = flatten(config)
    check_keys(values)
    return values


def _where_it_failed(path: Path, source: str, error: Exception) -> str:
    """One line: the line of the experiment file, what it says, what went wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    if not lines or lines[-1] is None:
        return f"{path}: {type(error).__name__}: {error}"
    line = source.split("\n")[lines[-1] - 1].strip()
    reason = " ".join(str(error.args[0] if error.args else error).split())
    what = f"{type(error).__name__}: {reason}"
    if isinstance(error, ImportError) and "configs" in (error.name or "").split("."):
        what = f"{what}; write `from resseg.config import base`, or `builtin`"
    types = _OTHER_TYPE.search(reason)
    if types:
        what = f"field {types[1]!r}: expected {types[3]}, found {types[2]}"
    return f"{path}, line {lines[-1]}: `{line}`: {what}"


def diff(a: ConfigDict, b: ConfigDict) -> list[tuple[str, object, object]]:
    """The keys whose values differ, with both values; None where a key is missing.

    Example:
        >>> diff(load_config("quickstart"), load_config("quickstart", {"seed": 1}))
        [('seed', 0, 1)]
    """
    left, right = flatten(a), flatten(b)
    keys = list(dict.fromkeys([*left, *right]))
    pairs = [(key, left.get(key), right.get(key)) for key in keys]
    return [
        (key, mine, other) for key, mine, other in pairs if _differ(key, mine, other)
    ]


def _differ(key: str, one: object, other: object) -> bool:
    """Whether two values mean something else; two ways to name a folder do not."""
    return whole_path(key, one) != whole_path(key, other)


def describe(config: ConfigDict) -> str:
    """`key = value` lines, aligned; `*` and the default mark what is not base's."""
    flat, default = flatten(config), flatten(base_config())
    width = max(map(len, flat))
    lines = []
    for key, value in flat.items():
        changed = _differ(key, value, default[key])
        note = f"  (base: {default[key]!r})" if changed else ""
        lines.append(f"{'*' if changed else ' '} {key:{width}} = {value!r}{note}")
    return "\n".join(lines)
