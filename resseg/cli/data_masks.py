"""What options of `resseg data` say of masks: their classes and their values."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from resseg.errors import UserError

if TYPE_CHECKING:
    from resseg.data.mask_rule import MaskRule

_RULES = ("values", "binary", "first")  # options that say what mask values mean
_LARGEST = 65535  # mask value


def classes_and_rule(
    arguments: argparse.Namespace,
) -> "tuple[tuple[str, ...], MaskRule]":
    """The class names, and what the values or colours of masks mean.

    Raises:
        UserError: an option is missing, wrong, or contradicts another.
    """
    from resseg.data import class_names, layouts
    from resseg.data.mask_rule import MaskRule

    layout = layouts.layout(arguments.layout or "folders")
    own = [name for name in _RULES if getattr(arguments, name)]
    if arguments.void is not None:
        own.append("void")
    if arguments.colors is not None:
        for name in (*own, *["classes"] * (arguments.classes is not None)):
            raise UserError(f"--colors names classes and void; drop --{name}")
        known = class_names.read_colors(arguments.colors)
        rule = MaskRule(
            colors=known.colors,
            shared=known.shared,
            strays_are_void=arguments.strays_void,
        )
        return known.classes, rule
    if arguments.classes is not None:
        classes = class_names.read_classes(arguments.classes)
    elif layout.classes:
        classes = layout.classes
    else:
        raise UserError(
            "--classes is missing: a,b,c or a text file with one per line; or --colors"
        )
    rule = _rule(arguments, len(classes)) if own else layout.rule
    return classes, dataclasses.replace(rule, strays_are_void=arguments.strays_void)


def _rule(arguments: argparse.Namespace, num_classes: int) -> "MaskRule":
    from resseg.data.mask_rule import MaskRule, in_order

    void, first = arguments.void, arguments.first
    given = [f"--{name}" for name in _RULES if getattr(arguments, name)]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)}: give one of the two")
    if void is not None and not 0 <= void <= _LARGEST:
        raise UserError(f"--void {void}: expected 0 to {_LARGEST}")
    if not 0 <= first <= 255 - num_classes:
        raise UserError(
            f"--first {first}: expected 0 to {255 - num_classes}, so that "
            f"{num_classes} classes end before 255, which is void"
        )
    if arguments.binary and num_classes != 2:
        raise UserError(f"--binary: means 2 classes, and {num_classes} are named")
    if arguments.binary and void == 255:
        raise UserError("--binary makes 255 a class, --void 255 makes it void")
    values = _values(arguments.values, num_classes) if arguments.values else ()
    if void in values:
        raise UserError(f"--void {void}: --values makes it a class")
    return MaskRule(void, arguments.binary, first, in_order(values))


def _values(words: str, num_classes: int) -> tuple[int, ...]:
    """`0,128,255` as numbers, one per class."""
    try:
        values = tuple(int(word) for word in words.split(","))
    except ValueError:
        raise UserError(
            f"--values {words}: expected numbers, as in 0,128,255"
        ) from None
    if not all(0 <= value <= _LARGEST for value in values):
        raise UserError(f"--values {words}: expected 0 to {_LARGEST}")
    if len(set(values)) < len(values):
        raise UserError(f"--values {words}: a value comes twice")
    if len(values) != num_classes:
        raise UserError(
            f"--values {words}: {len(values)} values for {num_classes} classes"
        )
    return values
