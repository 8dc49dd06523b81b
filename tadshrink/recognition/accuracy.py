"""How often a recogniser names the right class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from tadshrink.evaluation.bootstrap import LEVEL


@dataclass(frozen=True)
class Accuracy:
    """Share of videos, in percent, whose class is the best guess, and of those with it among the best five.

    Attributes:
        interval: of ``top1``, see :func:`interval`.
        mean_class: mean of ``top1`` over the classes that have videos.
        per_class: ``{class: {"videos", "top1", "top5"}}``, without classes that have none.
        ranks: of each video, in their order, how many guesses were better than the right one.
    """

    videos: int
    top1: float
    top5: float
    mean_class: float
    per_class: dict[str, dict[str, float]]
    ranks: tuple[int, ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.top1 / 100, self.videos)

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {"videos": self.videos, "top1": self.top1, "top1_interval": {"level": LEVEL, "low": low, "high": high}, "top5": self.top5,
                "mean_class": self.mean_class, "per_class": self.per_class}


def accuracy(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> Accuracy:
    """Count hits.

    Args:
        probabilities: ``[videos, K]``; of equal ones the class with the lower number counts as the better guess.
        labels: int64 ``[videos]``, at least one.
    """
    order = probabilities.argsort(dim=1, descending=True, stable=True)
    ranks = (order == labels[:, None]).int().argmax(1)
    per_class = {name: {"videos": int(here.sum()), **_shares(ranks[here])}
                 for number, name in enumerate(classes) if bool((here := labels == number).any())}
    mean = sum(row["top1"] for row in per_class.values()) / len(per_class)
    return Accuracy(len(labels), **_shares(ranks), mean_class=mean, per_class=per_class, ranks=tuple(ranks.tolist()))


def interval(share: float, videos: int) -> tuple[float, float]:
    """Where a share of hits among so many videos lies, in percent, had there been others like them: Wilson's interval (1927).

    Videos are taken as independent: parts of one recording say less than that.
    """
    z = NormalDist().inv_cdf((1 + LEVEL / 100) / 2)
    centre = share + z * z / (2 * videos)
    reach = z * math.sqrt(share * (1 - share) / videos + z * z / (4 * videos * videos))
    low, high = (100 * (centre + side * reach) / (1 + z * z / videos) for side in (-1, 1))
    return max(low, 0.0), min(high, 100.0)


def _shares(ranks: Tensor) -> dict[str, float]:
    return {f"top{best}": 100 * float((ranks < best).to(torch.float64).mean()) for best in (1, 5)}
