"""The organisers' text files of THUMOS-14: ``CLASS_test.txt`` or ``CLASS_val.txt`` with lines ``VIDEO START END``.

Nothing in them says how long the videos are, or names those without any action.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tadshrink.data.annotations.records import Action, Found, VideoRecord, is_number
from tadshrink.data.annotations.source import Source
from tadshrink.data.annotations.video_info import NOTHING, VideoInfo
from tadshrink.files import read_text

_NAME = re.compile(r"(?P<label>.+)_(?P<split>test|val|train)\.txt")
SPLITS = {"test": "testing", "val": "validation", "train": "training"}


def recognise(source: Source) -> bool:
    return bool(_files(source))


def read(source: Source, info: Mapping[str, VideoInfo], names: tuple[str, ...] | None, label: str, found: Found) -> None:
    videos: dict[tuple[str, str], list[Action]] = {}
    for path, match in _files(source):
        for video, action in _actions(path, match["label"], found):
            videos.setdefault((video, SPLITS[match["split"]]), []).append(action)
    for (video, subset), actions in videos.items():
        known = info.get(video, NOTHING)
        found.records.append(VideoRecord(video, subset, known.duration, tuple(actions), known.frames, known.fps))


def _files(source: Source) -> list[tuple[Path, re.Match[str]]]:
    return [(path, match) for path in source.files if (match := _NAME.fullmatch(path.name))]


def _actions(path: Path, label: str, found: Found) -> Iterator[tuple[str, Action]]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        place, words = f"{path.name}, line {number}", line.split()
        if not words:
            continue
        times = [_seconds(word) for word in words[1:]]
        if len(times) != 2 or not all(map(is_number, times)):
            found.bad(place, f"{line.strip()!r} is not VIDEO START END")
        elif times[1] < times[0]:
            found.bad(place, f"the segment of video {words[0]!r} ends ({times[1]}) before it starts ({times[0]})")
        else:
            yield words[0], Action(times[0], times[1], label, place)


def _seconds(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
