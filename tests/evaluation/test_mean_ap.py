from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.matching import temporal_iou
from tadshrink.evaluation.mean_ap import average_precision, mean_average_precision
from tests.evaluation.examples import CLASSES, FOUND, SEGMENT, TRUTH, has_truth, make


def test_temporal_iou_by_hand():
    a = np.array([[0.0, 10.0], [0.0, 10.0], [0.0, 10.0], [3.0, 3.0]])
    b = np.array([[5.0, 15.0], [10.0, 20.0], [2.0, 4.0], [3.0, 3.0]])
    assert temporal_iou(a, b) == pytest.approx([1 / 3, 0, 0.2, 0])
    assert temporal_iou(a[:, None], b[None]).shape == (4, 4)


@given(SEGMENT, SEGMENT, st.integers(-1000, 1000))
def test_temporal_iou_properties(a, b, shift):
    a, b = np.array(a, float) / 4, np.array(b, float) / 4
    value = temporal_iou(a, b)
    assert 0 <= value <= 1
    assert value == temporal_iou(b, a) == temporal_iou(a + shift, b + shift)
    assert temporal_iou(a, a) == (1 if a[1] > a[0] else 0)


def test_average_precision_by_hand():
    # Precision 1, 1/2, 2/3, 2/4, 3/5 at recall 1/4, 1/4, 2/4, 2/4, 3/4.
    assert average_precision(np.array([1, 0, 1, 0, 1], bool), 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    assert average_precision(np.zeros(0, bool), 4) == 0
    assert average_precision(np.zeros(3, bool), 4) == 0


def test_map_by_hand():
    truth = {"v": [(0, 10, "a"), (20, 30, "a"), (5, 6, "b")], "w": []}
    found = {"v": make([(0, 10, "a", 0.9), (21, 29, "a", 0.6), (5, 6, "c", 0.9)]), "w": make([(0, 10, "a", 0.8)])}
    result = mean_average_precision(truth, found, CLASSES, (0.7, 0.9))
    # Class a: hit, miss, hit (tIoU 0.8): (1 + 2/3) / 2 at 0.7, 1 / 2 at 0.9. Class b is never found, c not annotated.
    assert result.per_class[:2] == pytest.approx(np.array([[500 / 6, 50], [0, 0]]))
    assert np.isnan(result.per_class[2]).all()
    assert result.map == pytest.approx({0.7: 500 / 12, 0.9: 25})
    assert result.average == pytest.approx((500 / 12 + 25) / 2)
    assert (result.videos, result.ground_truths) == (2, 3)


def test_json():
    truth, found = {"v": [(0, 10, "a"), (20, 30, "b")]}, {"v": make([(0, 10, "a", 0.9)])}
    assert json.loads(json.dumps(mean_average_precision(truth, found, CLASSES, (0.5, 0.75)).to_json())) == {
        "average_map": 50.0, "map": {"0.5": 50.0, "0.75": 50.0}, "per_class": {"a": 100.0, "b": 0.0},
        "videos": 1, "ground_truths": 2,
    }


def test_a_second_detection_takes_the_next_best_segment_or_none():
    truth = {"v": [(0, 10, "a"), (1, 11, "a")]}
    twice = [(0, 10, "a", 0.9), (0, 10, "a", 0.8)]
    # tIoU with the second segment is 9 / 11.
    assert mean_average_precision(truth, {"v": make(twice)}, CLASSES, (0.8,)).average == 100
    assert mean_average_precision(truth, {"v": make(twice)}, CLASSES, (0.9,)).average == 50


def test_overlap_on_the_threshold_counts():
    truth, found = {"v": [(62.64, 64.64, "a")]}, {"v": make([(62.64, 63.64, "a", 0.5)])}
    assert mean_average_precision(truth, found, CLASSES, (0.5,)).average == 100


def test_of_equal_scores_the_later_comes_first():
    truth = {"v": [(0, 10, "a")]}
    hit, miss = (0, 10, "a", 0.5), (50, 60, "a", 0.5)
    assert mean_average_precision(truth, {"v": make([miss, hit])}, CLASSES, (0.5,)).average == 100
    assert mean_average_precision(truth, {"v": make([hit, miss])}, CLASSES, (0.5,)).average == 50


def test_duplicate_and_zero_length_annotations_do_not_count():
    truth = {"v": [(0, 10, "a"), (0.0005, 10.0005, "a"), (0, 10, "b"), (7, 7, "a"), (3, 3, "c")], "w": [(0, 10, "a")]}
    result = mean_average_precision(truth, {"v": make([(7, 7, "a", 0.5), (50, 50, "c", 0.5)])}, CLASSES)
    assert (result.ground_truths, result.average) == (3, 0)
    assert np.isnan(result.per_class_average).tolist() == [False, False, True]


@pytest.mark.parametrize("truth", [{}, {"v": []}, {"v": [(3, 3, "a")]}])
def test_no_ground_truth(truth):
    with pytest.raises(UserError, match="no ground-truth actions"):
        mean_average_precision(truth, {"v": make([(0, 1, "a", 0.5)])}, CLASSES)


def test_unknown_annotated_label():
    with pytest.raises(UserError, match="video 'v': label 'z' is annotated but is not one of the 3 classes"):
        mean_average_precision({"v": [(0, 1, "z")]}, {}, CLASSES)


@given(TRUTH.filter(has_truth), FOUND, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_order_does_not_matter_without_ties(truth, found, random):
    score = iter(random.sample(range(1000), 100))
    found = {video: [(*row[:3], next(score) / 1000) for row in rows] for video, rows in found.items()}
    first = mean_average_precision(truth, {video: make(rows) for video, rows in found.items()}, CLASSES)
    videos = random.sample(sorted(found), len(found))
    mixed = {video: make(random.sample(found[video], len(found[video]))) for video in videos}
    second = mean_average_precision(dict(reversed(truth.items())), mixed, CLASSES, (0.7, 0.6, 0.5, 0.4, 0.3))
    np.testing.assert_array_equal(first.per_class, second.per_class)


@given(TRUTH.filter(has_truth), st.integers(0, 10**6))
@settings(max_examples=50)
def test_perfect_detections_give_100(truth, seed):
    random = np.random.default_rng(seed)
    found = {
        video: make([(*action, random.random()) for action in dict.fromkeys(actions) if action[1] > action[0]])
        for video, actions in truth.items()
    }
    assert mean_average_precision(truth, found, CLASSES, (0.3, 0.7, 0.95, 1.0)).average == pytest.approx(100)


def test_fast_enough():
    random = np.random.default_rng(0)
    classes = [str(number) for number in range(20)]
    start = random.uniform(0, 190, (213, 15))
    truth = {str(v): [(a, a + 5, str(c)) for a, c in zip(start[v], random.integers(0, 20, 15), strict=True)]
             for v in range(213)}
    found = {str(v): Detections(random.uniform(0, 9, (94, 2)).cumsum(1), random.random(94), random.integers(0, 20, 94))
             for v in range(213)}
    begin = time.process_time()
    mean_average_precision(truth, found, classes)
    assert time.process_time() - begin < 1
