"""What an annotation file holds, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tadshrink.data.annotations import VideoRecord


@dataclass(frozen=True)
class Lengths:
    """Shortest, median and longest, in seconds."""

    shortest: float
    median: float
    longest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Lengths | None:
        return cls(min(values), median(values), max(values)) if values else None


@dataclass(frozen=True)
class SplitCounts:
    """One split.

    Attributes:
        without_actions: videos in which nothing is annotated.
        classes: classes with an action here.
        ambiguous: regions where detections do not count.
        hours: of the videos whose length is known; ``video_seconds`` likewise, ``None`` if none is.
    """

    videos: int
    without_actions: int
    actions: int
    classes: int
    ambiguous: int
    hours: float
    video_seconds: Lengths | None
    action_seconds: Lengths | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def count_splits(records: Iterable[VideoRecord]) -> dict[str, SplitCounts]:
    """Every split by its name, in the order of the file."""
    splits: dict[str, list[VideoRecord]] = {}
    for record in records:
        splits.setdefault(record.subset, []).append(record)
    return {subset: _count(members) for subset, members in splits.items()}


def _count(records: list[VideoRecord]) -> SplitCounts:
    actions = [action for record in records for action in record.actions]
    durations = [record.duration for record in records if record.duration is not None]
    return SplitCounts(
        videos=len(records), without_actions=sum(not record.actions for record in records), actions=len(actions),
        classes=len({action.label for action in actions}), ambiguous=sum(len(record.ambiguous) for record in records),
        hours=sum(durations) / 3600, video_seconds=Lengths.of(durations),
        action_seconds=Lengths.of([action.end - action.start for action in actions]),
    )


def count_classes(records: Iterable[VideoRecord], classes: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Actions of every class in every split; first the given classes in their order, then what else there is."""
    counts = Counter((action.label, record.subset) for record in records for action in record.actions)
    found: dict[str, dict[str, int]] = {name: {} for name in classes}
    for (label, subset), count in counts.items():
        found.setdefault(label, {})[subset] = count
    return found
