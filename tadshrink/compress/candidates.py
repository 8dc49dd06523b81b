"""What selection chooses from, and the ranking that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Any

from tadshrink.models.units import Left, Unit, order, units

#: Units that are dropped together, neighbours in the model; () is the whole model.
Key = tuple[Unit, ...]
WHOLE: Key = ()


def candidates(left: Left, kind: str, span: int = 1) -> list[Key]:
    """Every run of ``span`` neighbouring units of a kind, ascending."""
    there = units(left, kind)
    return [tuple(there[first : first + span]) for first in range(len(there) - span + 1)]


@dataclass(frozen=True)
class Candidate:
    """Units that may be dropped together, and how that was judged.

    Attributes:
        change: score minus the score of the whole model on the same videos; None where a metric has none for it.
        videos: on how many it was judged.
        stopped: why no more, where a race was over for it before its end: "bound" or "halving".
    """

    units: Key
    score: float
    change: float | None
    videos: int
    stopped: str | None = None

    @property
    def block(self) -> Unit:
        """The unit, or the first of several."""
        return self.units[0]

    def to_json(self) -> dict[str, Any]:
        several = {"units": list(self.units)} if len(self.units) > 1 else {}
        return {"block": self.block, **several, "score": self.score, "change": self.change}


@dataclass(frozen=True)
class Ranking:
    """All candidates, best to drop first; among equals the first in the model goes first.

    Attributes:
        sign: 1 where a higher score is better, else -1.
        baseline: score of the whole model; None where a metric has none.
        videos: in the split.
        raced: those who were stopped come after the others, who was stopped last first.
    """

    metric: str
    sign: int
    baseline: float | None
    candidates: tuple[Candidate, ...]
    videos: int
    seconds: float
    raced: bool = False

    @property
    def ties(self) -> int:
        """How many share the best score."""
        best = self.candidates[0]
        return sum(item.score == best.score and item.stopped is None for item in self.candidates)

    def to_json(self) -> dict[str, Any]:
        ranking = [item.to_json() for item in self.candidates]
        if not self.raced:
            return {"metric": self.metric, "baseline": self.baseline, "ranking": ranking}
        raced = [row | {"videos": item.videos, "stopped": item.stopped} for row, item in zip(ranking, self.candidates, strict=True)]
        return {"metric": self.metric, "baseline": self.baseline, "ranking": raced, "videos": self.videos}

    def merits(self) -> dict[Key, float]:
        """By candidate, higher is better; after a race by place, as the scores are of different videos."""
        return {item.units: float(-place if self.raced else self.sign * item.score) for place, item in enumerate(self.candidates)}


def ranked(found: Sequence[Candidate], sign: int) -> tuple[Candidate, ...]:
    """Best first; the more videos a candidate was judged on, the longer it was among the best."""
    return tuple(sorted(found, key=lambda item: (item.stopped is not None, -item.videos, -sign * item.score, order(item.block))))


def kendall_tau(first: Mapping[Key, float], second: Mapping[Key, float]) -> float | None:
    """Rank agreement from -1 to 1 (tau-b, which allows for ties); None where all are equal on one side."""
    agree = ties_first = ties_second = pairs = 0
    for a, b in combinations(first, 2):
        x, y = first[a] - first[b], second[a] - second[b]
        pairs += 1
        ties_first += x == 0
        ties_second += y == 0
        agree += (x * y > 0) - (x * y < 0)
    scale = sqrt((pairs - ties_first) * (pairs - ties_second))
    return agree / scale if scale else None
