"""EPIC-KITCHENS-100 CSV files: a line per action, with a verb and a noun, of which one is the class.

A file says nothing of its split but in its name. Its classes are numbers into a list of names: the words that people said
("verb", "noun") are not the classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tadshrink.data.annotations.records import Action, Found, VideoRecord
from tadshrink.data.annotations.source import Source
from tadshrink.data.annotations.tables import header, rows
from tadshrink.data.annotations.video_info import NOTHING, VideoInfo

COLUMNS = {"video_id", "start_timestamp", "stop_timestamp"}
#: Part of the file's name -> split.
SPLITS = {"train": "training", "validation": "validation", "test": "testing"}
_TIME = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def recognise(source: Source) -> bool:
    return any(path.suffix == ".csv" and set(header(path)) >= COLUMNS for path in source.files)


def read(source: Source, info: Mapping[str, VideoInfo], names: tuple[str, ...] | None, label: str, found: Found) -> None:
    videos: dict[tuple[str, str], list[Action]] = {}
    for path in source.files:
        if path.suffix != ".csv" or not set(header(path)) >= COLUMNS:
            continue
        subset = next((split for part, split in SPLITS.items() if part in path.stem), path.stem)
        for number, row in rows(path):
            actions = videos.setdefault((row["video_id"], subset), [])
            actions += _action(row, f"{path.name}, line {number}", f"{label}_class", names, found)
    for (video, subset), actions in videos.items():
        known = info.get(video, NOTHING)
        found.records.append(VideoRecord(video, subset, known.duration, tuple(actions), known.frames, known.fps))


def _action(row: Mapping[str, str], place: str, column: str, names: tuple[str, ...] | None, found: Found) -> list[Action]:
    """The action of a line; none in the files of the test split, which have no classes."""
    if column not in row:
        return []
    start, end = _seconds(row["start_timestamp"]), _seconds(row["stop_timestamp"])
    if start is None or end is None:
        found.bad(place, f"{row['start_timestamp']!r} to {row['stop_timestamp']!r} are not times as hours:minutes:seconds")
    elif end < start:
        found.bad(place, f"the segment of video {row['video_id']!r} ends ({end}) before it starts ({start})")
    elif not row[column].isdecimal() or (names and int(row[column]) >= len(names)):
        found.bad(place, f"{column!r} is {row[column]!r}, not a class number" + (f" below {len(names)}" if names else ""))
    else:
        return [Action(start, end, names[int(row[column])] if names else row[column], place)]
    return []


def _seconds(text: str) -> float | None:
    match = _TIME.fullmatch(text.strip())
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
