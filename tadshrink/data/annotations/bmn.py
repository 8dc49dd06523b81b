"""BMN's form of ActivityNet-1.3: ``video -> {duration_second, duration_frame, annotations}``, splits in a CSV beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tadshrink.data.annotations.json_records import Keys, read_records
from tadshrink.data.annotations.records import Found
from tadshrink.data.annotations.source import Source
from tadshrink.data.annotations.video_info import VideoInfo
from tadshrink.errors import UserError

KEYS = Keys(duration="duration_second", frames="duration_frame")


def recognise(source: Source) -> bool:
    content = source.json
    return isinstance(content, dict) and any(isinstance(entry, dict) and KEYS.duration in entry for entry in content.values())


def read(source: Source, info: Mapping[str, VideoInfo], names: tuple[str, ...] | None, label: str, found: Found) -> None:
    if not info:
        raise UserError("nothing says which videos are in which split", where=source.path,
                        fix="Put video_info_new.csv beside it, or name such a file under 'video_info' in the dataset YAML")
    content: Any = source.json
    read_records(content, KEYS, info, found)
