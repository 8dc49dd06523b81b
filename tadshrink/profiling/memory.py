"""How much memory a call needs at most."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


def call_memory(run: Callable[[], object], own: int, device: torch.device | str = "cpu") -> PeakMemory:
    """Most memory that a call needs: ``own`` bytes of its weights and inputs, and the tensors that it makes.

    Unlike :func:`peak_memory` it is the same every time and can be compared between calls of one process. What operators need within
    themselves is only counted on a GPU.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return peak_memory(run, device, own)
    with _Live() as live:
        run()
    return PeakMemory(own + live.peak, "weights, inputs, and all tensors that are there at a time")


class _Live(TorchDispatchMode):
    """Counts the bytes of the tensors that were made since it began and are still there.

    Attributes:
        peak: most of them at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._there: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_address(tensor) for tensor in _tensors((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            if (address := _address(tensor)) not in given:
                storage = tensor.untyped_storage()
                self._there[address] = StorageWeakRef(storage), storage.nbytes()
        self._there = {address: item for address, item in self._there.items() if not item[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._there.values()))
        return made


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
