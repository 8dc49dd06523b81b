"""What a recogniser costs for a whole video: many views, or one compressed pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from tadshrink.device import Compute
from tadshrink.models.units import Unit, gone
from tadshrink.profiling.latency import Latency, Ratio, measure_in_turn
from tadshrink.profiling.macs import parameters
from tadshrink.profiling.memory import PeakMemory, call_memory
from tadshrink.profiling.running import AS_USUAL, Measure, computing
from tadshrink.recognition.config import ONE_PASS, RecogniserConfig
from tadshrink.recognition.macs import RecogniserMacs, pass_macs, view_macs
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.recognition.views import Views, noise, parse_views
from tadshrink.reporting import SILENT, Reporter

#: Dense testing first: the others are compared with it.
WAYS = ("10x3", "10x1", "1x1")


@dataclass(frozen=True)
class Way:
    """One way to classify a video, named as for ``sfc eval --views``.

    Attributes:
        macs: of a video.
        faster, leaner: how many times less time, and less memory, than the first way; times were taken in turn.
    """

    name: str
    macs: int
    latency: Latency | None = None
    memory: PeakMemory | None = None
    faster: Ratio | None = None
    leaner: float | None = None

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
    """Count and time a video of noise, in eval mode, decoding left out. All views of a way are taken together; the one pass, which is
    added where there is a module, takes a few clips at a time.

    Args:
        measure: how; None only counts.
        ways: see :class:`Way`; the first is what the others are compared with.

    Raises:
        UserError: no such convention, way or device.
    """
    counted = {name: view_macs(recogniser, _views(name), convention) for name in ways}
    parts = view_macs(recogniser, 1, convention)
    if recogniser.sfc is not None:
        parts = counted[ONE_PASS] = pass_macs(recogniser, None, convention)
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
    runs, sizes, shapes = zip(*(_run(recogniser.eval(), way.name, compute) for recogniser, way in subjects), strict=True)
    memory = [call_memory(run, size, compute.device) for run, size in zip(runs, sizes, strict=True)]
    with reporter.track("profile", (measure.warmup + measure.turns) * len(runs)) as advance:
        times = measure_in_turn(runs, measure.warmup, measure.turns, compute.device, measure.limit, advance)
    measure.told(len(times[0]), reporter)
    return tuple(replace(way, latency=Latency.of(own, compute.device, compute.dtype_name, shape), memory=used,
                         faster=Ratio.of(times[0], own), leaner=memory[0].bytes / used.bytes)
                 for (_, way), own, shape, used in zip(subjects, times, shapes, memory, strict=True))


def _run(recogniser: ActionRecogniser, name: str, compute: Compute) -> tuple[Callable[[], object], int, tuple[int, ...]]:
    """A call on one video, bytes of its weights and inputs, and the shape of the inputs."""
    together = name == ONE_PASS
    count = recogniser.config.sfc.clips if together else _views(name)
    inputs = noise(recogniser.config.clip, count).to(compute.device)

    def run() -> object:
        with torch.inference_mode(), compute.autocast():
            return recogniser.compress(inputs) if together else recogniser(inputs)

    return run, inputs.nbytes + sum(value.nbytes for value in recogniser.state_dict().values()), tuple(inputs.shape)
