from __future__ import annotations

import pytest

from tadshrink.compress.candidates import Candidate, Ranking, candidates, kendall_tau, ranked
from tadshrink.models.units import left_of


def test_runs_of_neighbours() -> None:
    left = left_of(5, [2, "3.mlp"])
    assert candidates(left, "block") == [(0,), (1,), (3,), (4,)]
    # Neighbours are those that are left.
    assert candidates(left, "block", 2) == [(0, 1), (1, 3), (3, 4)]
    assert candidates(left, "mlp", 2) == [("0.mlp", "1.mlp"), ("1.mlp", "4.mlp")]
    assert candidates(left, "attention", 5) == []


def tau(first: str, second: str) -> float | None:
    return kendall_tau(*({(place,): float(merit) for place, merit in enumerate(text)} for text in (first, second)))


@pytest.mark.parametrize(("first", "second", "expected"), [
    ("1234", "1234", 1), ("1234", "4321", -1),
    # Of the six pairs, one and two are the other way round.
    ("1234", "1243", 4 / 6), ("1234", "2143", 2 / 6),
    # One tie in the second: (5 - 0) / sqrt(6 * 5). One in each, of different pairs: (4 - 0) / sqrt(5 * 5).
    ("1234", "1233", 5 / 30**0.5), ("1123", "1233", 4 / 5),
    # A tie of both is none of the others.
    ("1123", "1123", 1), ("1111", "1234", None), ("1", "1", None),
])
def test_kendall_tau_by_hand(first: str, second: str, expected: float | None) -> None:
    assert tau(first, second) == (expected if expected is None else pytest.approx(expected))
    assert tau(second, first) == tau(first, second)


def test_order_of_a_ranking_and_ties() -> None:
    scores = {0: 40.0, 1: 10.0, 2: 45.0, 3: 40.0}
    found = [Candidate((block,), score, score - 50, 9) for block, score in scores.items()]
    assert [item.block for item in ranked(found, 1)] == [2, 0, 3, 1]
    assert [item.block for item in ranked(found, -1)] == [1, 0, 3, 2]


def test_who_was_stopped_comes_after_the_others_the_last_first() -> None:
    found = [Candidate((0,), 90.0, 1.0, 4, "bound"), Candidate((1,), 50.0, 0.0, 16), Candidate((2,), 80.0, 1.0, 8, "halving"),
             Candidate((3,), 60.0, 1.0, 8, "halving"), Candidate((4,), 55.0, 1.0, 16)]
    ranking = Ranking("map", 1, 50.0, ranked(found, 1), 16, 1.0, raced=True)
    assert [item.block for item in ranking.candidates] == [4, 1, 2, 3, 0]
    assert ranking.to_json()["ranking"][2] == {"block": 2, "score": 80.0, "change": 1.0, "videos": 8, "stopped": "halving"}
    assert ranking.to_json()["videos"] == 16
    assert list(ranking.merits().values()) == [0, -1, -2, -3, -4]


def test_json() -> None:
    found = (Candidate((1, 2), 10.0, -40.0, 9),)
    ranking = Ranking("map", 1, 50.0, found, 9, 1.0)
    assert ranking.to_json() == {"metric": "map", "baseline": 50.0, "ranking": [{"block": 1, "units": [1, 2], "score": 10.0, "change": -40.0}]}
