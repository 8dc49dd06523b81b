"""The records that all JSON forms have in common: an object per video with a list of annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tadshrink.data.annotations.records import Action, Found, VideoRecord, is_number, is_positive
from tadshrink.data.annotations.video_info import NOTHING, VideoInfo


@dataclass(frozen=True)
class Keys:
    """How a form calls the lengths of a video."""

    duration: str
    frames: str
    fps: str | None = None


def read_records(database: Mapping[str, Any], keys: Keys, info: Mapping[str, VideoInfo], found: Found) -> None:
    """Add every sound video to ``found.records``, and every bad video or annotation to its problems.

    Args:
        info: what is known of videos from elsewhere, for what the entries leave out.
    """
    for name, entry in database.items():
        if not isinstance(entry, dict):
            found.bad(f"video {name!r}", "not an object")
            continue
        lengths, known = _lengths(name, entry, keys, found), info.get(name, NOTHING)
        subset = entry.get("subset", known.subset)
        if not isinstance(subset, str):
            found.bad(f"video {name!r}", "'subset' is missing")
            continue
        items = entry.get("annotations", [])
        if not isinstance(items, list):
            found.bad(f"video {name!r}", "'annotations' is not a list")
            continue
        actions = tuple(_actions(name, items, found))
        ambiguous = tuple(_regions(name, entry.get("ambiguous") or [], found))
        if lengths is not None:
            duration, frames, fps = (given or other for given, other in zip(lengths, (known.duration, known.frames, known.fps), strict=True))
            found.records.append(VideoRecord(name, subset, duration, actions, frames, fps, ambiguous))


def _lengths(name: str, entry: Mapping[str, Any], keys: Keys, found: Found) -> tuple[float | None, float | None, float | None] | None:
    """Duration, frames and frame rate as far as they are given; ``None`` if one is given and no positive number."""
    duration = entry.get(keys.duration)
    if keys.duration in entry and not is_positive(duration):
        found.bad(f"video {name!r}", f"{keys.duration!r} is {duration!r}, not a positive number of seconds")
        return None
    for key in (keys.frames, keys.fps):
        if (value := entry.get(key)) is not None and not is_positive(value):
            found.bad(f"video {name!r}", f"{key!r} is {value!r}, not a positive number")
            return None
    return None if duration is None else float(duration), entry.get(keys.frames), entry.get(keys.fps)


def _actions(name: str, items: list[Any], found: Found) -> Iterable[Action]:
    for number, item in enumerate(items):
        place = f"annotation {number}"
        segment = item.get("segment") if isinstance(item, dict) else None
        if (checked := _segment(f"video {name!r}, {place}", segment, found)) is None:
            continue
        if not isinstance(item.get("label"), str):
            found.bad(f"video {name!r}, {place}", "'label' is missing")
            continue
        yield Action(*checked, item["label"], place)


def _regions(name: str, items: Any, found: Found) -> Iterable[tuple[float, float]]:
    if not isinstance(items, list):
        found.bad(f"video {name!r}", "'ambiguous' is not a list")
        return
    for number, item in enumerate(items):
        segment = item.get("segment") if isinstance(item, dict) else item
        if (checked := _segment(f"video {name!r}, ambiguous region {number}", segment, found)) is not None:
            yield checked


def _segment(where: str, segment: Any, found: Found) -> tuple[float, float] | None:
    if not (isinstance(segment, list) and len(segment) == 2 and is_number(segment[0]) and is_number(segment[1])):
        found.bad(where, "'segment' is not [start, end] in seconds")
        return None
    if segment[1] < segment[0]:
        found.bad(where, f"the segment ends ({segment[1]}) before it starts ({segment[0]})")
        return None
    return float(segment[0]), float(segment[1])
