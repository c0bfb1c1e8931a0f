"""Numbers as a reader wants them."""

import math

MISSING = "not recorded"
NOTHING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits; a dash for what is not defined."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        return f"{mantissa}e{int(exponent)}"
    return text


def score(value: float | None) -> str:
    """A share with three decimals, as scores are written."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share in percent. Only what is exactly 0 is written as 0 %."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value and abs(value) < 0.001:
        return f"{number(100 * value, 1)} %"
    return f"{value:.1%}".replace(".0%", "%").replace("%", " %")


def count(value: float | None) -> str:
    """12345 -> 12,345."""
    return MISSING if value is None or math.isnan(value) else f"{round(value):,}"


def large(value: float | None) -> str:
    """Of the size of a network: 0.51 M, 3.2 G."""
    if value is None:
        return MISSING
    for unit, size, least in (("G", 1e9, 1e9), ("M", 1e6, 1e5), ("k", 1e3, 1e3)):
        if value >= least:
            return f"{value / size:.3g} {unit}"
    return f"{value:g}"


def duration(seconds: float | None) -> str:
    """40 -> 40 s, 3725 -> 1 h 02 min."""
    if seconds is None or math.isnan(seconds):
        return MISSING
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def shorten(text: str, length: int = 40) -> str:
    """A name that leaves room for others; the whole stands somewhere else."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def plural(value: int, word: str) -> str:
    """1 step, 2 steps."""
    return f"{value:,} {word}{'' if value == 1 else 's'}"
