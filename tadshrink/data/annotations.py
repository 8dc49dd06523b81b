"""Reading ActivityNet-style annotation files: ``database -> video -> {subset, duration, annotations}``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from tadshrink.errors import UserError
from tadshrink.files import read_json

#: How many bad records one message names before it only counts them.
SHOWN = 3


@dataclass(frozen=True)
class Action:
    """One annotated action: ``start`` and ``end`` in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class VideoRecord:
    """One video of an annotation file: its split, its length in seconds and its actions.

    ``frames`` and ``fps`` are what the file says in "frame" and "fps", if anything; only features need one of them.
    """

    name: str
    subset: str
    duration: float
    actions: tuple[Action, ...]
    frames: float | None = None
    fps: float | None = None


def read_annotations(path: str | Path) -> list[VideoRecord]:
    """Read and validate an annotation file, in the file's order.

    Raises:
        UserError: unreadable, not this layout, or bad records; the first few are named and the rest counted.
    """
    data = read_json(path)
    database = data.get("database") if isinstance(data, dict) else None
    if not isinstance(database, dict):
        raise UserError("no 'database' object", where=path, fix="Give an ActivityNet-style annotation file")
    problems: list[str] = []
    records = [_record(name, entry, problems) for name, entry in database.items()]
    if problems:
        more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        raise UserError("; ".join(problems[:SHOWN]) + more, where=path, fix="Repair or remove these records")
    return [record for record in records if record is not None]


def _record(name: str, entry: Any, problems: list[str]) -> VideoRecord | None:
    if not isinstance(entry, dict):
        problems.append(f"video {name!r}: not an object")
        return None
    subset, duration = entry.get("subset"), entry.get("duration")
    if not isinstance(subset, str):
        problems.append(f"video {name!r}: 'subset' is missing")
        return None
    if not _positive(duration):
        problems.append(f"video {name!r}: 'duration' is {duration!r}, not a positive number of seconds")
        return None
    given = {key: entry[key] for key in ("frame", "fps") if entry.get(key) is not None}
    if wrong := [key for key, value in given.items() if not _positive(value)]:
        problems.append(f"video {name!r}: {wrong[0]!r} is {given[wrong[0]]!r}, not a positive number")
        return None
    items = entry.get("annotations", [])
    if not isinstance(items, list):
        problems.append(f"video {name!r}: 'annotations' is not a list")
        return None
    actions = [_action(name, number, item, problems) for number, item in enumerate(items)]
    return VideoRecord(name, subset, float(duration), tuple(action for action in actions if action), given.get("frame"), given.get("fps"))


def _action(name: str, number: int, item: Any, problems: list[str]) -> Action | None:
    where = f"video {name!r}, annotation {number}"
    segment = item.get("segment") if isinstance(item, dict) else None
    if not (isinstance(segment, list) and len(segment) == 2 and all(map(_number, segment))):
        problems.append(f"{where}: 'segment' is not [start, end] in seconds")
        return None
    if not isinstance(item.get("label"), str):
        problems.append(f"{where}: 'label' is missing")
        return None
    if segment[1] < segment[0]:
        problems.append(f"{where}: the segment ends ({segment[1]}) before it starts ({segment[0]})")
        return None
    return Action(float(segment[0]), float(segment[1]), item["label"])


def _positive(value: Any) -> TypeGuard[float]:
    return _number(value) and value > 0


def _number(value: Any) -> bool:
    # Comparing also refuses nan, and a JSON integer that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
