"""How much data a run works on. Windows are counted from a sample of the files, so that nobody waits for thousands to be opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tadshrink.data.annotations import VideoRecord
from tadshrink.data.datasets import Dataset
from tadshrink.data.loader import TrainingSet
from tadshrink.data.sources import Source
from tadshrink.evaluation.inference import count_windows, split_videos
from tadshrink.run_inputs import SPLITS

#: Files of a split that are opened; the others are taken to have as many windows on average.
OPENED = 40


@dataclass(frozen=True)
class SplitSize:
    """A split in numbers.

    Attributes:
        subset: its name in the annotation file.
        windows: that inference looks at; of the training split, those that a full epoch draws.
        opened: of the videos, to count the windows; the number is exact where these are all.
    """

    subset: str
    videos: int
    actions: int
    windows: int
    opened: int

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def few_videos(data: Dataset) -> Dataset:
    """The dataset with no more than :data:`OPENED` videos in each split that a run looks at."""
    chosen = {record.name: record for split in SPLITS for record in _spread(data.split(split))}
    return replace(data, records=tuple(chosen.values()))


def _spread(records: Sequence[VideoRecord]) -> list[VideoRecord]:
    """At most :data:`OPENED`, evenly spaced; with actions, if there are any."""
    count = min(OPENED, len(records))
    found = [records[place * len(records) // count] for place in range(count)]
    if not any(record.actions for record in found):
        found[0] = next((record for record in records if record.actions), found[0])
    return found


def split_sizes(data: Dataset, few: Dataset, source: Source) -> dict[str, SplitSize]:
    """Every split that a run looks at; ``few`` as from :func:`few_videos`."""
    return {split: _size(data, few, split, source) for split in SPLITS}


def _size(data: Dataset, few: Dataset, split: str, source: Source) -> SplitSize:
    records, opened = data.split(split), few.split(split)
    windows = len(TrainingSet(few, split, source).samples) if split == "train" else count_windows(split_videos(few, split), source)
    return SplitSize(records[0].subset, len(records), sum(len(record.actions) for record in records),
                     round(windows * len(records) / len(opened)), len(opened))
