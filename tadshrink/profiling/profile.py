"""What a detector costs: parameters, multiply-adds, time and memory for a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector
from tadshrink.models.units import Unit, gone
from tadshrink.profiling.latency import Latency, measure_in_turn
from tadshrink.profiling.macs import MacsReport, detector_macs, parameters, parameters_by_part
from tadshrink.profiling.memory import peak_memory
from tadshrink.profiling.running import AS_USUAL, Measure, computing, ready
from tadshrink.profiling.throughput import Throughput, check_fps
from tadshrink.profiling.timing import Timing
from tadshrink.profiling.versus import Versus
from tadshrink.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Profile:
    """The cost of a window. ``dropped`` are units that are gone, ascending; ``summary`` is the architecture in words.

    Attributes:
        macs: of one window, whatever the batch.
        timing: None where only counted.
        versus: another one that was timed in turn with it.
    """

    params: int
    params_by_part: dict[str, int]
    macs: MacsReport
    timing: Timing | None
    architecture: DetectorConfig
    dropped: list[Unit]
    summary: str = ""
    versus: Versus | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        timing = self.timing
        return {
            "params": self.params,
            "params_by_part": self.params_by_part,
            "macs": self.macs.to_json(),
            "latency_ms": timing and timing.latency.to_json(),
            "throughput": timing and timing.throughput.to_json(),
            "peak_memory": timing and timing.memory.bytes,
            "versus": self.versus and self.versus.to_json(),
            "arch": self.architecture.model_dump(mode="json"),
            "dropped": self.dropped,
            "summary": self.summary,
        }


def profile_detector(detector: Detector, measure: Measure | None = AS_USUAL, convention: str = "full", fps: float | None = None,
                     reporter: Reporter = SILENT) -> Profile:
    """Count and measure windows of noise, in eval mode; the detector is left as it was.

    Args:
        measure: how; None only counts, which computes nothing: the detector may be without data ("meta" device).
        convention: what counts, see :data:`~tadshrink.profiling.conventions.CONVENTIONS`.
        fps: of the videos; None for those that the model was trained on, or 30 where nobody knows, which is told in the result.

    Raises:
        UserError: no such convention or device, no frame rate, or not enough memory.
    """
    check_fps(fps)
    macs = detector_macs(detector, convention)
    timing = None if measure is None else time_detector(detector, measure, fps, reporter)
    dropped = gone(detector.config.block_count, detector.blocks.left)
    return Profile(parameters(detector), parameters_by_part(detector), macs, timing, detector.config, dropped)


def time_detector(detector: Detector, measure: Measure, fps: float | None = None, reporter: Reporter = SILENT) -> Timing:
    """Time and memory of windows of noise.

    Raises:
        UserError: no such device, or not enough memory.
    """
    with computing(measure, detector.config.compute_width, reporter) as compute, ready(detector, measure, compute, reporter) as model:
        memory = peak_memory(model.run, compute.device, model.bytes)
        with reporter.track("profile", measure.warmup + measure.turns) as advance:
            (times,) = measure_in_turn([model.run], measure.warmup, measure.turns, compute.device, measure.limit, advance)
        measure.told(len(times), reporter)
        latency = Latency.of(times, compute.device, compute.dtype_name, model.inputs.shape, model.compiled)
    return Timing(latency, Throughput.of(latency.median, detector.config.sampling, measure.batch, fps), memory)
