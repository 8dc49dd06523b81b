"""From what was measured on a few windows to the time of every stage: scaled by windows, candidates and epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

from tadshrink.compress.candidates import candidates
from tadshrink.compress.racing import RUNGS
from tadshrink.compress.settings import AlignSettings
from tadshrink.data.datasets import HELDOUT
from tadshrink.models.units import Left, units
from tadshrink.planning.counts import SplitSize
from tadshrink.planning.speeds import Loading, Quick
from tadshrink.profiling.running import AS_USUAL
from tadshrink.run_settings import RunSettings
from tadshrink.schedules import Step
from tadshrink.stages.merge import WINDOWS
from tadshrink.training.draws import Draws

#: Few and short measurements may be wrong by this factor, up and down.
ROUGH = 1.3


@dataclass(frozen=True)
class Seconds:
    """From ... to: as if loading (and a teacher) took no time beside computing, and as if neither could go on beside the other."""

    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.low + other.low, self.high + other.high)

    @classmethod
    def both(cls, computing: float, loading: Seconds) -> Seconds:
        """Of work whose data is loaded by a thread beside it, with the error of measuring."""
        return cls(max(computing, loading.low) / ROUGH, (computing + loading.high) * ROUGH)

    def to_json(self) -> list[float]:
        """As plain data."""
        return [self.low, self.high]


@dataclass
class Estimate:
    """The time of every stage of a run.

    Attributes:
        left: of the baseline.
        room: bytes in which frames are kept; 0 where none are.
        seen: splits whose frames have been loaded, by an earlier stage.
    """

    quick: Quick
    sizes: Mapping[str, SplitSize]
    settings: RunSettings
    left: Left
    room: int
    seen: set[str] = field(default_factory=set)

    def measured(self, gone: int) -> Seconds:
        """Held-out accuracy, latency and MACs of a model without so many units."""
        calls = AS_USUAL.warmup + self.settings.latency_runs
        latency = calls * (2 * self.quick.speed.before - gone * self.quick.speed.unit)
        return self.tested(HELDOUT, gone) + Seconds.both(latency + self.quick.speed.counting, Seconds())

    def tested(self, split: str, gone: int) -> Seconds:
        """Accuracy on a split."""
        windows = self.sizes[split].windows
        return Seconds.both(windows * max(0.0, self.quick.detected - gone * self._unit), self._loading(split, self.quick.loading, windows))

    def selected(self, step: Step, gone: int) -> Seconds:
        """A selection, of a model without so many units already."""
        judged, windows = self.quick.judged, self.sizes[HELDOUT].windows
        if judged is None:
            return Seconds()
        loading, count = self._loading(HELDOUT, self.quick.loading, windows), self.candidates(step, gone)
        whole, each = max(0.0, judged.whole - gone * self._unit), max(0.0, judged.each - gone * self._unit / 2)
        slow = Seconds.both(windows * (whole + count * each), loading)
        if not self.settings.select.race:
            return slow
        # All but two candidates may be out at the first decision.
        first = min(RUNGS)
        fast = Seconds.both(windows * (whole + (first * count + (1 - first) * 2) * each), loading)
        return Seconds(fast.low, slow.high)

    def candidates(self, step: Step, gone: int) -> int:
        """How many a selection judges."""
        kind = self.settings.unit
        return len(candidates(self.left, kind, step.span)) - gone if gone < len(units(self.left, kind)) else 0

    def aligned(self, align: AlignSettings, gaps: int) -> Seconds:
        """A head start for so many gaps, and training."""
        started = Seconds()
        if align.init != "none":
            windows, drawing = gaps * align.init_windows, self.quick.drawing
            started = Seconds.both(2 * windows * self.quick.speed.before, Seconds(windows * drawing.warm, windows * drawing.cold))
        trained = self.quick.trained
        if trained is None or not align.epochs:
            return started
        windows = self.batches(align) * align.batch_size
        taught = align.epochs * windows
        if align.repeats and trained.answer * windows <= align.teacher_memory * 1e9:
            taught = windows
        loading = self._loading("train", self.quick.drawing, windows, align.epochs)
        # The teacher works in a thread of its own, too.
        teaching = taught * trained.teacher
        return started + Seconds.both(align.epochs * windows * trained.student, loading + Seconds(teaching, teaching))

    def batches(self, align: AlignSettings) -> int:
        """Training batches of an epoch."""
        samples: object = SimpleNamespace(samples=range(self.sizes["train"].windows))
        return Draws(samples, align.batch_size, align.seed, subset=align.subset).batches_per_epoch  # type: ignore[arg-type]

    def merged(self, gone: int) -> Seconds:
        """Both models on a few windows."""
        computing = 2 * WINDOWS * max(0.0, self.quick.speed.before - gone * self.quick.speed.unit)
        return Seconds.both(computing, Seconds(0.0, WINDOWS * self.quick.loading.cold))

    @property
    def _unit(self) -> float:
        """Seconds per window that one unit less saves where windows come in batches."""
        speed = self.quick.speed
        return speed.unit * min(1.0, self.quick.detected / speed.before)

    def _loading(self, split: str, loading: Loading, windows: int, times: int = 1) -> Seconds:
        """Of all windows of a split, so many times; what has been loaded before may still be in memory, if there is room."""
        cold, warm, size = windows * loading.cold, windows * loading.warm, windows * loading.bytes
        first = 0 if split in self.seen else 1
        self.seen.add(split)
        again = Seconds(cold if size > self.room else min(cold, warm), min(cold, warm) if 2 * size <= self.room else cold)
        return Seconds(first * cold + (times - first) * again.low, first * cold + (times - first) * again.high)
