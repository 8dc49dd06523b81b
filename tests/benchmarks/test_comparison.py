"""What the comparison makes of its figures."""

from __future__ import annotations

import pytest

from tests.benchmarks.comparison import METHODS, PRUNED, Dot, _findings, dots

BEFORE = Dot(1.0, 1.0, (70.0, 72.0), (60.0, 60.0))
TOLD = {"drop_over_pruning_at_75": {"median": 1.2, "low": 1.1, "high": 1.3}}


def findings(dropped: list[Dot], pruned: list[Dot]) -> str:
    return "\n".join(_findings({"block drop": dropped, PRUNED: pruned}, BEFORE, TOLD))


def test_equal_multiply_adds_and_equal_time_are_compared_seed_by_seed() -> None:
    dropped = [Dot(0.9, 1.1, (71, 71), (60, 60)), Dot(0.74, 1.3, (69, 73), (59, 61)), Dot(0.5, 1.9, (50, 50), (40, 40))]
    pruned = [Dot(0.9, 1.05, (70, 70), (60, 60)), Dot(0.76, 1.2, (70, 71.5), (59, 59)), Dot(0.5, 1.4, (52, 49), (45, 45))]
    text = findings(dropped, pruned)
    assert "With 74.0% of the multiply-adds by dropped blocks and 76.0% by pruning, the first model is 1.20x as fast" in text
    assert "test mAP of the first less that of the second: -1.00, +1.50, mean +0.25." in text
    assert ("pruning to 76% of the multiply-adds (1.20x, mAP 70.75): block drop to 74%, 1.30x, mAP 71.00; difference in mAP, seed by seed: "
            "-1.00, +1.50, mean +0.25.") in text
    assert "pruning to 50% of the multiply-adds (1.40x, mAP 50.50): block drop to 50%, 1.90x, mAP 50.00" in text
    # Within half a point of 60 on held-out videos, and of 71 on test videos.
    assert "favours dropping: block drop 26% (test mAP 71.00); channel pruning 10% (test mAP 70.00)." in text
    assert "which chose nothing: block drop 26% (test mAP 71.00); channel pruning 24% (test mAP 70.75)." in text


def test_that_nothing_is_as_fast_is_told() -> None:
    text = findings([Dot(0.75, 1.1, (71, 71), (60, 60))], [Dot(0.75, 1.2, (60, 60), (50, 50))])
    assert "pruning to 75% of the multiply-adds (1.20x, mAP 60.00): no model by block drop, of which the fastest is 1.10x." in text
    assert "channel pruning none" in text


def test_a_dot_is_the_mean_of_all_seeds_that_came_as_far() -> None:
    def point(macs: int, score: float) -> dict:
        return {"macs": macs, "testing": {"average_map": score}, "heldout": {"average_map": score + 1}}

    points = [{method: [point(90, 60), point(80, 50)] for method in METHODS}, {method: [point(92, 62)] for method in METHODS}]
    found = dots(points, {"speedups": {method: [{"median": 1.5}, {"median": 2.5}] for method in METHODS}}, 100)
    assert found["both"] == [Dot(pytest.approx(0.91), 1.5, (60, 62), (61, 63))]
