"""How long a call takes and how much memory it needs at most."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tadshrink.reporting import Advance

_SELF = Path("/proc/self")

Run = Callable[[], object]


@dataclass(frozen=True)
class Latency:
    """Milliseconds per call over ``runs`` calls. ``dtype`` and ``input_shape`` say what of, where the caller told."""

    median: float
    p95: float
    min: float
    runs: int
    device: str
    dtype: str | None = None
    input_shape: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data, without the minimum: it says more about the machine than about the call."""
        shape = None if self.input_shape is None else list(self.input_shape)
        return {key: value for key, value in asdict(self).items() if key != "min"} | {"input_shape": shape}


@dataclass(frozen=True)
class LatencyPair:
    """Two calls measured in turn.

    Attributes:
        speedup: median of ``a`` / median of ``b``: above 1 where ``b`` is faster.
        low, high: 5 % and 95 % quantile of the same ratio, taken turn by turn.
    """

    a: Latency
    b: Latency
    speedup: float
    low: float
    high: float


@dataclass(frozen=True)
class PeakMemory:
    """Most bytes in use, and ``measured``: what they are the bytes of."""

    bytes: int
    measured: str


def measure_latency(
    run: Run,
    warmup: int,
    runs: int,
    device: torch.device | str,
    dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
    limit: float = math.inf,
    advance: Advance = lambda count, text: None,
) -> Latency:
    """Time ``runs`` calls after ``warmup`` calls that do not count; CUDA events on a GPU, the wall clock elsewhere.

    Args:
        limit: seconds; no call begins that would end after them, but one call is always timed.
        advance: told about every call.
    """
    timer, until = _timer(torch.device(device)), time.perf_counter() + limit
    _calls(timer, run, warmup, until, advance)
    times = _calls(timer, run, 1, math.inf, advance)
    times += _calls(timer, run, runs - 1, until, advance, times[0])
    return _latency(times, device, dtype, input_shape)


def measure_pair(
    a: Run,
    b: Run,
    warmup: int,
    runs: int,
    device: torch.device | str,
    dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
) -> LatencyPair:
    """Time two calls in turn, a b a b ..., so that whatever else the machine does slows both alike.

    Times of different runs of a program cannot be compared; the ratio within one run can.
    """
    timer = _timer(torch.device(device))
    for run in (a, b) * warmup:
        timer(run)
    turns = [(timer(a), timer(b)) for _ in range(runs)]
    first, second = (_latency(times, device, dtype, input_shape) for times in zip(*turns, strict=True))
    ratios = [one / other for one, other in turns]
    return LatencyPair(first, second, first.median / second.median, _quantile(ratios, 0.05), _quantile(ratios, 0.95))


def peak_memory(run: Run, device: torch.device | str = "cpu") -> PeakMemory:
    """Most memory in use at any time during one call.

    On a GPU what torch has allocated there, weights included. On a CPU the resident memory of the whole process,
    interpreter, libraries and memory kept for reuse included; where the system cannot reset its record (other than
    Linux), the highest since the process began.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return PeakMemory(torch.cuda.max_memory_allocated(device), "allocated by torch on the GPU")
    was_reset = _reset_high_water()
    run()
    if was_reset:
        return PeakMemory(_high_water(), "resident memory of the process during the call")
    return PeakMemory(_lifetime_peak(), "resident memory of the process since its start")


def _calls(timer: Callable[[Run], float], run: Run, count: int, until: float, advance: Advance,
           lasts: float = 0.0) -> list[float]:
    """Milliseconds of up to ``count`` calls, while the next will end before ``until`` if it lasts as long as the one before."""
    times: list[float] = []
    while len(times) < count and time.perf_counter() + lasts / 1000 < until:
        lasts = timer(run)
        times.append(lasts)
        advance(1, "")
    return times


def _timer(device: torch.device) -> Callable[[Run], float]:
    """A function that gives the milliseconds one call takes on ``device``."""

    def on_cpu(run: Run) -> float:
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) * 1000

    def on_cuda(run: Run) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.device(device):
            start.record()
            run()
            end.record()
        end.synchronize()
        return start.elapsed_time(end)

    return on_cuda if device.type == "cuda" else on_cpu


def _latency(
    times: Sequence[float], device: torch.device | str, dtype: str | None, input_shape: Sequence[int] | None
) -> Latency:
    shape = None if input_shape is None else tuple(input_shape)
    return Latency(
        statistics.median(times), _quantile(times, 0.95), min(times), len(times), str(device), dtype, shape
    )


def _quantile(values: Sequence[float], level: float) -> float:
    """Linear between the two nearest values."""
    return float(np.quantile(values, level))


def _reset_high_water() -> bool:
    """Make the system's record of the highest resident memory start anew; False where it cannot."""
    try:
        _high_water()
        (_SELF / "clear_refs").write_text("5")
    except (OSError, LookupError):
        return False
    return True


def _high_water() -> int:
    """Highest resident memory since the last reset, in bytes."""
    fields = dict(line.split(":", 1) for line in (_SELF / "status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def _lifetime_peak() -> int:
    import resource  # Not on Windows.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
