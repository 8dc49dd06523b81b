from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadshrink.evaluation.detections import Detections, to_json

CLASSES = ("Diving", "Shotput")
SECONDS = st.floats(0, 10000, width=32)


def sample() -> Detections:
    return Detections(np.array([[1.234, 5.678], [0.125, 62.64]]), np.array([0.90005, 0.12344]), np.array([1, 0]))


def test_fields_get_their_types():
    assert [array.dtype for array in (sample().segments, sample().scores, sample().labels)] == [
        np.float32, np.float32, np.int64]
    assert len(sample()) == 2


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must be"):
        Detections(np.zeros((2, 2)), np.zeros(2), np.zeros(3))


def test_rounding_halves_to_even():
    rounded = sample().rounded()
    assert rounded.segments.tolist() == np.float32([[1.23, 5.68], [0.12, 62.64]]).tolist()
    assert rounded.scores.tolist() == np.float32([0.9, 0.1234]).tolist()  # float32(0.90005) lies below 0.90005


@given(st.lists(st.tuples(SECONDS, SECONDS, st.floats(0, 1, width=32)), max_size=8))
def test_rounding_is_pythons(rows):
    found = Detections([row[:2] for row in rows], [row[2] for row in rows], [0] * len(rows)).rounded()
    assert found.segments.tolist() == [[np.float32(round(value, 2)) for value in row[:2]] for row in rows]
    assert found.scores.tolist() == [np.float32(round(row[2], 4)) for row in rows]


def test_exact_segments_are_the_decimals():
    found = Detections(np.array([[62.64, 74.36], [1.23456, 2.0]]), np.zeros(2), np.zeros(2))
    assert found.exact_segments().tolist() == [[62.64, 74.36], [float(np.float32(1.23456)), 2.0]]


def test_concatenate_and_take():
    both = Detections.concatenate([sample(), Detections.empty(), sample()])
    assert both.labels.tolist() == [1, 0, 1, 0]
    assert both.take(np.array([3, 0])).labels.tolist() == [0, 1]
    assert len(Detections.concatenate([])) == 0


def test_json_form():
    assert to_json({"a": sample().rounded(), "b": Detections.empty()}, CLASSES)["results"] == {
        "a": [{"segment": [1.23, 5.68], "label": "Shotput", "score": 0.9},
              {"segment": [0.12, 62.64], "label": "Diving", "score": 0.1234}],
        "b": [],
    }
