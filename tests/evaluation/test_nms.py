from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadshrink.evaluation import suppression
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.nms import METHODS, nms_many
from tadshrink.models.config import PostprocessConfig

#: Inputs and outputs of the compiled NMS of OpenTAD and of ActionFormer (where it differs), with a stable sort.
GOLDEN = np.load(Path(__file__).parent / "golden" / "nms.npz")
INPUTS = sorted({name.split("/")[1] for name in GOLDEN.files if name.startswith("in/")})
SETTINGS = {base: json.loads(str(GOLDEN[f"settings/{base}"])) for base in ("opentad", "actionformer")}
FIELDS = ("segments", "scores", "labels")
GATE = (0.2, 0.05)


def soft_nms(segments, scores, labels, sigma, min_score, max_detections) -> Detections:
    config = PostprocessConfig(nms_sigma=sigma, nms_min_score=min_score, max_detections=max_detections)
    return nms_many([Detections(segments, scores, labels)], config)[0]


def plain_factor(method, overlap, length):
    """With sigma and tIoU threshold 0.3."""
    decay = np.float32(math.exp(-(overlap * overlap) / np.float32(0.3)))
    gate = np.float32(GATE[0]) + np.float32(GATE[1]) * length
    return {
        "gaussian": decay,
        "linear": 1 - overlap if overlap >= np.float32(0.3) else np.float32(1),
        "soft_hard": np.float32(overlap < np.float32(0.3)),
        "gated": decay if overlap >= gate else np.float32(1),
    }[method]


def plain_soft_nms(segments, scores, method, min_score):
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
            score[other] *= plain_factor(method, overlap, size[place])
            if score[other] < min_score:
                for column in columns:
                    column[other] = column[-1]
                    column.pop()
            else:
                other += 1
        place += 1
    return index, score


def plain_hard_nms(before, threshold, min_score=0):
    """One class: kept positions."""
    order = np.argsort(-before.scores, kind="stable").tolist()
    left = [position for position in order if min_score == 0 or before.scores[position] > np.float32(min_score)]
    kept = []
    while left:
        best, *others = left
        kept.append(best)
        (a, b), left = before.segments[best], []
        for other in others:
            c, d = before.segments[other]
            shared = max(np.float32(0), min(b, d) - max(a, c))
            if shared / (b - a + np.float32(1e-6) + (d - c + np.float32(1e-6)) - shared) < np.float32(threshold):
                left.append(other)
    return kept


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
    assert nms_many([], PostprocessConfig()) == []
    kept = nms_many([Detections.empty(), random_detections(0, 3), Detections.empty()], PostprocessConfig())
    assert [len(video) for video in kept] == [0, 3, 0]


def settings_config(base: str, setting: dict) -> PostprocessConfig:
    """A setting in the words of the reference; ``voting_thresh`` is ignored there with several classes."""
    soft = setting.get("use_soft_nms", True)
    multiclass = setting.get("multiclass", True)
    return PostprocessConfig(
        nms=("soft_hard", "linear", "gaussian", "gated")[setting.get("method", 2)] if soft else "hard",
        nms_sigma=setting.get("sigma", 0.5), nms_iou=setting.get("iou_threshold", 0.1), nms_min_score=setting.get("min_score", 0),
        max_detections=setting["max_seg_num"], multiclass=multiclass, voting=base,
        voting_iou=0 if multiclass else setting["voting_thresh"], nms_gate=(setting.get("t1", 0), setting.get("t2", 0)),
    )


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(("base", "setting"), [(base, setting) for base in SETTINGS for setting in SETTINGS[base]])
def test_golden(base, setting, name):
    config = settings_config(base, SETTINGS[base][setting])
    before = Detections(*(GOLDEN[f"in/{name}/{field}"] for field in FIELDS))
    if (order := f"order/{setting}/{name}") in GOLDEN.files:
        # The references' hard NMS sorts unstably, so which of equal scores wins is chance: here as it fell for them.
        before = before.take(GOLDEN[order])
    (kept,) = nms_many([before], config)
    source = base if f"out/{base}/{setting}/{name}/labels" in GOLDEN.files else "opentad"
    segments, scores, labels = (GOLDEN[f"out/{source}/{setting}/{name}/{field}"] for field in FIELDS)
    np.testing.assert_array_equal(kept.labels, labels)
    # The C library's single-precision exponential is off by a bit at times, and a score is lowered many times.
    np.testing.assert_allclose(kept.scores, scores, rtol=3e-6, atol=1e-37)
    if config.voting_iou == 0:
        np.testing.assert_array_equal(kept.segments, segments)
    else:
        # Without votes (length or scores 0) the references give NaN, and we what NMS gave.
        voted = np.isfinite(segments).all(axis=1)
        np.testing.assert_allclose(kept.segments[voted], segments[voted], rtol=1e-6, atol=1e-5)
        (own,) = nms_many([before], config.model_copy(update={"voting_iou": 0}))
        np.testing.assert_array_equal(kept.segments[~voted], own.segments[~voted])


