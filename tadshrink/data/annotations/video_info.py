"""What some datasets say of their videos in a CSV of its own: durations, frames, frame rates, splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tadshrink.data.annotations.records import Found, is_positive
from tadshrink.data.annotations.tables import header, one_of, rows
from tadshrink.errors import UserError

VIDEO = ("video", "video_id", "video_name", "name")
#: Field -> how files call it: those of BMN, EPIC-KITCHENS, and plain words.
NUMBERS = {"duration": ("seconds", "duration", "duration_second"), "frames": ("numFrame", "frames", "frame", "num_frames", "duration_frame"),
           "fps": ("fps",)}
SUBSET = ("subset", "split")


@dataclass(frozen=True)
class VideoInfo:
    """What is known of one video; see :class:`~tadshrink.data.annotations.records.VideoRecord`."""

    duration: float | None = None
    frames: float | None = None
    fps: float | None = None
    subset: str | None = None


NOTHING = VideoInfo()


def read_video_info(path: Path, found: Found) -> dict[str, VideoInfo]:
    """Read a CSV with a line per video. Lines that contradict each other or hold no number go to ``found.problems``.

    Raises:
        UserError: the file cannot be read, or no column names the videos.
    """
    columns = header(path)
    if (name := one_of(columns, VIDEO)) is None:
        raise UserError(f"no column {' or '.join(VIDEO)}", where=path, fix="Give a CSV with a line per video")
    numbers = {field: one_of(columns, names) for field, names in NUMBERS.items()}
    split, info = one_of(columns, SUBSET), {}
    for line, row in rows(path):
        where = f"{path.name}, line {line}"
        values = {field: _number(row[column]) for field, column in numbers.items() if column and row[column]}
        if wrong := [field for field, value in values.items() if not is_positive(value)]:
            found.bad(where, f"the {wrong[0]} is {row[numbers[wrong[0]]]!r}, not a positive number")
            continue
        given = VideoInfo(**values, subset=(row[split] or None) if split else None)
        if info.setdefault(row[name], given) != given:
            found.bad(where, f"video {row[name]!r} stands here a second time, with other values")
    return info


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
