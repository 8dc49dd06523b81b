"""Numbers and names as a report writes them."""

from __future__ import annotations

from collections.abc import Iterable

from tadshrink.models.units import Unit

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
#: In place of a number that is not known.
UNKNOWN = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"


def amount(value: float | None) -> str:
    """Such as ``678.8 M``."""
    if value is None:
        return UNKNOWN
    size, letter = next(((size, letter) for size, letter in _UNITS if value >= size), (1, ""))
    return f"{value / size:.4g} {letter}".strip()


def number(value: float | None, decimals: int = 2, sign: bool = False) -> str:
    """With a real minus sign."""
    if value is None:
        return UNKNOWN
    # What rounds to zero has no sign.
    rounded = round(value, decimals)
    return f"{rounded or 0.0:{'+' if sign and rounded else ''}.{decimals}f}".replace("-", MINUS)


def change(before: float, after: float) -> str:
    """Relative, such as ``−24.8 %``."""
    return f"{number(100 * (after / before - 1), 1, sign=True)} %"


def times(value: float | None) -> str:
    """A ratio, such as ``1.32x``."""
    return UNKNOWN if value is None else f"{value:.2f}{TIMES}"


def short(value: float, sign: bool = False, digits: int = 3) -> str:
    """Few digits that count, such as ``-0.0123`` or ``12.3``, with a real minus sign."""
    return f"{value:{'+' if sign else ''}.{digits}g}".replace("-", MINUS)


def listed(units: Iterable[Unit]) -> str:
    """Separated by commas."""
    return ", ".join(map(str, units))


def cut(text: str, length: int) -> str:
    """At most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def duration(seconds: float) -> str:
    """Such as ``4 min 3 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


def plural(count: int, noun: str) -> str:
    """Such as ``1 block`` or ``3 blocks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
