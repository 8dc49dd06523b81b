"""What a report tells, as plain data: nothing in here reads a file or draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tadshrink.models.units import Unit

#: Name of a model that has just been pruned.
PRUNING = "pruning"
#: Figures of a split as in the ``--json`` contract: average_map, map, per_class, videos, ground_truths.
Figures = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """One model on the way, as it was measured. What was not measured is None.

    Attributes:
        dropped: units that went since the model before.
        speedup: measured in turn with the baseline; the baseline's own is that against itself.
        kept: False for a step that was taken back.
        pruned: share of the baseline's multiply-adds that this step took out of blocks.
    """

    name: str
    dropped: tuple[Unit, ...] = ()
    blocks: int | None = None
    macs: int | None = None
    params: int | None = None
    latency_ms: float | None = None
    speedup: float | None = None
    checksum: str | None = None
    heldout: Figures | None = None
    test: Figures | None = None
    kept: bool = True
    pruned: float | None = None


@dataclass(frozen=True)
class Step:
    """One selection, drop and alignment.

    Attributes:
        ranking: ``{"metric", "baseline", "ranking": [{"block", "score", "change"}]}``, best to drop first.
        curve: mean losses of each epoch.
        seconds: by stage.
    """

    model: Model
    ranking: dict[str, Any] | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of what the model takes at once.

    Attributes:
        blocks: of each block that is left, by original index.
        before: of the same model with all its blocks, none of them pruned.
    """

    total: int
    parts: dict[str, int]
    blocks: dict[int, int]
    before: int


@dataclass(frozen=True)
class Segment:
    """When something happens in a video, in seconds; annotated ones have the score 1."""

    start: float
    end: float
    label: str
    score: float = 1.0


@dataclass(frozen=True)
class Timeline:
    """Annotated actions of a video, and what two models find there."""

    video: str
    duration: float
    truth: tuple[Segment, ...]
    baseline: tuple[Segment, ...]
    final: tuple[Segment, ...]


@dataclass(frozen=True)
class Findings:
    """A run, or the history of a single checkpoint.

    Attributes:
        summary: the architecture in words.
        recogniser: whether it is of trimmed videos.
        counted: what multiply-adds are those of.
        depth: blocks before any was dropped.
        dropped: all units that are gone, in the order of dropping.
        stopped: why the run ended, and what was kept; None while it has not.
        plan: what the run was started with; None for a checkpoint.
        file: what the history and the checksum are of; of a run, within its work dir.
        sound: whether the weights of the final file have the checksum that the run told.
        notes: what could not be had for this report, and why.
    """

    source: Path
    title: str
    summary: str
    depth: int
    classes: tuple[str, ...]
    dropped: tuple[Unit, ...]
    baseline: Model | None
    steps: tuple[Step, ...]
    final: Model | None
    history: list[dict[str, Any]]
    checksum: str
    file: str = ""
    stopped: str | None = None
    plan: dict[str, Any] | None = None
    sound: bool = True
    recogniser: bool = False
    counted: str = "a window"
    cost: Cost | None = None
    timelines: tuple[Timeline, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_run(self) -> bool:
        """Whether this is of a work dir."""
        return self.plan is not None

    @property
    def models(self) -> Iterator[Model]:
        """The baseline, if there is one, and the model of every step."""
        if self.baseline is not None:
            yield self.baseline
        yield from (step.model for step in self.steps)
