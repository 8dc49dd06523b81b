"""How much memory a call needs at most."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_SELF = Path("/proc/self")


@dataclass(frozen=True)
class PeakMemory:
    """Most bytes in use, and ``measured``: what they are the bytes of."""

    bytes: int
    measured: str


def peak_memory(run: Callable[[], object], device: torch.device | str = "cpu", own: int | None = None) -> PeakMemory:
    """Most memory in use at any time during one call.

    On a GPU what torch has allocated there, weights included; ``own`` bytes of weights and inputs, if given, count in place of all
    that was there before the call, such as other models. On a CPU the resident memory of the whole process,
    interpreter, libraries and memory kept for reuse included; where the system cannot reset its record (other than
    Linux), the highest since the process began.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        beside = 0 if own is None else before - own
        return PeakMemory(torch.cuda.max_memory_allocated(device) - beside, "allocated by torch on the GPU")
    was_reset = _reset_high_water()
    run()
    if was_reset:
        return PeakMemory(_high_water(), "resident memory of the process during the call")
    return PeakMemory(_lifetime_peak(), "resident memory of the process since its start")


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
