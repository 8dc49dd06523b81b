from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadshrink.evaluation import nms
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.nms import soft_nms, soft_nms_many
from tadshrink.models.config import PostprocessConfig

#: Inputs and outputs of OpenTAD's compiled NMS with a stable sort; settings are sigma, min score, cap.
GOLDEN = np.load(Path(__file__).parent / "golden" / "soft_nms.npz")
INPUTS = sorted({name.split("/")[1] for name in GOLDEN.files if name.startswith("in/")})
FIELDS = ("segments", "scores", "labels")


def plain_soft_nms(segments, scores, sigma, min_score):
    """One class, element by element: kept positions and their scores."""
    start, end = (list(np.float32(column)) for column in np.transpose(segments))
    score, index = list(np.float32(scores)), list(range(len(scores)))
    size = [np.float32(b - a) + np.float32(1e-6) for a, b in zip(start, end, strict=True)]
    columns, place = (start, end, score, index, size), 0
    while place < len(index):
        best = max(range(place, len(index)), key=lambda position: (score[position], -position))
        for column in columns:
            column[place], column[best] = column[best], column[place]
        other = place + 1
        while other < len(index):
            shared = max(np.float32(0), min(end[place], end[other]) - max(start[place], start[other]))
            overlap = shared / (size[place] + size[other] - shared)
            score[other] *= np.float32(math.exp(-(overlap * overlap) / np.float32(sigma)))
            if score[other] < min_score:
                for column in columns:
                    column[other] = column[-1]
                    column.pop()
            else:
                other += 1
        place += 1
    return index, score


def random_detections(seed: int, count: int, classes: int = 3) -> Detections:
    random = np.random.default_rng(seed)
    start = random.uniform(0, 50, count)
    return Detections(np.stack([start, start + random.exponential(10, count)], 1), random.random(count),
                      random.integers(0, classes, count))


def rows(detections: Detections) -> list[tuple]:
    return list(zip(map(tuple, detections.segments.tolist()), detections.scores.tolist(), detections.labels.tolist(),
                    strict=True))


def same(a: Detections, b: Detections) -> None:
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_scores_fall_with_overlap_within_a_class():
    kept = soft_nms([[0, 10], [5, 15], [20, 30], [0, 10]], [0.8, 0.9, 0.3, 0.85], [0, 0, 0, 1], 0.5, 0, 10)
    # tIoU of the first two is 5 / 15; the third is apart and the fourth another class.
    assert kept.segments.tolist() == [[5, 15], [0, 10], [0, 10], [20, 30]]
    assert kept.labels.tolist() == [0, 1, 0, 0]
    assert kept.scores == pytest.approx([0.9, 0.85, 0.8 * math.exp(-(1 / 3) ** 2 / 0.5), 0.3])


def test_a_lowered_score_is_lowered_again():
    kept = soft_nms([[0, 8], [0, 8], [0, 8]], [0.9, 0.8, 0.7], [0, 0, 0], 1.0, 0, 10)
    assert kept.scores == pytest.approx([0.9, 0.8 * math.exp(-1), 0.7 * math.exp(-2)], rel=1e-5)


def test_first_of_equals_comes_first():
    kept = soft_nms([[0, 1], [2, 3], [4, 5]], [0.5, 0.5, 0.5], [1, 0, 1], 0.5, 0, 10)
    assert kept.segments[:, 0].tolist() == [2, 0, 4]


def test_cap_and_min_score():
    segments, scores = [[0, 4], [0, 4], [9, 12], [20, 30]], [0.9, 0.8, 0.1, 0.2]
    assert soft_nms(segments, scores, [0] * 4, 0.1, 0.05, 10).segments.tolist() == [[0, 4], [20, 30], [9, 12]]
    assert soft_nms(segments, scores, [0] * 4, 0.1, 0, 2).segments.tolist() == [[0, 4], [20, 30]]


def test_removal_moves_the_last_one_forward():
    # The second is removed, so the last takes its place and beats the third, which has the same score.
    kept = soft_nms([[0, 4], [0, 4], [10, 11], [20, 21]], [0.9, 0.2, 0.5, 0.5], [0] * 4, 0.1, 0.1, 10)
    assert kept.segments[:, 0].tolist() == [0, 20, 10]


