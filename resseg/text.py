"""Text files: the one reader of what users wrote, and the one writer.

Every text file of this package is UTF-8. What a user brings may also begin with a
byte-order mark, of UTF-8 or UTF-16; anything else is refused by name, never guessed.
"""

import codecs
import io
import json
import re
import tokenize
from pathlib import Path
from typing import Any, TextIO

from resseg.errors import UserError, naming

# Control characters but tab and line feed, and those that turn the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# A mark of UTF-32 begins as one of UTF-16 does, so it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read(path: str | Path) -> str:
    """The text of a file, without its byte-order mark, with `\\n` between lines.

    Raises:
        UserError: there is no such file, or it is not UTF-8 and has no mark.
    """
    return decode(_content(path), path)


def decode(content: bytes, name: str | Path) -> str:
    """The bytes of a file as text; `name` is what an error calls it.

    Raises:
        UserError: as `read`.
    """
    encoding = next((e for mark, e in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content:
        raise UserError(
            f"{name}: holds NUL bytes, as UTF-16 without a byte-order mark does; "
            "save it as UTF-8"
        )
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{content[error.start]:02x} in line {line}"
        raise UserError(f"{name}: not UTF-8 text ({wrong}); save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_source(path: str | Path) -> str:
    """A Python file, whose coding line is obeyed.

    Raises:
        UserError: as `read`; or it is not what its coding line says.
    """
    content = _content(path)
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    except SyntaxError:  # bytes that are not UTF-8, or an unknown coding line
        encoding = "utf-8"
    if encoding.startswith("utf-8"):
        return decode(content, path)
    try:
        return decode(content.decode(encoding).encode(), path)
    except UnicodeDecodeError:
        raise UserError(f"{path}: not {encoding}, as its coding line says") from None


def write(path: str | Path, text: str) -> None:
    """Writes UTF-8; a file name that is no text, as old disks have, is escaped."""
    with naming(path):
        Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")


def never_raise(stream: TextIO) -> None:
    """What the encoding of a terminal or pipe lacks is escaped there, as `\\xe9`."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def parse_json(content: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: it is none, or nested deeper than anybody would write it.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def shown(text: str) -> str:
    """A text for a terminal, which it does not control: what would is escaped."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
