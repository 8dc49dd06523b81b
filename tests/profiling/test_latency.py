from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import pytest
import torch

from tadshrink.profiling.latency import Latency, Ratio, measure_in_turn, measure_latency, measure_pair


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
    assert list(json) == ["median", "p95", "min", "runs", "device", "dtype", "input_shape", "threads", "torch_version", "compiled"]
    assert (json["runs"], json["device"], json["dtype"], json["input_shape"]) == (5, "cpu", "float32", [1, 2])
    assert (json["threads"], json["torch_version"], json["compiled"]) == (torch.get_num_threads(), torch.__version__, False)


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
    assert pair.speedup.median == pytest.approx(4)
    # Turn by turn 2, 4 and 2.
    assert (pair.speedup.low, pair.speedup.high) == pytest.approx((2, 3.8))


def test_several_run_in_turn_and_no_turn_begins_that_would_end_after_the_limit(takes: Callable) -> None:
    told: list[int] = []
    # A turn lasts 3 s: two to warm up and one that is timed; another would end at 12 s.
    a, b = takes([1000] * 9), takes([2000] * 9)
    times = measure_in_turn([a, b], 2, 5, "cpu", limit=9.5, advance=lambda count, text: told.append(count))
    assert times == [pytest.approx([1000]), pytest.approx([2000])]
    assert len(told) == 6


def test_a_ratio_by_hand() -> None:
    ratio = Ratio.of([4, 8, 12], [2, 2, 6])
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((4, 2, 3.8))
    assert list(ratio.to_json()) == ["median", "low", "high"]


def test_what_ran_is_told() -> None:
    latency = Latency.of([2.0, 1.0], "cpu", "bfloat16", [1, 3], compiled=True)
    assert (latency.min, latency.compiled, latency.dtype, latency.input_shape) == (1.0, True, "bfloat16", (1, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    tensor = torch.ones(512, 512, device="cuda")
    assert measure_pair(lambda: tensor @ tensor, lambda: tensor + 1, warmup=2, runs=3, device="cuda").a.min > 0
