"""Annotated and detected segments of many videos as flat arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.rules import Rule

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
#: video -> (start, end, label) in seconds.
GroundTruth = Mapping[str, Sequence[tuple[float, float, str]]]
#: video -> (start, end) in seconds.
Regions = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, eq=False)
class Truth:
    """The annotated segments that a rule counts, those of one class and video together, in the order given.

    Attributes:
        segments: [G, 2] in seconds.
        labels: [G], indices into the class names.
        videos: [G], numbers of the videos.
        regions: [R, 2], ambiguous regions, by video, and ``region_videos`` [R], ascending.
        count: annotated videos; their numbers are 0 to ``count`` - 1.
        duplicates: annotations that do not count because they repeat one, and ``short`` because they are too short.
    """

    segments: Floats
    labels: Integers
    videos: Integers
    regions: Floats
    region_videos: Integers
    count: int
    duplicates: int
    short: int

    def per_class(self, classes: int) -> Integers:
        """[C], segments of each class."""
        return np.bincount(self.labels, minlength=classes)


@dataclass(frozen=True, eq=False)
class Found:
    """Detections: segments [N, 2] in seconds, scores [N], labels [N] (indices into the class names), numbers of videos [N].

    Videos that are not annotated have numbers from ``Truth.count`` on. The order breaks ties between equal scores.
    """

    segments: Floats
    scores: Floats
    labels: Integers
    videos: Integers

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: NDArray[np.generic]) -> Found:
        """The chosen detections, in the order of ``indices`` (integers or a boolean mask)."""
        return Found(self.segments[indices], self.scores[indices], self.labels[indices], self.videos[indices])


def number_videos(*names: Mapping[str, object] | Sequence[str]) -> dict[str, int]:
    """Names -> numbers, by first appearance."""
    return {name: number for number, name in enumerate(dict.fromkeys(name for part in names for name in part))}


def flatten_truth(ground_truth: GroundTruth, classes: Sequence[str], rule: Rule, regions: Regions | None = None) -> Truth:
    """What ``rule`` counts of the annotations.

    Raises:
        UserError: an annotated label that is not in ``classes``, or nothing that counts.
    """
    numbers = {label: number for number, label in enumerate(classes)}
    groups: dict[tuple[int, int], list[tuple[float, float]]] = {}
    duplicates = short = 0
    for video, (name, actions) in enumerate(ground_truth.items()):
        for start, end, label in actions:
            if label not in numbers:
                raise UserError(f"label {label!r} is annotated but is not one of the {len(classes)} classes", where=f"video {name!r}",
                                fix="Evaluate with the data set's own class names")
            kept = groups.setdefault((numbers[label], video), [])
            if end - start < rule.shortest:
                short += 1
            elif rule.duplicate_tolerance is not None and _near(start, end, kept, rule.duplicate_tolerance):
                duplicates += 1
            else:
                kept.append((start, end))
    rows = [(*segment, *group) for group in sorted(groups) for segment in groups[group]]
    if not rows:
        raise UserError("no ground-truth actions to compare with", fix="Check the annotation file and the subset")
    columns = np.array(rows, dtype=np.float64)
    marked = [(start, end, video) for video, name in enumerate(ground_truth) for start, end in (regions or {}).get(name, ())]
    ambiguous = np.array(marked, dtype=np.float64).reshape(-1, 3)
    return Truth(columns[:, :2], columns[:, 2].astype(np.int64), columns[:, 3].astype(np.int64), ambiguous[:, :2],
                 ambiguous[:, 2].astype(np.int64), len(ground_truth), duplicates, short)


def _near(start: float, end: float, kept: Sequence[tuple[float, float]], tolerance: float) -> bool:
    return any(abs(start - a) <= tolerance and abs(end - b) <= tolerance for a, b in kept)


def flatten_detections(detections: Mapping[str, Detections], numbers: Mapping[str, int]) -> Found:
    """Detections by video in one table; ``numbers`` of the videos as in :func:`number_videos`."""
    everything = Detections.concatenate(list(detections.values()))
    videos = np.repeat(np.array([numbers[name] for name in detections], dtype=np.int64), [len(part) for part in detections.values()])
    return Found(everything.exact_segments(), everything.scores.astype(np.float64), everything.labels, videos)
