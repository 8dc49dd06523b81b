from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tadshrink.compress.candidates import WHOLE, Key
from tadshrink.compress.judges import MeanJudge, Tally
from tadshrink.compress.racing import BOUND, HALVING, Rung, margin, rungs, stopped
from tadshrink.compress.selection import _Selection
from tadshrink.data.timeline import Video


class Toy(MeanJudge):
    """Mean of known numbers, of which lower is better."""

    def __init__(self, numbers: np.ndarray, seed: int = 0) -> None:
        self.numbers, self.seed = numbers, seed

    def tally(self, key: Key, videos: range) -> Tally:
        return {f"v{video:04}": np.array([self.numbers[key[0], video], 1.0]) for video in videos}

    def found(self, keys: list[Key], videos: range) -> dict[Key, Tally]:
        whole = {WHOLE: {f"v{video:04}": np.array([0.0, 1.0]) for video in videos}}
        return whole | {key: self.tally(key, videos) for key in keys}


def noisy(means: list[float], videos: int, noise: float, seed: int) -> np.ndarray:
    """Numbers of candidates on videos: what a video adds is the same for all, and each has some noise of its own."""
    rng = np.random.default_rng(seed)
    return np.array(means)[:, None] + rng.normal(0, 5, videos) + rng.normal(0, noise, (len(means), videos))


def test_who_is_beyond_the_bound_is_stopped_and_nobody_else() -> None:
    numbers = noisy([0.0, 0.1, 5.0, 9.0], 20, noise=1.0, seed=0)
    judge = Toy(numbers)
    tallies = {(key,): judge.tally((key,), range(20)) for key in range(4)}
    assert stopped(judge, tallies, Rung(1, 4), 1) == {(2,): BOUND, (3,): BOUND}
    # The third-best decides who can still be among three.
    assert stopped(judge, tallies, Rung(1, 4), 3) == {(3,): BOUND}


def test_too_many_equals_are_halved() -> None:
    judge = Toy(np.zeros((4, 8)))
    tallies = {(key,): judge.tally((key,), range(8)) for key in range(4)}
    assert stopped(judge, tallies, Rung(1, 2), 1) == {(2,): HALVING, (3,): HALVING}


def test_a_spread_that_is_common_to_all_does_not_count() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(0, 100, 16)
    judge = Toy(np.stack([common, common + 0.01 + rng.normal(0, 1e-3, 16)]))
    assert stopped(judge, {(key,): judge.tally((key,), range(16)) for key in range(2)}, Rung(1, 2), 1) == {(1,): BOUND}


@pytest.mark.parametrize(("sizes", "expected"), [
    ([1] * 32, {4: 12, 8: 6, 16: 4}), ([8] * 4, {1: 6, 2: 4}), ([1] * 8, {4: 4}), ([2, 2, 2], {2: 4}), ([3], {}), ([1, 1], {}),
    # The last group of all decides nothing.
    ([5, 5], {1: 4}),
])
def test_where_a_race_decides(sizes: list[int], expected: dict[int, int]) -> None:
    assert {rung.groups: rung.most for rung in rungs([range(size) for size in sizes], 12, 1)} == expected


def test_the_winners_asked_for_always_go_on() -> None:
    assert [rung.most for rung in rungs([range(1)] * 32, 12, 5)] == [12, 6, 6]
    # And one to beat.
    assert [rung.most for rung in rungs([range(1)] * 32, 3, 1)] == [3, 2, 2]


@dataclass
class Outcome:
    winner: Key
    looks: int
    stops: dict[Key, str | None] = field(default_factory=dict)


def race(numbers: np.ndarray, seed: int, top: int = 1) -> Outcome:
    """A whole race over videos one by one, as the evaluator runs it, without a model."""
    candidates, videos = numbers.shape
    order = np.random.default_rng(seed).permutation(videos)
    judge, looks = Toy(numbers[:, order], seed), 0
    keys: list[Key] = [(key,) for key in range(candidates)]
    groups = [[Video(f"v{video:04}", None)] for video in range(videos)]
    selection = _Selection(judge, keys, groups, rungs(groups, candidates, top), top)
    for video in range(videos):
        looks += len(selection._alive())
        selection._take(judge.found(selection._alive(), range(video, video + 1)))
        if selection._over():
            break
    ranking = selection.ranking("loss", raced=True)
    return Outcome(ranking.candidates[0].units, looks, {item.units: item.stopped for item in ranking.candidates})


def test_the_winner_of_the_full_evaluation_wins_at_least_nine_of_ten_races_with_a_third_of_the_looks() -> None:
    right, looks = 0, []
    for trial in range(100):
        numbers = noisy(list(np.random.default_rng(trial).normal(0, 1, 12)), 64, noise=1.0, seed=trial)
        outcome = race(numbers, trial)
        right += outcome.winner == (int(numbers.mean(1).argmin()),)
        looks.append(outcome.looks / numbers.size)
    assert right >= 90
    assert np.mean(looks) < 1 / 3


def test_a_clear_winner_ends_the_race_early() -> None:
    outcome = race(noisy([0.0, *[50.0] * 11], 64, noise=1.0, seed=0), seed=0)
    assert outcome.winner == (0,)
    assert outcome.looks == 12 * 8
    assert set(outcome.stops.values()) == {None, BOUND}


def test_several_winners() -> None:
    outcome = race(noisy([0.0, 20.0, 20.3, *[50.0] * 9], 64, noise=1.0, seed=0), seed=0, top=3)
    assert set(list(outcome.stops)[:3]) == {(0,), (1,), (2,)}
    assert outcome.looks == 12 * 8


def test_a_race_of_equals_costs_half_of_the_looks() -> None:
    outcome = race(np.zeros((12, 64)), seed=0)
    assert outcome.winner == (0,)
    assert outcome.looks == 12 * 16 + 6 * 16 + 4 * 32


def test_few_videos_bound_less() -> None:
    # Student's t of 97.7 %, with 3, 15 and 107 degrees of freedom, times the root of n / (n - 1).
    assert [margin(videos) for videos in (4, 16, 108)] == pytest.approx([3.31 * 1.1547, 2.18 * 1.0328, 2.02 * 1.0047], rel=0.05)
