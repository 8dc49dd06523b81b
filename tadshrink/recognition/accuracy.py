"""How often a recogniser names the right class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Accuracy:
    """Share of videos, in percent, whose class is the best guess, and of those with it among the best five.

    Attributes:
        mean_class: mean of ``top1`` over the classes that have videos.
        per_class: ``{class: {"videos", "top1", "top5"}}``, without classes that have none.
    """

    videos: int
    top1: float
    top5: float
    mean_class: float
    per_class: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        return {"videos": self.videos, "top1": self.top1, "top5": self.top5, "mean_class": self.mean_class, "per_class": self.per_class}


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
    return Accuracy(len(labels), **_shares(ranks), mean_class=mean, per_class=per_class)


def _shares(ranks: Tensor) -> dict[str, float]:
    return {f"top{best}": 100 * float((ranks < best).to(torch.float64).mean()) for best in (1, 5)}
