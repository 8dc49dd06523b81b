"""Actions that a file can hold and that still mean nothing, or something else than meant.

They are kept as they are, since published figures count them: an evaluation rule says which it leaves out, and training sees
only what is inside a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tadshrink.data.annotations.records import Action, Problem, VideoRecord

#: Seconds beyond the end of a video that are nothing but rounding.
TOLERANCE = 0.05

#: Kinds of problems.
TWICE = "duplicate"
NO_LENGTH = "zero length"
BEFORE = "starts before the video"
AFTER = "after the end of the video"
BEYOND = "ends after the video"


def find_oddities(records: Iterable[VideoRecord], file: Path, durations: Mapping[str, float] | None = None) -> list[Problem]:
    """Actions of no length, outside their video, or twice the same.

    Args:
        durations: of videos whose records have none.
    """
    return [Problem(kind, file, record.where(action), text) for record in records
            for action, kind, text in _of(record, record.duration or (durations or {}).get(record.name))]


def _of(record: VideoRecord, duration: float | None) -> Iterator[tuple[Action, str, str]]:
    seen: set[Action] = set()
    for action in record.actions:
        segment = f"{action.label} from {action.start:g} to {action.end:g} s"
        if action in seen:
            yield action, TWICE, f"{segment} is there twice"
        seen.add(action)
        if action.end == action.start:
            yield action, NO_LENGTH, segment
        if action.start < 0:
            yield action, BEFORE, segment
        if duration is not None and action.start >= duration:
            yield action, AFTER, f"{segment} of {duration:g} s"
        elif duration is not None and action.end > duration + TOLERANCE:
            yield action, BEYOND, f"{segment} of {duration:g} s"
