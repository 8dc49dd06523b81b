"""What a detector costs as one thing changes: the frames of a window, the windows of a batch, or the dtype."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from tadshrink.device import Compute, with_dtype
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.profiling.latency import Latency, Ratio, measure_in_turn
from tadshrink.profiling.macs import detector_macs
from tadshrink.profiling.memory import PeakMemory, peak_memory
from tadshrink.profiling.running import DTYPES, Measure, Ready, computing, ready
from tadshrink.profiling.subject import Subject
from tadshrink.profiling.throughput import Throughput, check_fps
from tadshrink.reporting import SILENT, Reporter

#: What can change -> the values where none are given; those of frames are shares of the detector's own window.
AXES: dict[str, tuple[Any, ...]] = {"frames": (0.25, 0.5, 1, 2), "batch": (1, 2, 4, 8), "dtype": DTYPES[1:]}


@dataclass(frozen=True)
class SweepRow:
    """One value.

    Attributes:
        macs: of one window.
        speed: frames per second / frames per second at the first value, with its spread turn by turn.
    """

    value: int | str
    macs: int
    latency: Latency
    throughput: Throughput
    memory: PeakMemory
    speed: Ratio

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"value": self.value, "macs": self.macs, "latency_ms": self.latency.to_json(), "throughput": self.throughput.to_json(),
                "peak_memory": self.memory.bytes, "speed": self.speed.to_json()}


@dataclass(frozen=True)
class Sweep:
    """All values, measured in turn."""

    axis: str
    rows: list[SweepRow]
    summary: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"axis": self.axis, "rows": [row.to_json() for row in self.rows], "summary": self.summary}


@dataclass(frozen=True)
class _Point:
    value: int | str
    detector: Detector
    measure: Measure
    compute: Compute
    model: Ready
    memory: PeakMemory
    macs: int


def sweep(subject: Subject, axis: str, values: Sequence[int | str] | None, measure: Measure, fps: float | None = None,
          reporter: Reporter = SILENT) -> Sweep:
    """Measure a detector at every value of an axis (a key of :data:`AXES`), the values in turn.

    A value that does not fit (no such window, not enough memory) is left out, and that is told.

    Raises:
        UserError: no such axis or value, not one value fits, or whatever is wrong with the detector.
    """
    check_fps(fps)
    detector, text = subject.open(reporter)
    macs = detector_macs(detector).total
    chosen = _values(axis, values, detector)
    with computing(measure, detector.config.compute_width, reporter) as compute, ExitStack() as stack:
        points: list[_Point] = []
        errors: list[UserError] = []
        for value in chosen:
            try:
                points.append(_point(axis, value, subject, detector, macs, measure, compute, stack, reporter))
            except UserError as error:
                reporter.note(f"{axis} {value} is left out: {error}")
                errors.append(error)
        if not points:
            raise errors[0]
        with reporter.track(f"sweep of {axis}", len(points) * (measure.warmup + measure.turns)) as advance:
            runs = [point.model.run for point in points]
            times = measure_in_turn(runs, measure.warmup, measure.turns, compute.device, measure.limit, advance)
        measure.told(len(times[0]), reporter)
        return Sweep(axis, [_row(point, own, points[0], times[0], fps) for point, own in zip(points, times, strict=True)], text)


def _values(axis: str, values: Sequence[int | str] | None, detector: Detector) -> list[int | str]:
    if axis not in AXES:
        raise UserError(f"nothing called {axis!r} can be swept", fix=f"Choose one of {', '.join(AXES)}")
    if values is None:
        own = detector.config.sampling.frames
        return [int(own * share) for share in AXES["frames"]] if axis == "frames" else list(AXES[axis])
    wrong = [value for value in values if not (value in DTYPES if axis == "dtype" else isinstance(value, int) and value > 0)]
    if wrong or not values or len(set(values)) != len(values):
        raise UserError(f"{', '.join(map(str, wrong or values)) or 'nothing'} cannot be swept as {axis}",
                        fix="Name each value once, such as frames=128,256 or dtype=float32,bfloat16")
    return list(values)


def _point(axis: str, value: int | str, subject: Subject, detector: Detector, macs: int, measure: Measure, compute: Compute,
           stack: ExitStack, reporter: Reporter) -> _Point:
    if axis == "frames":
        detector, _ = replace(subject, frames=value).open(SILENT)
        macs = detector_macs(detector).total
    else:
        measure = replace(measure, **{axis: value})
        compute = with_dtype(compute, measure.dtype)
    model = stack.enter_context(ready(detector, measure, compute, reporter))
    return _Point(value, detector, measure, compute, model, peak_memory(model.run, compute.device, model.bytes), macs)


def _row(point: _Point, times: list[float], first: _Point, first_times: list[float], fps: float | None) -> SweepRow:
    config, shape = point.detector.config, point.model.inputs.shape
    latency = Latency.of(times, point.compute.device, point.compute.dtype_name, shape, point.model.compiled)
    # Frames per second grow with the frames and fall with the time.
    more = point.measure.batch * config.sampling.frames / (first.measure.batch * first.detector.config.sampling.frames)
    ratio = Ratio.of(first_times, times)
    return SweepRow(point.value, point.macs, latency,
                    Throughput.of(latency.median, config.sampling, point.measure.batch, fps), point.memory,
                    Ratio(ratio.median * more, ratio.low * more, ratio.high * more))