@pytest.mark.parametrize("multiclass", [True, False])
def test_hard_with_ties_keeps_what_does_not_overlap(multiclass):
    before = Detections(*(GOLDEN[f"in/ties200x2/{field}"] for field in FIELDS))
    (kept,) = nms_many([before], PostprocessConfig(nms="hard", nms_iou=0.5, multiclass=multiclass))
    for label in (0, 1) if multiclass else (None,):
        old, new = (part.take(slice(None) if label is None else part.labels == label) for part in (before, kept))
        expected = plain_hard_nms(old, 0.5)
        assert rows(new) == rows(old.take(np.array(expected)))


ITEM = st.tuples(st.integers(0, 6), st.integers(0, 4), st.sampled_from([0.1, 0.3, 0.6]))


@pytest.mark.parametrize("method", ["gaussian", "linear", "soft_hard", "gated"])
@given(st.lists(ITEM, min_size=1, max_size=30), st.sampled_from([0.0, 0.05, 0.2]), st.booleans())
@settings(max_examples=60)
def test_same_as_the_sequential_program_even_with_ties(method, items, min_score, multiclass):
    segments = [[start, start + length] for start, length, _ in items]
    scores = [score for _, _, score in items]
    labels = np.zeros(len(items), int) if multiclass else np.arange(len(items)) % 3
    config = PostprocessConfig(nms=method, nms_sigma=0.3, nms_iou=0.3, nms_min_score=min_score, multiclass=multiclass, nms_gate=GATE)
    (kept,) = nms_many([Detections(segments, scores, labels)], config)
    index, expected = plain_soft_nms(segments, scores, method, min_score)
    assert kept.segments.tolist() == [segments[position] for position in index]
    assert kept.scores.tolist() == expected
    assert kept.labels.tolist() == labels[index].tolist()


@given(st.lists(ITEM, min_size=1, max_size=30), st.sampled_from([0.0, 0.1, 0.3]))
@settings(max_examples=60)
def test_hard_is_classic_nms(items, min_score):
    before = Detections([[start, start + length] for start, length, _ in items], [score for *_, score in items], [0] * len(items))
    (kept,) = nms_many([before], PostprocessConfig(nms="hard", nms_iou=0.3, nms_min_score=min_score))
    assert rows(kept) == rows(before.take(np.array(plain_hard_nms(before, 0.3, min_score), dtype=int)))


@pytest.mark.parametrize("method", METHODS)
@given(st.lists(st.tuples(ITEM, st.integers(0, 4)), min_size=1, max_size=60), st.integers(1, 30), st.sampled_from([0.0, 0.15]))
@settings(max_examples=60)
def test_the_cap_only_cuts(method, items, limit, min_score):
    before = Detections([[start, start + length] for (start, length, _), _ in items], [score for (*_, score), _ in items],
                        [label for _, label in items])
    config = PostprocessConfig(nms=method, nms_sigma=0.3, nms_iou=0.3, nms_min_score=min_score)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, "STEPS", 3)
        (cut,) = nms_many([before], config.model_copy(update={"max_detections": limit}))
    (whole,) = nms_many([before], config)
    same(cut, whole.take(slice(limit)))


