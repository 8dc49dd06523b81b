from __future__ import annotations

import pytest
import torch

from tadshrink.recognition.accuracy import accuracy, interval

CLASSES = ("a", "b", "c", "d", "e", "f", "g")


def test_top1_and_top5_by_hand() -> None:
    # The right classes have rank 1, 2, 5, 6 and 7.
    rows = torch.tensor([[.4, .1, .1, .1, .1, .1, .1], [.5, .2, .1, .1, .05, .03, .02], [.3, .2, .16, .14, .1, .06, .04],
                         [.3, .2, .16, .14, .1, .06, .04], [.3, .2, .16, .14, .1, .06, .04]])
    found = accuracy(rows, torch.tensor([0, 1, 4, 5, 6]), CLASSES)
    assert (found.videos, found.top1, found.top5) == (5, 20.0, 60.0)
    assert found.per_class == {
        "a": {"videos": 1, "top1": 100.0, "top5": 100.0}, "b": {"videos": 1, "top1": 0.0, "top5": 100.0},
        "e": {"videos": 1, "top1": 0.0, "top5": 100.0}, "f": {"videos": 1, "top1": 0.0, "top5": 0.0},
        "g": {"videos": 1, "top1": 0.0, "top5": 0.0},
    }
    assert found.mean_class == 20.0


def test_the_mean_over_classes_counts_rare_ones_as_much() -> None:
    rows = torch.eye(3)[[0, 0, 0, 0]]
    found = accuracy(rows, torch.tensor([0, 0, 0, 2]), CLASSES[:3])
    assert (found.top1, found.mean_class) == (75.0, 50.0)
    assert found.per_class["a"]["videos"] == 3
    assert "b" not in found.per_class


def test_of_equal_guesses_the_lower_number_is_better() -> None:
    rows = torch.full((2, 7), 1 / 7)
    found = accuracy(rows, torch.tensor([0, 5]), CLASSES)
    assert (found.top1, found.top5) == (50.0, 50.0)


def test_with_few_classes_the_best_five_are_all() -> None:
    assert accuracy(torch.tensor([[0.9, 0.1]]), torch.tensor([1]), CLASSES[:2]).top5 == pytest.approx(100.0)


def test_ranks_are_told_video_by_video() -> None:
    rows = torch.tensor([[.1, .2, .7], [.7, .2, .1], [.2, .7, .1]])
    assert accuracy(rows, torch.tensor([2, 2, 0]), CLASSES[:3]).ranks == (0, 2, 1)


@pytest.mark.parametrize(("hits", "videos", "low", "high"), [
    # By hand: z = 1.96, z^2 = 3.8415. Nothing and all still leave room; the middle of a hundred is 50 +- 9.6.
    (0, 10, 0.0, 100 * 3.8415 / 13.8415), (10, 10, 100 * 10 / 13.8415, 100.0), (50, 100, 40.383, 59.617), (1, 1, 100 / 4.8415, 100.0)])
def test_the_interval_of_a_share(hits: int, videos: int, low: float, high: float) -> None:
    assert interval(hits / videos, videos) == pytest.approx((low, high), abs=1e-2)
