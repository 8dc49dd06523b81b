from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tadshrink.evaluation import bootstrap as module
from tadshrink.evaluation.bootstrap import bootstrap, resample
from tadshrink.evaluation.mean_ap import map_result
from tadshrink.evaluation.rules import ACTIVITYNET, RULES
from tests.evaluation.examples import CLASSES, FOUND, REGIONS, TRUTH, has_truth
from tests.evaluation.test_recall import compared


def random_case(seed: int = 0, videos: int = 12):
    random = np.random.default_rng(seed)
    truth = {f"v{v}": [(10 * k, 10 * k + 5, CLASSES[random.integers(3)]) for k in range(4)] for v in range(videos)}
    found = {v: [(start + random.normal(), end, label if random.random() < 0.8 else "a", random.random())
                 for start, end, label in actions for _ in range(3)] for v, actions in truth.items()}
    return truth, {video: [row for row in rows if row[0] < row[1]] for video, rows in found.items()}


@given(TRUTH.filter(has_truth), FOUND, REGIONS)
@settings(max_examples=100)
def test_with_every_video_once_it_is_the_map(truth, found, regions) -> None:
    for rule in (ACTIVITYNET, RULES["thumos14"]):
        comparison = compared({**truth, "y": []}, found, (0.25, 0.5, 0.8), rule, regions)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_draw", lambda videos, resamples, seed: np.ones((resamples, videos), np.float32))
            values = resample(comparison, 3, 2)
        assert values == pytest.approx([map_result(comparison, CLASSES).average] * 2, abs=1e-3)


def test_a_video_left_out_is_left_out_and_one_drawn_twice_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # Video v: hit; w: miss with a better score, and a missed segment.
    truth = {"v": [(0, 10, "a")], "w": [(0, 10, "a")]}
    comparison = compared(truth, {"v": [(0, 10, "a", 0.5)], "w": [(50, 60, "a", 0.9)]})
    for weights, expected in (([2, 0], 100), ([0, 2], 0), ([1, 1], 25), ([3, 1], 100 * 3 / 4 * 3 / 4)):
        monkeypatch.setattr(module, "_draw", lambda *_, weights=weights: np.array([weights], np.float32))
        assert resample(comparison, 3, 1) == pytest.approx([expected])


def test_it_holds_the_map_and_is_the_same_every_time() -> None:
    comparison = compared(*random_case())
    value = map_result(comparison, CLASSES).average
    interval = bootstrap(comparison, 3, value)
    assert interval.low < value < interval.high
    assert interval == bootstrap(comparison, 3, value) != bootstrap(comparison, 3, value, seed=1)
    assert interval.to_json() == {"level": 95, "low": interval.low, "high": interval.high, "resamples": 1000, "seed": 0}


def test_more_videos_give_a_narrower_interval() -> None:
    few, many = (np.std(resample(compared(*random_case(videos=count)), 3, 200)) for count in (6, 200))
    assert many < few / 2


def test_the_interval_lies_around_the_map_and_within_0_and_100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "resample", lambda *_: np.linspace(20, 40, 101))
    comparison = compared({"v": [(0, 10, "a")], "w": []}, {})
    assert (bootstrap(comparison, 3, 28).low, bootstrap(comparison, 3, 28).high) == pytest.approx((18.5, 37.5))
    assert (bootstrap(comparison, 3, 1).low, bootstrap(comparison, 3, 99).high) == (0, 100)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compared(*random_case())
    whole = resample(comparison, 3, 50)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert resample(comparison, 3, 50) == pytest.approx(whole)


def test_a_single_video_says_nothing() -> None:
    assert bootstrap(compared({"v": [(0, 10, "a")]}, {"v": [(0, 10, "a", 0.5)]}), 3, 100) is None


def test_resamples_without_any_ground_truth_are_left_out() -> None:
    truth = {"v": [(0, 10, "a")], "w": [], "x": [], "y": []}
    values = resample(compared(truth, {"v": [(0, 10, "a", 0.5)]}), 3, 100)
    assert 50 < len(values) < 100 and (values == 100).all()