def test_none_sorts_and_caps():
    before = Detections([[0, 4], [0, 4], [1, 2]], [0.2, 0.9, 0.9], [1, 1, 0])
    (kept,) = nms_many([before], PostprocessConfig(nms="none", nms_min_score=0.5))
    assert rows(kept) == rows(before.take(np.array([2, 1, 0])))
    assert len(nms_many([before], PostprocessConfig(nms="none", max_detections=2))[0]) == 2


def test_classes_compete_unless_multiclass():
    before = Detections([[0, 4], [0, 4]], [0.9, 0.8], [0, 1])
    assert len(nms_many([before], PostprocessConfig(nms="hard"))[0]) == 2
    (kept,) = nms_many([before], PostprocessConfig(nms="hard", multiclass=False))
    assert rows(kept) == rows(before.take(np.array([0])))


def test_voting_only_without_multiclass():
    before = Detections([[0, 4], [0, 5]], [0.5, 0.5], [0, 0])
    config = PostprocessConfig(nms="hard", voting_iou=0.5)
    assert nms_many([before], config)[0].segments.tolist() == [[0, 4]]
    assert nms_many([before], config.model_copy(update={"multiclass": False}))[0].segments.tolist() == [[0, 4.5]]


def test_gate_grows_with_the_length_of_the_kept_segment():
    # tIoU is 0.5 both times; the gate of the first pair is 0.3 + 0.1 * 1, that of the second 0.3 + 0.1 * 4.
    before = Detections([[0, 1], [0, 0.5], [10, 14], [10, 12]], [0.9, 0.8, 0.7, 0.6], [0] * 4)
    (kept,) = nms_many([before], PostprocessConfig(nms="gated", nms_sigma=0.5, nms_gate=(0.3, 0.1)))
    assert kept.scores == pytest.approx([0.9, 0.7, 0.6, 0.8 * math.exp(-0.5)], rel=1e-4)


@given(st.integers(0, 10**6), st.integers(0, 60), st.sampled_from([0.0, 0.01]))
@settings(max_examples=30)
def test_output_is_part_of_the_input_with_lower_scores(seed, count, min_score):
    before = random_detections(seed, count)
    after = nms_many([before], PostprocessConfig(nms_min_score=min_score))[0]
    original = {(segment, label): score for segment, score, label in rows(before)}
    assert len({(segment, label) for segment, _, label in rows(after)}) == len(after) <= len(before)
    assert len(after) == len(before) or min_score > 0
    assert all(score <= original[segment, label] for segment, score, label in rows(after))
    assert np.all(np.diff(after.scores) <= 0)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 40), max_size=6), st.sampled_from([0.0, 0.05]),
       st.sampled_from([1, 64, 1 << 16]))
@settings(max_examples=30)
def test_many_videos_are_independent(seed, counts, min_score, elements):
    config = PostprocessConfig(nms_min_score=min_score, max_detections=20)
    videos = [random_detections(seed + number, count) for number, count in enumerate(counts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, "BLOCK_ELEMENTS", elements)
        together = nms_many(videos, config)
        backwards = nms_many(videos[::-1], config)[::-1]
    for video, a, b in zip(videos, together, backwards, strict=True):
        alone = nms_many([video], config)[0]
        same(a, alone)
        same(b, alone)


@given(st.integers(0, 10**6), st.integers(1, 40))
@settings(max_examples=30)
def test_input_order_does_not_matter_without_ties(seed, count):
    before = random_detections(seed, count)
    shuffled = before.take(np.random.default_rng(seed).permutation(count))
    config = PostprocessConfig(nms_min_score=0.01)
    same(*(nms_many([detections], config)[0] for detections in (before, shuffled)))


def test_a_long_video_takes_well_under_a_second():
    before = random_detections(0, 20_000, classes=20)
    before = Detections(before.segments * 20, before.scores, before.labels)
    started = time.perf_counter()
    for multiclass in (True, False):
        nms_many([before], PostprocessConfig(nms_min_score=0.001, multiclass=multiclass))
    assert time.perf_counter() - started < 2
