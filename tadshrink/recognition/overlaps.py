"""Parts of one video in two splits that overlap in time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from tadshrink.data.annotations import Problem
from tadshrink.recognition.data import RecognitionDataset
from tadshrink.recognition.records import TrimmedVideo


def overlapping_parts(dataset: RecognitionDataset) -> Iterator[Problem]:
    """Every part that shows something of a part of another split, named once, with the first such part."""
    parts: dict[Path, list[TrimmedVideo]] = {}
    for record in dataset.records:
        parts.setdefault(record.path, []).append(record)
    for records in parts.values():
        if len({record.subset for record in records}) > 1:
            yield from _overlaps(dataset.where, records)


def _overlaps(where: Path, records: list[TrimmedVideo]) -> Iterator[Problem]:
    for number, record in enumerate(records):
        start, end = _times(record)
        other = next((item for item in records[:number] if item.subset != record.subset and _times(item)[0] < end and start < _times(item)[1]),
                     None)
        if other is not None:
            yield Problem("parts of two splits overlap", where, _named(record), f"in {record.subset!r}, and shows what is in {other.subset!r} "
                          f"as {_named(other)}")


def _times(record: TrimmedVideo) -> tuple[float, float]:
    return record.start or 0.0, math.inf if record.end is None else record.end


def _named(record: TrimmedVideo) -> str:
    return f"{record.place}, video {record.name!r}" if record.place else f"video {record.name!r}"
