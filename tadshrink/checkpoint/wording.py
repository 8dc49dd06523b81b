"""Names out of a file, as parts of a one-line message: the file may be anybody's."""

from __future__ import annotations

from collections.abc import Iterable

_MOST = 5
_LONGEST = 200


def printable(name: object) -> str:
    """Safe for a terminal, and not too long."""
    text = str(name)
    return (text if text.isprintable() else ascii(text)[1:-1])[:_LONGEST]


def shortened(parts: Iterable[object], separator: str = ", ", most: int = _MOST) -> str:
    """The first few, and how many more there are."""
    names = list(parts)
    shown = separator.join(map(printable, names[:most]))
    return shown + (f"{separator}and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """``1 block``, ``3 blocks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
