"""Detections of one video as arrays, and their ActivityNet-style JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Decimals kept in published detections, and before windows are merged (OpenTAD): seconds and scores.
SEGMENT_DECIMALS = 2
SCORE_DECIMALS = 4
#: ``version`` entry of the JSON form.
JSON_VERSION = "1.3"


@dataclass(frozen=True, eq=False)
class Detections:
    """Scored, labelled segments of one video (or window), in an order that breaks ties between equal scores.

    Attributes:
        segments: float32 [N, 2], start and end; seconds, or grid cells of a window before ``to_seconds``.
        scores: float32 [N].
        labels: int64 [N], indices into the detector's class names.
    """

    segments: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", np.asarray(self.segments, dtype=np.float32).reshape(-1, 2))
        object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float32))
        object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.int64))
        if not self.scores.shape == self.labels.shape == (len(self.segments),):
            shapes = self.segments.shape, self.scores.shape, self.labels.shape
            raise ValueError(f"segments, scores and labels must be [N, 2], [N] and [N], not {shapes}")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> Detections:
        """No detections."""
        return cls(np.zeros((0, 2)), np.zeros(0), np.zeros(0))

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """All of ``parts`` one after the other."""
        parts = parts or [cls.empty()]
        columns = ([getattr(part, name) for part in parts] for name in ("segments", "scores", "labels"))
        return cls(*(np.concatenate(column) for column in columns))

    def take(self, indices: NDArray[Any]) -> Detections:
        """The chosen detections, in the order of ``indices`` (integers, a slice or a boolean mask)."""
        return Detections(self.segments[indices], self.scores[indices], self.labels[indices])

    def rounded(self) -> Detections:
        """Segments rounded to 2 and scores to 4 decimals, halves to even; applied before and after merging windows.

        float32 times 100 or 10000 is exact in float64, so this is Python's ``round`` for every element.
        """
        return replace(
            self,
            segments=np.round(self.segments.astype(np.float64), SEGMENT_DECIMALS),
            scores=np.round(self.scores.astype(np.float64), SCORE_DECIMALS),
        )

    def exact_segments(self) -> NDArray[np.float64]:
        """Segments as float64 [N, 2], rounded ones as the decimal number they stand for (62.64, not 62.6399993896).

        Annotations are decimals in float64; without this a tIoU that lies on a threshold would fall on either side.
        """
        wide = self.segments.astype(np.float64)
        decimal = np.round(wide, SEGMENT_DECIMALS)
        return np.where(decimal.astype(np.float32) == self.segments, decimal, wide)


def to_json(detections: Mapping[str, Detections], classes: Sequence[str]) -> dict[str, Any]:
    """ActivityNet-style results, ``{"version", "results": {video: [{"segment", "label", "score"}]}}``, rounded.

    Args:
        detections: video name -> detections in seconds.
        classes: label names in the order of the label indices.
    """
    return {"version": JSON_VERSION, "results": {name: _items(found, classes) for name, found in detections.items()}}


def _items(detections: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    segments = np.round(detections.segments.astype(np.float64), SEGMENT_DECIMALS).tolist()
    scores = np.round(detections.scores.astype(np.float64), SCORE_DECIMALS).tolist()
    return [
        {"segment": segment, "label": classes[label], "score": score}
        for segment, label, score in zip(segments, detections.labels.tolist(), scores, strict=True)
    ]
