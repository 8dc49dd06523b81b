from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadshrink.evaluation import voting
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.voting import vote
from tadshrink.models.config import PostprocessConfig


def config(kind="opentad", threshold=0.5) -> PostprocessConfig:
    return PostprocessConfig(multiclass=False, voting=kind, voting_iou=threshold)


CANDIDATES = Detections([[0, 10], [0, 8], [2, 10], [20, 30]], [0.4, 0.2, 0.2, 0.9], [0, 1, 0, 0])
KEPT = Detections([[0, 10]], [0.4], [0])


def test_score_is_the_weight_in_opentad():
    voted = vote(KEPT, CANDIDATES, config())
    # (0.4 * 0 + 0.2 * 0 + 0.2 * 2) / 0.8 and (0.4 * 10 + 0.2 * 8 + 0.2 * 10) / 0.8
    assert voted.segments == pytest.approx(np.array([[0.5, 9.5]]))
    assert voted.scores.tolist() == KEPT.scores.tolist()
    assert voted.labels.tolist() == [0]


def test_score_times_overlap_is_the_weight_in_actionformer():
    voted = vote(KEPT, CANDIDATES, config("actionformer"))
    # tIoU of the second and third with the first is 0.8.
    assert voted.segments == pytest.approx(np.array([[0.32 / 0.72, (4 + 0.16 * 18) / 0.72]]))


def test_the_threshold_counts_itself():
    kept, other = [0, 4], [0, 2]
    candidates = Detections([kept, other], [0.5, 0.5], [0, 0])
    for threshold, end in ((0.5, 3), (0.51, 4)):
        assert vote(Detections([kept], [0.5], [0]), candidates, config(threshold=threshold)).segments.tolist() == [[0, end]]


@pytest.mark.parametrize("kind", voting.WEIGHTS)
def test_without_votes_a_segment_stays(kind):
    # Length zero (twice, so that both are 0 / 0 in the references), less than zero, and a score of zero.
    candidates = Detections([[5, 5], [5, 5], [0, 10], [8, 2], [20, 21]], [0.9, 0.8, 0.7, 0.6, 0], [0] * 5)
    voted = vote(candidates, candidates, config(kind))
    assert voted.segments.tolist() == candidates.segments.tolist()


def test_nothing_to_vote_on():
    assert len(vote(Detections.empty(), CANDIDATES, config())) == 0
    assert len(vote(Detections.empty(), Detections.empty(), config())) == 0


@pytest.mark.parametrize("kind", voting.WEIGHTS)
@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from([1, 64, 1 << 16]))
@settings(max_examples=40)
def test_boundaries_stay_among_those_of_the_voters(kind, seed, count, elements):
    random = np.random.default_rng(seed)
    start = random.integers(0, 20, count)
    candidates = Detections(np.stack([start, start + random.integers(0, 10, count)], 1), random.random(count), [0] * count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voting, "BLOCK_ELEMENTS", elements)
        voted = vote(candidates, candidates, config(kind, 0.3))
    for (start, end), (a, b) in zip(candidates.segments, voted.segments, strict=True):
        shared = np.minimum(end, candidates.segments[:, 1]) - np.maximum(start, candidates.segments[:, 0])
        union = (end - start) + np.diff(candidates.segments)[:, 0] - shared
        voters = candidates.segments[(shared > 0) & (shared >= 0.29 * union)]
        if len(voters) == 0:
            assert (a, b) == (start, end)
        else:
            assert voters[:, 0].min() - 1e-5 <= a <= voters[:, 0].max() + 1e-5
            assert voters[:, 1].min() - 1e-5 <= b <= voters[:, 1].max() + 1e-5
