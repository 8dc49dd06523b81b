"""Which candidates of a selection can hardly win any more, after a part of the videos.

After an eighth, a quarter and half of the videos, each candidate is compared with the leader on the videos seen so far. It is
stopped if even two standard deviations more (of the difference, over resampled sets of videos) would leave it behind, and as much
more as Student's t says where videos are few. Where that leaves too many, successive halving goes on: no more than half of all
candidates pass a quarter of the videos, and no more than a third of them pass half; but always one more than the winners that are
looked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tadshrink.compress.candidates import Key
from tadshrink.compress.judges import Judge, Tally

SIGMAS = 2.0
RESAMPLES = 100
#: Share of the videos -> share of all candidates that may go on.
RUNGS = {1 / 8: 1.0, 1 / 4: 1 / 2, 1 / 2: 1 / 3}
#: With fewer videos nothing is decided.
FEWEST = 4
BOUND, HALVING = "bound", "halving"


@dataclass(frozen=True)
class Rung:
    """After so many groups of videos, at most so many candidates go on."""

    groups: int
    most: int


def rungs(groups: Sequence[Sequence[object]], candidates: int, top: int) -> list[Rung]:
    """Where a race decides; ``groups`` hold the videos in their order."""
    total, found, seen = sum(map(len, groups)), {}, 0
    for number, group in enumerate(groups[:-1], 1):
        before, seen = seen, seen + len(group)
        for share, kept in RUNGS.items():
            if seen >= FEWEST and before < max(share * total, FEWEST) <= seen:
                found[number] = Rung(number, max(top + 1, math.ceil(kept * candidates)))
    return list(found.values())


def stopped(judge: Judge, tallies: Mapping[Key, Tally], rung: Rung, top: int) -> dict[Key, str]:
    """Which of the candidates do not go on, and why; the ``top`` best always do."""
    seen = judge.informative(next(iter(tallies.values())))
    if seen < FEWEST:
        return {}
    found = {key: judge.resampled(tally, RESAMPLES) for key, tally in tallies.items()}
    best = sorted(found, key=lambda key: -judge.sign * found[key][0])
    (leader, around), out = found[best[top - 1]], {}
    sigmas = margin(seen)
    for key in best[top:]:
        score, resampled = found[key]
        if judge.sign * (score - leader) + sigmas * float((resampled - around).std()) < 0:
            out[key] = BOUND
    alive = [key for key in best if key not in out]
    return out | dict.fromkeys(alive[rung.most :], HALVING)


def margin(videos: int) -> float:
    """How many standard deviations of resampled scores bound a difference: :data:`SIGMAS`, more for few videos.

    The quantile of Student's t by its expansion around the normal one (Abramowitz and Stegun 26.7.5), and what resampling falls short of
    the spread of so few.
    """
    z, free = SIGMAS, videos - 1
    quantile = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return quantile * math.sqrt(videos / free)
