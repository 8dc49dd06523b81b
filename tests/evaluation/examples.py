"""Small random annotations and detections, with ties, duplicates, segments without length and some that just touch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from tadshrink.evaluation.detections import Detections

CLASSES = ("a", "b", "c")
LABEL = st.sampled_from(CLASSES)
SEGMENT = st.tuples(st.integers(0, 12), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
ACTION = st.tuples(SEGMENT, LABEL).map(lambda item: (*item[0], item[1]))
TRUTH = st.dictionaries(st.sampled_from("uvw"), st.lists(ACTION, max_size=6), min_size=1)
FOUND = st.dictionaries(
    st.sampled_from("uvwx"),
    st.lists(st.tuples(ACTION, st.integers(0, 5)).map(lambda item: (*item[0], item[1] / 8)), max_size=12),
)
REGIONS = st.dictionaries(st.sampled_from("uv"), st.lists(SEGMENT, max_size=2))


def make(rows: Sequence[tuple[float, float, str, float]], classes: Sequence[str] = CLASSES) -> Detections:
    """Out of (start, end, label, score)."""
    labels = [classes.index(row[2]) for row in rows]
    return Detections(np.array([row[:2] for row in rows]), np.array([row[3] for row in rows]), np.array(labels))


def has_truth(truth: dict[str, list[tuple[float, float, str]]]) -> bool:
    return any(end > start for actions in truth.values() for start, end, _ in actions)
