"""What one call on a batch of windows takes."""

from __future__ import annotations

from dataclasses import dataclass

from tadshrink.profiling.latency import Latency
from tadshrink.profiling.memory import PeakMemory
from tadshrink.profiling.throughput import Throughput


@dataclass(frozen=True)
class Timing:
    """Its time, how much video that is in a second, and its memory."""

    latency: Latency
    throughput: Throughput
    memory: PeakMemory
