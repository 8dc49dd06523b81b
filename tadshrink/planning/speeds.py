"""What a quick measurement tells: seconds for each thing that a run does many times."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Speed:
    """One window through the model, and through the model without ``gone`` units, in seconds; and the time that counting its MACs takes."""

    before: float
    after: float
    gone: int
    calls: int
    counting: float

    @property
    def unit(self) -> float:
        """Seconds that one unit less saves."""
        return max(0.0, self.before - self.after) / self.gone if self.gone else 0.0


@dataclass(frozen=True)
class Loading:
    """Seconds per window: from the file, and once its frames are in memory; and the bytes that they take there."""

    cold: float
    warm: float
    bytes: float
    windows: int


@dataclass(frozen=True)
class Judged:
    """Seconds per window of a selection: without any candidate, and for each candidate more."""

    whole: float
    each: float
    windows: int


@dataclass(frozen=True)
class Trained:
    """Seconds per window of a training step, of the teacher and of all else; and the bytes of the teacher's answer."""

    teacher: float
    student: float
    answer: float
    steps: int
    windows: int


@dataclass(frozen=True)
class Quick:
    """All that was measured.

    Attributes:
        detected: seconds from one loaded window to its detections.
        judged, trained: None where a run does nothing of the kind.
        seconds: that it took to measure.
    """

    speed: Speed
    loading: Loading
    drawing: Loading
    detected: float
    judged: Judged | None
    trained: Trained | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def words(self) -> str:
        """What it was measured on."""
        steps = f" and {self.trained.steps} training steps (batches of {self.trained.windows})" if self.trained else ""
        return f"{self.loading.windows} windows read, {self.speed.calls} passes of each model{steps}"
