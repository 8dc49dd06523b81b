"""In which steps a run drops what it is to drop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tadshrink.compress.settings import AlignSettings


@dataclass(frozen=True)
class Step:
    """One selection, what is dropped by it, and the alignment after it.

    Attributes:
        count: units of the ranking that are dropped.
        span: neighbouring units that are ranked together; all of them are dropped at once.
    """

    count: int
    span: int
    align: AlignSettings


def _progressive(count: int, most: int, align: AlignSettings) -> list[Step]:
    return [Step(1, 1, align.for_drop(number, count)) for number in range(1, most + 1)]


def _one_shot(count: int, most: int, align: AlignSettings) -> list[Step]:
    return [Step(count, 1, _as_long(count, align))]


def _span(count: int, most: int, align: AlignSettings) -> list[Step]:
    return [Step(1, count, _as_long(count, align))]


def _as_long(count: int, align: AlignSettings) -> AlignSettings:
    """One alignment, on all data, of as many epochs as the progressive schedule has in all."""
    epochs = sum(align.for_drop(number, count).epochs for number in range(1, count + 1))
    return align.model_copy(update={"epochs": epochs, "subset": 1.0})


#: How many units are expected to go, how many may go, and the settings -> the steps.
SCHEDULES: dict[str, Callable[[int, int, AlignSettings], list[Step]]] = {"progressive": _progressive, "one-shot": _one_shot, "span": _span}
