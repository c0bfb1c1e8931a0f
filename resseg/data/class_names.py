"""Class names and the colours of classes, as users write them."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from resseg import text
from resseg.data.mask_rule import Color
from resseg.data.spec import VOID
from resseg.errors import UserError, nearest

_MAPS = Path(__file__).parent / "color_maps"
_NUMBERS = r"[(\[]?\s*(\d+)[\s,;]+(\d+)[\s,;]+(\d+)\s*[)\]]?"
_COLOR_FIRST = re.compile(rf"{_NUMBERS}[\s,;:]+(\S.*)")
_NAME_FIRST = re.compile(rf"(\S.*?)[\s,;:]+{_NUMBERS}[\s,;:]*")
_HEX = r"#(?P<color>[0-9a-fA-F]{6})"
_HEX_FIRST = re.compile(rf"{_HEX}[\s,;:]+(?P<name>\S.*)")
_NAME_HEX = re.compile(rf"(?P<name>\S.*?)[\s,;:]+{_HEX}")


class ColorMap(NamedTuple):
    """Classes and the colours that masks paint them in.

    Attributes:
        classes: names, by index.
        colors: RGB to class index or void.
        shared: RGB to the classes that have it in common: they cannot be told apart.
    """

    classes: tuple[str, ...]
    colors: tuple[tuple[Color, int], ...]
    shared: tuple[tuple[Color, str], ...]


def read_classes(value: str) -> tuple[str, ...]:
    """Class names from `a,b,c`, or from a text file with one name per line.

    Raises:
        UserError: no such file, fewer than two names, or a name that is empty or
            comes twice.
    """
    option = f"--classes {value}"
    if Path(value).is_file():
        names = [line.strip() for line in text.read(value).rstrip().split("\n")]
        for number, name in enumerate(names, start=1):
            if not name:
                raise UserError(
                    f"{option}: line {number} is blank; a line is the name of a class, "
                    f"so line {number + 1} would be class {number}"
                )
    elif "," in value:
        names = [name.strip() for name in value.split(",")]
    else:
        raise UserError(
            f"{option}: no such file, and a list has two names or more, such as "
            "background,cell"
        )
    return _checked(names, option)


def read_colors(value: str) -> ColorMap:
    """Classes and colours, from a file or by the name of a data set.

    A line holds a name and red, green and blue (or #rrggbb), in this order or the
    other, with spaces, commas, semicolons or colons between them. Lines of one name are
    one class; `void` is none. Blank lines, comments after # and a head do not count.

    Args:
        value: a file, or one of `map_names()`.

    Raises:
        UserError: no such file, or a line that is none of this.
    """
    file = _MAPS / f"{value}.txt" if value in map_names() else Path(value)
    if not file.is_file():
        listed = ", ".join(map_names())
        hint = nearest(value, map_names())
        raise UserError(
            f"--colors {value}: no such file; known by name are {listed}{hint}"
        )
    names: dict[str, int] = {}
    known: dict[Color, str] = {}
    shared: dict[Color, str] = {}
    for number, line in enumerate(text.read(file).split("\n"), start=1):
        read = _color_line(line, f"--colors {value}: line {number}", first=not known)
        if read is None:
            continue
        name, color = read
        if name.casefold() == "void":
            names[name] = VOID
        elif name not in names:
            names[name] = sum(index != VOID for index in names.values())
        if known.setdefault(color, name) != name:
            shared[color] = f"{shared.get(color, repr(known[color]))} and {name!r}"
    if file.parent != _MAPS and shared:
        color, classes = next(iter(shared.items()))
        raise UserError(
            f"--colors {value}: {','.join(map(str, color))} is the colour of {classes}"
        )
    classes = [name for name, index in names.items() if index != VOID]
    colors = {color: names[name] for color, name in known.items()}
    return ColorMap(
        _checked(classes, f"--colors {value}"),
        tuple((color, at) for color, at in colors.items() if color not in shared),
        tuple(shared.items()),
    )


def map_names() -> list[str]:
    """The colour maps that `read_colors` knows by name."""
    return sorted(file.stem for file in _MAPS.glob("*.txt"))


def _color_line(line: str, where: str, first: bool) -> tuple[str, Color] | None:
    bare = line.strip()
    hexadecimal = _HEX_FIRST.fullmatch(bare) or _NAME_HEX.fullmatch(bare)
    if hexadecimal:
        red, green, blue = bytes.fromhex(hexadecimal["color"])
        return hexadecimal["name"], (red, green, blue)
    if not bare or bare.startswith("#"):
        return None
    ahead, behind = _COLOR_FIRST.fullmatch(bare), _NAME_FIRST.fullmatch(bare)
    if ahead and behind and ahead[4] != behind[1]:
        raise UserError(f"{where}: {bare!r}: is the name first or the colour?")
    if ahead:
        name, numbers = ahead[4].rstrip(" ,;:"), ahead.groups()[:3]
    elif behind:
        name, numbers = behind[1], behind.groups()[1:]
    elif first and not re.search(r"\d", bare):
        return None  # a head, such as name,r,g,b
    else:
        raise UserError(
            f"{where}: {bare!r}: expected a name and red, green and blue, such as "
            "road 128 64 128"
        )
    red, green, blue = map(int, numbers)
    if max(red, green, blue) > 255:
        raise UserError(f"{where}: {bare!r}: expected colours from 0 to 255")
    return name, (red, green, blue)


def _checked(names: Sequence[str], option: str) -> tuple[str, ...]:
    for index, name in enumerate(names):
        if not name:
            raise UserError(f"{option}: the name of class {index} is empty")
        if any(unicodedata.category(each) in ("Cc", "Cs") for each in name):
            raise UserError(f"{option}: {name!r} holds what is no character of a text")
        if name in names[:index]:
            raise UserError(f"{option}: {name!r} comes twice")
    if not 2 <= len(names) <= VOID:
        raise UserError(f"{option}: {len(names)} names; expected 2 to {VOID}")
    return tuple(names)
