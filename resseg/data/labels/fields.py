"""Reading JSON and XML of others: every refusal names the file and what is in it."""

import contextlib
import math
import xml.etree.ElementTree as tree
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from resseg import text
from resseg.errors import UserError

_KINDS = {
    dict: "an object {...}",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
}


def read_json(path: Path) -> Any:
    """What a JSON file says.

    Raises:
        UserError: it cannot be read, or is no JSON.
    """
    try:
        return text.parse_json(text.read(path))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None


def read_xml(path: Path) -> tree.Element:
    """The root of an XML file. Entities, which can grow without end, are refused.

    Raises:
        UserError: it cannot be read, is no XML, or declares a document type.
    """
    builder = tree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> None:
        raise UserError(f"{path}: declares a document type (DTD); expected XML without")

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except expat.ExpatError as error:
        raise UserError(f"{path}: cannot be read as XML ({error})") from None
    return builder.close()


@contextlib.contextmanager
def damage(where: str, kind: str) -> Iterator[None]:
    """Whatever a foreign reader raises within is damage of a file.

    Args:
        where: the file, and what is in it.
        kind: that it was read as.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each reader has errors of its own
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{where}: cannot be read as {kind} ({reason})") from None


def field(entry: Any, key: str, kind: type, where: str) -> Any:
    """The value of a key of a JSON object.

    Args:
        entry: what should be that object.
        key: of it.
        kind: that the value must have; `float` takes whole numbers too.
        where: file and object, for the message.

    Raises:
        UserError: there is no such key, or it is of another kind.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{where}: is {_short(entry)}; expected {_KINDS[dict]}")
    if key not in entry:
        raise UserError(f"{where}: has no {key!r}")
    return of_kind(entry[key], kind, f"{where}: {key}")


def of_kind(value: Any, kind: type, where: str) -> Any:
    """The value, if it is of that kind.

    Raises:
        UserError: it is not.
    """
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (kind in (int, float) and isinstance(value, bool)):
        raise UserError(f"{where}={_short(value)}: expected {_KINDS[kind]}")
    return value


def number(words: str | None, where: str) -> float:
    """A finite number from the attribute of an XML element.

    Raises:
        UserError: it is missing, or none.
    """
    try:
        value = float(words or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}={words!r}: expected a number")
    return value


def whole(words: str | None, where: str) -> int:
    """A whole number from the attribute of an XML element.

    Raises:
        UserError: it is missing, or none.
    """
    value = number(words, where)
    if value != int(value):
        raise UserError(f"{where}={words!r}: expected a whole number")
    return int(value)


def _short(value: Any) -> str:
    words = repr(value) if isinstance(value, (str, int, float)) else ""
    kind = "null" if value is None else type(value).__name__
    return words if 0 < len(words) <= 40 else f"{kind}"
