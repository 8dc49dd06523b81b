from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from tadshrink.profiling import latency
from tadshrink.profiling.latency import measure_latency, measure_pair, peak_memory


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[float]], Callable[[], object]]:
    """Makes calls that take the given milliseconds on a clock of their own."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def make(durations: Iterable[float]) -> Callable[[], object]:
        left = iter(durations)

        def run() -> None:
            now[0] += next(left) / 1000

        return run

    return make


def test_warm_up_does_not_count_and_the_statistics_are_right(takes: Callable) -> None:
    run = takes([500, 400, 3, 1, 2, 4, 10])
    measured = measure_latency(run, warmup=2, runs=5, device="cpu", dtype="float32", input_shape=torch.Size([1, 2]))
    assert measured.median == pytest.approx(3)
    # 95 % of the way through 1 2 3 4 10 is 0.8 of the way from 4 to 10.
    assert measured.p95 == pytest.approx(8.8)
    assert measured.min == pytest.approx(1)
    json = measured.to_json()
    assert list(json) == ["median", "p95", "runs", "device", "dtype", "input_shape"]
    assert (json["runs"], json["device"], json["dtype"], json["input_shape"]) == (5, "cpu", "float32", [1, 2])


def test_one_run_is_enough(takes: Callable) -> None:
    measured = measure_latency(takes([7]), warmup=0, runs=1, device="cpu")
    assert (measured.median, measured.p95, measured.min) == pytest.approx((7, 7, 7))


@pytest.mark.parametrize(("durations", "limit", "used"), [
    ([1000] * 9, 4.5, (2, 2)),  # A warm-up of 2 s; the third timed call would end at 5 s.
    ([1000] * 9, 5.5, (2, 3)),
    ([3000] * 9, 4.0, (1, 1)),  # The second warm-up would end too late; one timed call is made all the same.
    ([9000] * 9, 4.0, (1, 1)),
])
def test_no_call_begins_that_would_end_after_the_limit(takes: Callable, durations: list[float], limit: float, used: tuple[int, int]) -> None:
    told: list[int] = []
    measured = measure_latency(takes(durations), 2, 5, "cpu", limit=limit, advance=lambda count, text: told.append(count))
    assert (sum(told) - measured.runs, measured.runs) == used


def test_a_pair_runs_in_turn() -> None:
    order: list[str] = []
    measure_pair(lambda: order.append("a"), lambda: order.append("b"), warmup=1, runs=2, device="cpu")
    assert "".join(order) == "ababab"


def test_a_pair_gives_the_ratio_and_its_spread(takes: Callable) -> None:
    pair = measure_pair(takes([99, 4, 8, 12]), takes([99, 2, 2, 6]), warmup=1, runs=3, device="cpu")
    assert (pair.a.median, pair.b.median) == pytest.approx((8, 2))
    assert pair.speedup == pytest.approx(4)
    # Turn by turn 2, 4 and 2.
    assert (pair.low, pair.high) == pytest.approx((2, 3.8))


LARGE = 64 * 2**20


def test_peak_memory_sees_what_a_call_needs_for_a_while() -> None:
    idle = peak_memory(lambda: None)
    busy = peak_memory(lambda: torch.ones(LARGE, dtype=torch.uint8).sum())
    assert busy.bytes - idle.bytes > 0.9 * LARGE or busy.measured.endswith("since its start")
    assert busy.measured == idle.measured


def test_what_a_system_without_a_record_gives_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(latency, "_SELF", tmp_path)
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
    tensor = torch.ones(512, 512, device="cuda")
    pair = measure_pair(lambda: tensor @ tensor, lambda: tensor + 1, warmup=2, runs=3, device="cuda")
    assert pair.a.min > 0
    measured = peak_memory(lambda: torch.ones(LARGE, dtype=torch.uint8, device="cuda"), "cuda")
    assert measured.measured == "allocated by torch on the GPU"
    assert measured.bytes >= LARGE
