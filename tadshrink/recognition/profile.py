"""What a recogniser costs for a whole video: many views, or one compressed pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tadshrink.device import Compute
from tadshrink.errors import UserError
from tadshrink.models.units import Unit, gone
from tadshrink.profiling.conventions import find_convention
from tadshrink.profiling.latency import Latency, Ratio, measure_in_turn
from tadshrink.profiling.macs import parameters
from tadshrink.profiling.memory import PeakMemory, call_memory
from tadshrink.profiling.running import AS_USUAL, Measure, computing, enough_memory
from tadshrink.recognition.config import ONE_PASS, RecogniserConfig
from tadshrink.recognition.macs import RecogniserMacs, pass_macs, view_macs
from tadshrink.recognition.recogniser import AT_ONCE, ActionRecogniser
from tadshrink.recognition.views import Views, noise, parse_views
from tadshrink.reporting import SILENT, Advance, Reporter

#: Dense testing first: the others are compared with it.
WAYS = ("10x3", "10x1", "1x1")
#: Views in a call that are tried, beside all at once, and how often each.
TRIED, TRIES = (AT_ONCE, 10), 2


@dataclass(frozen=True)
class Way:
    """One way to classify a video, named as for ``sfc eval --views``.

    Attributes:
        macs: of a video.
        latency: with as many views in a call, ``at_once``, as are fastest; the one pass always takes a few clips at a time.
        memory: with all views in one call, as on a GPU that is kept busy.
        memory_few: with :data:`~tadshrink.recognition.recogniser.AT_ONCE` views in a call, as the one pass has clips.
        faster, leaner, leaner_few: how many times less time, ``memory`` and ``memory_few`` than the first way; times were taken in turn.
    """

    name: str
    macs: int
    latency: Latency | None = None
    memory: PeakMemory | None = None
    memory_few: PeakMemory | None = None
    faster: Ratio | None = None
    leaner: float | None = None
    leaner_few: float | None = None
    at_once: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True)
class RecogniserProfile:
    """The cost of a video.

    Attributes:
        parts: of one view, or of one pass over a video where there is a module.
        dropped: units that are gone, ascending.
    """

    params: int
    module_params: int
    parts: RecogniserMacs
    ways: tuple[Way, ...]
    architecture: RecogniserConfig
    dropped: list[Unit]
    summary: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"params": self.params, "module_params": self.module_params, "macs": self.parts.to_json(),
                "ways": [way.to_json() for way in self.ways], "arch": self.architecture.model_dump(mode="json"), "dropped": self.dropped,
                "summary": self.summary}


def profile_recogniser(recogniser: ActionRecogniser, measure: Measure | None = AS_USUAL, convention: str = "full",
                       ways: Sequence[str] = WAYS, reporter: Reporter = SILENT) -> RecogniserProfile:
    """Count and time a video of noise, in eval mode, decoding left out; with the one pass where there is a module.

    Args:
        measure: how; None only counts.
        ways: see :class:`Way`; the first is what the others are compared with.

    Raises:
        UserError: no such convention, way or device, a convention for detectors alone, or not enough memory.
    """
    if find_convention(convention).skipped is not None:
        raise UserError(f"convention {convention!r} is that of published tables of detectors, and means nothing for a recogniser",
                        fix="Choose full or fvcore")
    counted = {name: view_macs(recogniser, _views(name), convention) for name in ways}
    parts = view_macs(recogniser, 1, convention)
    if recogniser.sfc is not None:
        parts = counted[ONE_PASS] = pass_macs(recogniser, convention)
    found = tuple(Way(name, macs.total) for name, macs in counted.items())
    if measure is not None:
        found = _timed(recogniser, found, measure, reporter)
    module = 0 if recogniser.sfc is None else parameters(recogniser.sfc)
    dropped = gone(recogniser.config.block_count, recogniser.blocks.left) if recogniser.config.block_count else []
    return RecogniserProfile(parameters(recogniser), module, parts, found, recogniser.config, dropped)


def _views(name: str) -> int:
    views: Views = parse_views(name)
    return views.clips * views.crops


def _timed(recogniser: ActionRecogniser, ways: Sequence[Way], measure: Measure, reporter: Reporter) -> tuple[Way, ...]:
    with computing(measure, recogniser.config.compute_width, reporter) as compute:
        recogniser.to(compute.device)
        return time_ways([(recogniser, way) for way in ways], measure, compute, reporter)


def time_ways(subjects: Sequence[tuple[ActionRecogniser, Way]], measure: Measure, compute: Compute,
              reporter: Reporter = SILENT) -> tuple[Way, ...]:
    """Each way with what it took on a video of noise; different recognisers, which are on the device already, may be timed in turn."""
    calls = [_Call.of(recogniser.eval(), way.name, compute) for recogniser, way in subjects]
    most = max(map(len, calls))
    # What is called first takes as much as any later call.
    with enough_memory(f"{most} clips of a video at once", "Count only: --no-time"):
        memory = [call_memory(call.run, call.bytes, compute.device) for call in calls]
    few = [used if call.together else call_memory(replace(call, at_once=AT_ONCE).run, call.bytes, compute.device)
           for call, used in zip(calls, memory, strict=True)]
    with reporter.track("views at once", len(calls)) as advance:
        calls = [call.fastest(measure.limit / len(calls), advance) for call in calls]
    with reporter.track("profile", (measure.warmup + measure.turns) * len(calls)) as advance:
        times = measure_in_turn([call.run for call in calls], measure.warmup, measure.turns, compute.device, measure.limit, advance)
    measure.told(len(times[0]), reporter)
    return tuple(replace(way, latency=Latency.of(own, compute.device, compute.dtype_name, tuple(call.inputs.shape)), memory=used,
                         memory_few=less, faster=Ratio.of(times[0], own), leaner=memory[0].bytes / used.bytes,
                         leaner_few=few[0].bytes / less.bytes, at_once=call.at_once)
                 for (_, way), own, call, used, less in zip(subjects, times, calls, memory, few, strict=True))


@dataclass(frozen=True, eq=False)
class _Call:
    """Classifying one video: ``inputs`` are its clips or views, ``bytes`` those of weights and inputs."""

    recogniser: ActionRecogniser
    together: bool
    inputs: Tensor
    compute: Compute
    at_once: int

    @classmethod
    def of(cls, recogniser: ActionRecogniser, name: str, compute: Compute) -> _Call:
        """One way, see :class:`Way`."""
        together = name == ONE_PASS
        count = recogniser.config.sfc.clips if together else _views(name)
        return cls(recogniser, together, noise(recogniser.config.clip, count).to(compute.device), compute, AT_ONCE if together else count)

    @property
    def bytes(self) -> int:
        return self.inputs.nbytes + sum(value.nbytes for value in self.recogniser.state_dict().values())

    def run(self) -> object:
        """So many views at once, or the one pass."""
        with torch.inference_mode(), self.compute.autocast():
            if self.together:
                return self.recogniser.compress(self.inputs, self.at_once)
            return torch.cat([self.recogniser(part) for part in self.inputs.split(self.at_once, dim=1)], dim=1)

    def fastest(self, limit: float, advance: Advance) -> _Call:
        """With as many views in a call as are fastest here, within so many seconds: large calls may leave the processor's cache, small ones
        repeat what all have in common."""
        counts = [] if self.together else [count for count in sorted({len(self), *TRIED}) if count <= len(self)]
        calls = [replace(self, at_once=count) for count in counts]
        times = measure_in_turn([call.run for call in calls], 0, TRIES, self.compute.device, limit) if len(calls) > 1 else []
        advance(1, "")
        return min(zip(times, calls, strict=True), key=lambda pair: min(pair[0]))[1] if times else self

    def __len__(self) -> int:
        return self.inputs.shape[1]
