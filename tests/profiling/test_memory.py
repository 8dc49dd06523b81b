from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tadshrink.profiling import memory
from tadshrink.profiling.memory import call_memory, peak_memory

LARGE = 64 * 2**20


def test_peak_memory_sees_what_a_call_needs_for_a_while() -> None:
    idle = peak_memory(lambda: None)
    busy = peak_memory(lambda: torch.ones(LARGE, dtype=torch.uint8).sum())
    assert busy.bytes - idle.bytes > 0.9 * LARGE or busy.measured.endswith("since its start")
    assert busy.measured == idle.measured


def test_what_a_system_without_a_record_gives_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_SELF", tmp_path)
    calls: list[int] = []
    measured = peak_memory(lambda: calls.append(1))
    assert measured.measured == "resident memory of the process since its start"
    assert measured.bytes > 10 * 2**20
    assert calls == [1]


def test_an_error_of_the_call_itself_passes_through() -> None:
    def fail() -> None:
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        peak_memory(fail)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    measured = peak_memory(lambda: torch.ones(LARGE, dtype=torch.uint8, device="cuda"), "cuda")
    assert measured.measured == "allocated by torch on the GPU"
    assert measured.bytes >= LARGE
    beside = torch.ones(LARGE, dtype=torch.uint8, device="cuda")
    assert peak_memory(lambda: beside.sum(), "cuda", own=0).bytes < LARGE


def test_memory_of_a_call_by_hand() -> None:
    def call() -> torch.Tensor:
        first = torch.ones(1000)
        second = first + 1
        del first
        third = second + 1
        return third.sum()

    # Two of the three at a time, and the sum.
    assert call_memory(call, own=7).bytes == 7 + 2 * 4000 + 4
