"""How figures of several seeds are told in a table."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev


def cells(scores: Sequence[float]) -> tuple[str, str, str]:
    """All of them, their mean, and their standard deviation where there are two."""
    return ", ".join(f"{score:.2f}" for score in scores), f"{mean(scores):.2f}", f"{stdev(scores):.2f}" if len(scores) > 1 else ""
