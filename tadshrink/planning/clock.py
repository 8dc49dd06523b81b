"""Clocks, and how much to measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tadshrink.reporting import Advance, Reporter

T = TypeVar("T")
#: Seconds that one measurement should take; a single window is always measured, however long that lasts.
SECONDS = 4.0
#: Timed calls of a model, and training steps, of which the first does not count.
CALLS, STEPS = 3, 3


class Clock(Reporter):
    """Notes when each step of the work is done."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        yield lambda count, text: self.ticks.append(time.perf_counter())


def fitting(seconds: float, most: int) -> int:
    """How many windows of so many seconds to measure together."""
    return max(1, min(most, int(SECONDS / CALLS / max(seconds, 1e-6))))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What the work gives, and the seconds that it takes."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started
