"""Final detections of whole models against those of the reference programs, by the post-processing that is inferred from the file."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.postprocess import merge_videos, window_detections
from tadshrink.models.config import PostprocessConfig
from tests.golden import compact, shared
from tests.golden.cases import Models

#: Allowed differences of times (s), of scores, and of scores that may stand in either order.
TIME, SCORE, TIE = 1e-2, 1e-4, 1e-6
#: Beside what float32 cannot hold.
ROUND_OFF = 1e-5


@pytest.mark.parametrize("name", [*compact.families(), *(
    pytest.param(name, marks=pytest.mark.slow) if compact.PREFIX + name in compact.families() else name for name in shared.families())])
def test_detections(models: Models, name: str) -> None:
    case, config = models.case(name), models.detector(name, "ema").config
    calls = {key: call for key, call in case.calls.items() if call.places}
    assert calls
    for key, call in calls.items():
        found = window_detections(models.output(name, key, "ema"), call.places, config, case.scores)
        by_video: dict[str, list[Detections]] = {}
        for place, window in zip(call.places, found, strict=True):
            by_video.setdefault(place.video, []).append(window)
        flips = 0
        if call.windows:
            joined = {video: Detections.concatenate([part.rounded() for part in parts]) for video, parts in by_video.items()}
            flips = compare_videos(joined, call.windows)
        if call.final:
            merged = merge_videos(list(by_video.values()), config)
            compare_videos(dict(zip(by_video, merged, strict=True)), call.final, disturbed(flips, config.postprocess))


def disturbed(flips: int, config: PostprocessConfig) -> int:
    """How many detections may differ by more, as NMS on seconds takes rounded candidates: one that is rounded to the other side
    suppresses others by a little more or less."""
    return 5 * flips if config.nms_on == "seconds" else 0


def compare_videos(found: dict[str, Detections], expected: dict[str, Detections], disturbed: int = 0) -> int:
    assert found.keys() == expected.keys()
    return sum(compare(found[video], expected[video], disturbed) for video in expected)


def compare(found: Detections, expected: Detections, disturbed: int = 0) -> int:
    """Raise unless both hold the same detections, in the same order where scores differ by more than :data:`TIE`.

    Returns:
        how many differ, within what is allowed, by more than float32 does.
    """
    assert len(found) == len(expected)
    partner = partners(found, expected)
    missing = int((partner < 0).sum())
    if not tied(found.take(np.setdiff1d(np.arange(len(found)), partner)), expected.take(partner < 0)):
        assert missing <= disturbed, f"{missing} of {len(expected)} detections are missing"
    ours, theirs = found.take(partner[partner >= 0]), expected.take(partner >= 0)
    assert not inverted(partner[partner >= 0], ours.scores, theirs.scores).any(), "detections in another order"
    apart = (np.abs(ours.segments - theirs.segments).max(1, initial=0) > TIME / 2) | (np.abs(ours.scores - theirs.scores) > SCORE / 2)
    assert apart.mean() <= 0.01
    return int(apart.sum())


def tied(found: Detections, expected: Detections) -> bool:
    """Whether these are two with each other's scores: of candidates whose scores are equal but for round-off when soft NMS chooses
    between them, the chosen one keeps its score and the other's decays."""
    if len(expected) != 2:
        return False
    swapped = Detections(expected.segments, expected.scores[::-1], expected.labels)
    return bool((partners(found, swapped) >= 0).all())


def partners(found: Detections, expected: Detections) -> NDArray[np.int64]:
    """For each expected detection the nearest found one that is not taken yet, with the same label; -1 where none is near enough."""
    partner = np.full(len(expected), -1)
    free = np.ones(len(found), dtype=bool)
    for index in range(len(expected)):
        times = np.abs(found.segments - expected.segments[index]).max(1)
        scores = np.abs(found.scores - expected.scores[index])
        near = free & (found.labels == expected.labels[index]) & (times <= TIME + ROUND_OFF) & (scores <= SCORE + ROUND_OFF)
        if near.any():
            partner[index] = np.argmin(np.where(near, times / TIME + scores / SCORE, np.inf))
            free[partner[index]] = False
    return partner


def inverted(partner: NDArray[np.int64], ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pairs in another order, though neither program has them as a tie."""
    earlier = np.triu(np.ones((len(partner), len(partner)), dtype=bool))
    swapped = earlier & (partner[:, None] > partner[None])
    return swapped & (np.abs(ours[:, None] - ours) > TIE) & (np.abs(theirs[:, None] - theirs) > TIE)


def test_of_a_tie_in_soft_nms_either_may_keep_its_score() -> None:
    theirs = a_list(THREE[0], (6, 8, 0.5, 1), (7, 9, 0.3, 1))
    assert compare(a_list(THREE[0], (7, 9, 0.5, 1), (6, 8, 0.3, 1)), theirs) == 0
    with pytest.raises(AssertionError, match="2 of 3 detections are missing"):
        compare(a_list(THREE[0], (7, 9, 0.5, 1), (6, 8, 0.2, 1)), theirs)


def a_list(*rows: tuple[float, float, float, int]) -> Detections:
    columns = list(zip(*rows, strict=True))
    return Detections(np.array([columns[0], columns[1]]).T, np.array(columns[2]), np.array(columns[3]))


THREE = ((0, 5, 0.9, 0), (1, 2, 0.5, 1), (3, 4, 0.5, 0))


@pytest.mark.parametrize("rows", [THREE, (THREE[0], THREE[2], THREE[1]), ((0, 5.01, 0.9, 0), (1, 2, 0.4999, 1), (3, 4, 0.5, 0))])
def test_comparison_accepts(rows: tuple[tuple[float, float, float, int], ...]) -> None:
    if rows[1][2] == 0.4999:
        with pytest.raises(AssertionError):  # Too many of so few.
            compare(a_list(*rows), a_list(*THREE))
    else:
        assert compare(a_list(*rows), a_list(*THREE)) == 0
