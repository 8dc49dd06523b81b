from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.mean_ap import average_precision, mean_average_precision, temporal_iou

#: Annotations, detections and AP tables of OpenTAD's evaluator with a stable sort.
GOLDEN = np.load(Path(__file__).parent / "golden" / "mean_ap.npz")
CASES = sorted({name.split("/")[0] for name in GOLDEN.files if "/truth/" in name})
CLASSES = ("a", "b", "c")


def make(rows, classes=CLASSES) -> Detections:
    """Out of (start, end, label, score)."""
    return Detections([row[:2] for row in rows], [row[3] for row in rows], [classes.index(row[2]) for row in rows])


def plain_map(truth, found, classes, thresholds):
    """The rule, written as loops; found: video -> [(start, end, label, score)]."""
    table = {}
    for label in classes:
        positives = {video: [] for video in truth}
        for video, actions in truth.items():
            for start, end, name in actions:
                near = any(abs(start - a) <= 1e-3 and abs(end - b) <= 1e-3 for a, b in positives[video])
                if name == label and end > start and not near:
                    positives[video].append((start, end))
        total = sum(map(len, positives.values()))
        if not total:
            continue
        ranked = [(row, video) for video, rows in found.items() for row in rows if row[2] == label][::-1]
        ranked.sort(key=lambda pair: -pair[0][3])
        for threshold in thresholds:
            taken, hits, points = set(), 0, []
            for number, ((start, end, _, _), video) in enumerate(ranked, 1):
                choices = []
                for position, (a, b) in enumerate(positives.get(video, [])):
                    shared = max(0, min(end, b) - max(start, a))
                    overlap = shared / max((end - start) + (b - a) - shared, 1e-8)
                    if overlap >= threshold and (video, position) not in taken:
                        choices.append((overlap, position))
                if choices:
                    taken.add((video, max(choices)[1]))
                    hits += 1
                points.append((hits, hits / number))
            precisions = [max((p for h, p in points if h >= wanted), default=0) for wanted in range(1, total + 1)]
            table[label, threshold] = sum(precisions) / total
    return 100 * sum(table.values()) / len(table)


LABEL = st.sampled_from(CLASSES)
SEGMENT = st.tuples(st.integers(0, 12), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
ACTION = st.tuples(SEGMENT, LABEL).map(lambda item: (*item[0], item[1]))
TRUTH = st.dictionaries(st.sampled_from("uvw"), st.lists(ACTION, max_size=6), min_size=1)
FOUND = st.dictionaries(
    st.sampled_from("uvwx"),
    st.lists(st.tuples(ACTION, st.integers(0, 5)).map(lambda item: (*item[0], item[1] / 8)), max_size=12),
)


def has_truth(truth) -> bool:
    return any(end > start for actions in truth.values() for start, end, _ in actions)


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


@pytest.mark.parametrize("protocol", ["thumos", "anet"])
@pytest.mark.parametrize("case", CASES)
def test_golden(case, protocol):
    columns = {part: [GOLDEN[f"{case}/{part}/{name}"].tolist() for name in ("ids", "start", "end")]
               for part in ("truth", "found")}
    expected = GOLDEN[f"{case}/ap/{protocol}"]
    classes = [str(number) for number in range(len(expected))]
    videos = max((ids[0] for part in columns.values() for ids in part[0]), default=0) + 1
    truth = {video: [] for video in range(videos)}
    for (video, label), start, end in zip(*columns["truth"], strict=True):
        truth[video].append((start, end, classes[label]))
    ids = GOLDEN[f"{case}/found/ids"]
    segments = np.stack([GOLDEN[f"{case}/found/{name}"] for name in ("start", "end")], 1)
    everything = Detections(segments, GOLDEN[f"{case}/found/score"], ids[:, 1])
    found = {video: everything.take(ids[:, 0] == video) for video in dict.fromkeys(ids[:, 0].tolist())}
    result = mean_average_precision(truth, found, classes, GOLDEN[f"thresholds/{protocol}"])
    np.testing.assert_allclose(result.per_class / 100, expected, rtol=0, atol=1e-15)
    assert result.average / 100 == pytest.approx(float(GOLDEN[f"{case}/average/{protocol}"]), abs=1e-15)
    assert result.ground_truths == GOLDEN[f"{case}/truths"]


@given(TRUTH.filter(has_truth), FOUND)
@settings(max_examples=150, deadline=None)
def test_same_as_plain_loops(truth, found):
    thresholds = (0.3, 0.5, 0.6, 0.75)
    result = mean_average_precision(truth, {video: make(rows) for video, rows in found.items()}, CLASSES, thresholds)
    assert result.average == pytest.approx(plain_map(truth, found, CLASSES, thresholds), abs=1e-9)
    values = [result.average, *result.map.values(), *result.per_class[~np.isnan(result.per_class)]]
    assert all(0 <= value <= 100 + 1e-9 for value in values)
    assert list(result.map.values()) == sorted(result.map.values(), reverse=True)


@given(TRUTH.filter(has_truth), FOUND, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_does_not_matter_without_ties(truth, found, random):
    score = iter(random.sample(range(1000), 100))
    found = {video: [(*row[:3], next(score) / 1000) for row in rows] for video, rows in found.items()}
    first = mean_average_precision(truth, {video: make(rows) for video, rows in found.items()}, CLASSES)
    videos = random.sample(sorted(found), len(found))
    mixed = {video: make(random.sample(found[video], len(found[video]))) for video in videos}
    second = mean_average_precision(dict(reversed(truth.items())), mixed, CLASSES, (0.7, 0.6, 0.5, 0.4, 0.3))
    np.testing.assert_array_equal(first.per_class, second.per_class)


@given(TRUTH.filter(has_truth), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
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
    begin = time.perf_counter()
    mean_average_precision(truth, found, classes)
    assert time.perf_counter() - begin < 1