def test_degenerate_segments_do_not_disturb_others():
    kept = soft_nms([[5, 5], [5, 5], [0, 10], [8, 2]], [0.9, 0.8, 0.7, 0.6], [0] * 4, 0.5, 0, 10)
    assert kept.scores == pytest.approx([0.9, 0.8, 0.7, 0.6])


def test_nothing_in_nothing_out():
    assert len(soft_nms(np.zeros((0, 2)), [], [], 0.5, 0, 10)) == 0
    assert soft_nms_many([], PostprocessConfig()) == []
    kept = soft_nms_many([Detections.empty(), random_detections(0, 3), Detections.empty()], PostprocessConfig())
    assert [len(video) for video in kept] == [0, 3, 0]


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("setting", range(3))
def test_golden(name, setting):
    sigma, min_score, limit = GOLDEN[f"settings/{setting}"]
    kept = soft_nms(*(GOLDEN[f"in/{name}/{field}"] for field in FIELDS), float(sigma), float(min_score), int(limit))
    segments, scores, labels = (GOLDEN[f"out/{name}/{setting}/{field}"] for field in FIELDS)
    np.testing.assert_array_equal(kept.segments, segments)
    np.testing.assert_array_equal(kept.labels, labels)
    # The C library's single-precision exponential is off by a bit at times, and a score is lowered many times.
    np.testing.assert_allclose(kept.scores, scores, rtol=1e-6, atol=0)


ITEM = st.tuples(st.integers(0, 6), st.integers(0, 4), st.sampled_from([0.1, 0.3, 0.6]))


@given(st.lists(ITEM, min_size=1, max_size=30), st.sampled_from([0.0, 0.05, 0.2]))
@settings(max_examples=150, deadline=None)
def test_same_as_the_sequential_program_even_with_ties(items, min_score):
    segments = [[start, start + length] for start, length, _ in items]
    scores = [score for _, _, score in items]
    kept = soft_nms(segments, scores, [0] * len(items), 0.3, min_score, 100)
    index, expected = plain_soft_nms(segments, scores, 0.3, min_score)
    assert kept.segments.tolist() == [segments[position] for position in index]
    assert kept.scores.tolist() == expected


@given(st.integers(0, 10**6), st.integers(0, 60), st.sampled_from([0.0, 0.01]))
@settings(max_examples=50, deadline=None)
def test_output_is_part_of_the_input_with_lower_scores(seed, count, min_score):
    before = random_detections(seed, count)
    after = soft_nms_many([before], PostprocessConfig(nms_min_score=min_score))[0]
    original = {(segment, label): score for segment, score, label in rows(before)}
    assert len({(segment, label) for segment, _, label in rows(after)}) == len(after) <= len(before)
    assert len(after) == len(before) or min_score > 0
    assert all(score <= original[segment, label] for segment, score, label in rows(after))
    assert np.all(np.diff(after.scores) <= 0)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 40), max_size=6), st.sampled_from([0.0, 0.05]),
       st.sampled_from([1, 64, 1 << 16]))
@settings(max_examples=50, deadline=None)
def test_many_videos_are_independent(seed, counts, min_score, elements):
    config = PostprocessConfig(nms_min_score=min_score, max_detections=20)
    videos = [random_detections(seed + number, count) for number, count in enumerate(counts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nms, "BLOCK_ELEMENTS", elements)
        together = soft_nms_many(videos, config)
        backwards = soft_nms_many(videos[::-1], config)[::-1]
    for video, a, b in zip(videos, together, backwards, strict=True):
        alone = soft_nms_many([video], config)[0]
        same(a, alone)
        same(b, alone)


@given(st.integers(0, 10**6), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_input_order_does_not_matter_without_ties(seed, count):
    before = random_detections(seed, count)
    shuffled = before.take(np.random.default_rng(seed).permutation(count))
    config = PostprocessConfig(nms_min_score=0.01)
    same(*(soft_nms_many([detections], config)[0] for detections in (before, shuffled)))
