"""A detector beside another one, timed in turn: a checkpoint, or what was exported to ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tadshrink.checkpoint.opening import path_of
from tadshrink.device import Compute
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.onnx_export.settings import is_onnx
from tadshrink.profiling.latency import Latency, Ratio, Run, measure_in_turn
from tadshrink.profiling.macs import detector_macs
from tadshrink.profiling.memory import peak_memory
from tadshrink.profiling.running import Measure, computing, ready
from tadshrink.profiling.subject import Subject, leave_out, sketched
from tadshrink.profiling.throughput import Throughput, check_fps
from tadshrink.profiling.timing import Timing
from tadshrink.profiling.windows import example_window
from tadshrink.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Versus:
    """How another detector does.

    Attributes:
        speedup: time of the one that is profiled / time of this one: above 1 where this one is faster.
        macs, macs_ratio: of this one (what was exported, for an ONNX file), and of the profiled one / this one, both in the profile's
            convention.
        provider: what of ONNX Runtime ran, or None.
    """

    other: str
    latency: Latency
    speedup: Ratio
    macs: int
    macs_ratio: float
    provider: str | None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"other": self.other, "latency_ms": self.latency.to_json(), "speedup": self.speedup.to_json(), "macs": self.macs,
                "macs_ratio": self.macs_ratio, "provider": self.provider}


@dataclass(frozen=True)
class _Rival:
    run: Run
    inputs: Tensor
    dtype: str
    macs: int
    compiled: bool = False
    provider: str | None = None


def compare(detector: Detector, other: Subject, measure: Measure, convention: str = "full", fps: float | None = None,
            reporter: Reporter = SILENT) -> tuple[Timing, Versus]:
    """Time a detector and another one in turn, which alone makes their ratio mean something.

    Raises:
        UserError: the other cannot be opened, or takes windows of another shape.
    """
    check_fps(fps)
    with (computing(measure, detector.config.compute_width, reporter) as compute, ready(detector, measure, compute, reporter) as model,
          _opened(other, measure, compute, convention, reporter) as rival):
        if model.inputs.shape != rival.inputs.shape:
            raise UserError(f"its windows are {list(rival.inputs.shape)}, not {list(model.inputs.shape)}: the times cannot be compared",
                            where=other.source, fix="Choose the same with --frames and --size")
        memory = peak_memory(model.run, compute.device, model.bytes)
        with reporter.track("profile", 2 * (measure.warmup + measure.turns)) as advance:
            times = measure_in_turn([model.run, rival.run], measure.warmup, measure.turns, compute.device, measure.limit, advance)
        measure.told(len(times[0]), reporter)
        latency = Latency.of(times[0], compute.device, compute.dtype_name, model.inputs.shape, model.compiled)
        others = Latency.of(times[1], compute.device, rival.dtype, model.inputs.shape, rival.compiled)
    timing = Timing(latency, Throughput.of(latency.median, detector.config.sampling, measure.batch, fps), memory)
    own = detector_macs(detector, convention).total
    return timing, Versus(str(other.source), others, Ratio.of(*times), rival.macs, own / rival.macs, rival.provider)


@contextmanager
def _opened(other: Subject, measure: Measure, compute: Compute, convention: str, reporter: Reporter) -> Iterator[_Rival]:
    if not isinstance(other.source, str) and is_onnx(path := path_of(other.source)):
        yield _onnx(path, measure, compute, convention, reporter)
        return
    detector, _ = other.open(reporter)
    macs = detector_macs(detector, convention).total
    with ready(detector, measure, compute, reporter) as model:
        yield _Rival(model.run, model.inputs, compute.dtype_name, macs, model.compiled)


def _onnx(path: Path, measure: Measure, compute: Compute, convention: str, reporter: Reporter) -> _Rival:
    from tadshrink.onnx_export.runtime import OnnxDetector

    model = OnnxDetector.open(path, None if measure.device is None else compute.device.type, reporter)
    inputs, masks = example_window(model.config, measure.batch)
    sketch = sketched(model.config, empty=True)
    leave_out(sketch, model.dropped, path)
    macs = detector_macs(sketch, convention).total
    return _Rival(lambda: model(inputs, masks), inputs, model.metadata.precision, macs, provider=model.provider)
