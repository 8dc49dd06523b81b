"""ActivityNet JSON: ``database -> video -> {subset, duration, annotations}``.

So are the files of ActionFormer and OpenTAD, with more keys ("fps", "frame", "label_id") that are used or passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tadshrink.data.annotations.json_records import Keys, read_records
from tadshrink.data.annotations.records import Found
from tadshrink.data.annotations.source import Source
from tadshrink.data.annotations.video_info import VideoInfo

KEYS = Keys(duration="duration", frames="frame", fps="fps")


def recognise(source: Source) -> bool:
    return isinstance(source.json, dict) and isinstance(source.json.get("database"), dict)


def read(source: Source, info: Mapping[str, VideoInfo], names: tuple[str, ...] | None, label: str, found: Found) -> None:
    content: Any = source.json
    read_records(content["database"], KEYS, info, found)
