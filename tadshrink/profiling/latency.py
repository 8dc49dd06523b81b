"""How long calls take: one of them, or several in turn."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from tadshrink.reporting import Advance

Run = Callable[[], object]


def _nobody(count: int, text: str) -> None:
    """Told about calls where nobody listens."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds per call over ``runs`` calls, and of what: ``dtype`` and ``input_shape`` where the caller told.

    Attributes:
        threads: that torch computes with on a CPU.
        torch_version: of what computed.
        compiled: whether what ran was made by ``torch.compile``.
    """

    median: float
    p95: float
    min: float
    runs: int
    device: str
    dtype: str | None = None
    input_shape: tuple[int, ...] | None = None
    threads: int = field(default_factory=torch.get_num_threads)
    torch_version: str = torch.__version__
    compiled: bool = False

    @classmethod
    def of(cls, times: Sequence[float], device: torch.device | str, dtype: str | None = None, input_shape: Sequence[int] | None = None,
           compiled: bool = False) -> Latency:
        """The statistics of single calls."""
        shape = None if input_shape is None else tuple(input_shape)
        return cls(statistics.median(times), _quantile(times, 0.95), min(times), len(times), str(device), dtype, shape, compiled=compiled)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"input_shape": None if self.input_shape is None else list(self.input_shape)}


@dataclass(frozen=True)
class Ratio:
    """How many times as long one call takes as another: of their medians, and the 5 % and 95 % quantile of it turn by turn."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, slow: Sequence[float], fast: Sequence[float]) -> Ratio:
        """Milliseconds of both, turn by turn."""
        ratios = [one / other for one, other in zip(slow, fast, strict=True)]
        return cls(statistics.median(slow) / statistics.median(fast), _quantile(ratios, 0.05), _quantile(ratios, 0.95))

    def to_json(self) -> dict[str, float]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True)
class LatencyPair:
    """Two calls measured in turn; the speed-up is how many times as long ``a`` takes: above 1 where ``b`` is faster."""

    a: Latency
    b: Latency
    speedup: Ratio


def measure_latency(
    run: Run,
    warmup: int,
    runs: int,
    device: torch.device | str,
    dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
    limit: float = math.inf,
    advance: Advance = _nobody,
) -> Latency:
    """Time ``runs`` calls after ``warmup`` calls that do not count; CUDA events on a GPU, the wall clock elsewhere.

    ``limit`` and ``advance`` as in :func:`measure_in_turn`.
    """
    (times,) = measure_in_turn([run], warmup, runs, device, limit, advance)
    return Latency.of(times, device, dtype, input_shape)


def measure_pair(
    a: Run,
    b: Run,
    warmup: int,
    runs: int,
    device: torch.device | str,
    dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
) -> LatencyPair:
    """Two calls by :func:`measure_in_turn`."""
    times = measure_in_turn([a, b], warmup, runs, device)
    first, second = (Latency.of(own, device, dtype, input_shape) for own in times)
    return LatencyPair(first, second, Ratio.of(*times))


def measure_in_turn(runs: Sequence[Run], warmup: int, turns: int, device: torch.device | str, limit: float = math.inf,
                    advance: Advance = _nobody) -> list[list[float]]:
    """Time several calls in turn, a b c a b c ..., so that whatever else the machine does slows all alike.

    Times of different runs of a program cannot be compared; the ratio within one run can.

    Args:
        warmup: turns that do not count.
        limit: seconds; no turn begins that would end after them, but one is always timed.
        advance: told about every call.

    Returns:
        Milliseconds of every call, by turn: as many for each of ``runs``.
    """
    timer, until = _timer(torch.device(device)), time.perf_counter() + limit
    _turns(timer, runs, warmup, until, advance)
    done = _turns(timer, runs, 1, math.inf, advance)
    done += _turns(timer, runs, turns - 1, until, advance, sum(done[0]))
    return [list(times) for times in zip(*done, strict=True)]


def _turns(timer: Callable[[Run], float], runs: Iterable[Run], count: int, until: float, advance: Advance,
           lasts: float = 0.0) -> list[list[float]]:
    """Milliseconds of up to ``count`` turns, while the next will end before ``until`` if it lasts as long as the one before."""
    turns: list[list[float]] = []
    while len(turns) < count and time.perf_counter() + lasts / 1000 < until:
        turn = []
        for run in runs:
            turn.append(timer(run))
            advance(1, "")
        turns.append(turn)
        lasts = sum(turn)
    return turns


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


def _quantile(values: Sequence[float], level: float) -> float:
    """Linear between the two nearest values."""
    return float(np.quantile(values, level))
