"""Lists of names in files: classes in the order of a model's outputs, videos that are left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tadshrink.data.annotations.tables import header, one_of, rows
from tadshrink.errors import UserError
from tadshrink.files import read_json, read_text

#: Columns that hold names: EPIC-KITCHENS, BMN, and plain words.
COLUMNS = ("key", "action", "class", "label", "name", "video")
#: "7 BaseballPitch", as in the class lists of THUMOS and UCF101.
_NUMBERED = re.compile(r"\d+[\s,]+(\S.*)")


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names: a text file with one per line (numbered or not), a CSV with a column of names, or a JSON list or {name: number}.

    Raises:
        UserError: unreadable, empty, or a name twice.
    """
    names = tuple(_read(path))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"listed more than once: {', '.join(twice)}", where=path, fix="List every class once")
    if not names:
        raise UserError("no class in this list", where=path, fix="Give one name per line")
    return names


def read_names(path: Path) -> tuple[str, ...]:
    """Names of videos, from a file as :func:`read_classes` takes it; a JSON object may say anything of each. It may be empty.

    Raises:
        UserError: unreadable.
    """
    if path.suffix == ".json" and isinstance(data := read_json(path), dict):
        return tuple(data)
    return tuple(_read(path))


def _read(path: Path) -> list[str]:
    return READERS.get(path.suffix, _lines)(path)


def _lines(path: Path) -> list[str]:
    lines = [stripped for line in read_text(path).splitlines() if (stripped := line.strip())]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    return [match[1] for match in numbered if match] if all(numbered) else lines


def _column(path: Path) -> list[str]:
    columns = header(path)
    if (name := one_of(columns, COLUMNS)) is None:
        raise UserError(f"no column {' or '.join(COLUMNS)}", where=path, fix="Name the column of names so in the first line")
    found = [row for _, row in rows(path) if row[name]]
    ids = [row.get("id", "") for row in found]
    if "id" in columns and ids != [str(number) for number in range(len(ids))]:
        raise UserError("the ids are not 0, 1, 2, ... in this order", where=path, fix="Give the list of all classes, in order")
    return [row[name] for row in found]


def _json(path: Path) -> list[str]:
    data: Any = read_json(path)
    if isinstance(data, dict) and data and all(isinstance(value, int) for value in data.values()):
        data = sorted(data, key=data.__getitem__)
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise UserError("not a list of names", where=path, fix='Give ["name", ...] or {"name": number, ...}')
    return data


READERS: dict[str, Callable[[Path], list[str]]] = {".csv": _column, ".json": _json}
