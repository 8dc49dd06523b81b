"""What the recognition benchmark makes of its figures."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.recognition import BENCHMARKS, VIEWS, difference, table

FILES = ("a", "a", "b", "c")


def test_a_difference_is_that_of_the_means_over_seeds() -> None:
    more = [{"hits": [1, 1, 1, 0]}, {"hits": [1, 1, 0, 0]}]
    found, low, high = difference(more, [{"hits": [1, 0, 0, 0]}], FILES)
    assert found == 100 * 1.5 / 4
    # Of the files: one of two videos better, one better in half of the seeds, one as good.
    assert (low, high) == (0.0, 50.0)


def test_equal_ways_differ_by_nothing() -> None:
    assert difference([{"hits": [1, 0, 1, 0]}], [{"hits": [1, 0, 1, 0]}], FILES) == (0.0, 0.0, 0.0)


def test_videos_of_one_file_are_drawn_together() -> None:
    ones, others = [{"hits": [1] * 20 + [0] * 20}], [{"hits": [0] * 20 + [1] * 20}]
    apart = difference(ones, others, [str(number) for number in range(40)])
    together = difference(ones, others, ["a"] * 20 + ["b"] * 20)
    assert apart[0] == together[0] == 0
    assert together[1:] == (-100, 100)
    assert -50 < apart[1] < -20 and 20 < apart[2] < 50


def costs(ms: float, loading: float) -> dict[str, Any]:
    memory = {"bytes": 3 << 20}
    faster = {"median": 2.0, "low": 1.5, "high": 2.5}
    return {"macs": 2_000_000_000, "latency": {"median": ms}, "faster": faster, "at_once": 1, "loading": loading, "memory": memory,
            "memory_few": memory, "leaner": 6.0, "leaner_few": 1.25}


def test_the_speed_up_with_loading_counts_both() -> None:
    first, other = list(VIEWS)[:2]
    found = {first: [{"top1": 50.0, "hits": [1, 0]}], other: [{"top1": 100.0, "hits": [1, 1]}, {"top1": 50.0, "hits": [1, 0]}]}
    text = table(found, {first: costs(80, 20) | {"at_once": 10}, other: costs(15, 10)}, ["a", "b"])
    assert f"| {first} | 50.00 | 50.00 |  |  |" in text
    assert f"| {other} | 100.00, 50.00 | 75.00 | 35.36 | +25.00 (+0.00 to +50.00) |" in text
    assert f"| {first} | 2.00 | 80.0, 10 at a time | 2.00x (1.50 to 2.50) | 20.0 | 1.00x | 3 MiB | 6.0x | 3 MiB | 1.2x |" in text
    assert f"| {other} | 2.00 | 15.0 | 2.00x (1.50 to 2.50) | 10.0 | 4.00x | 3 MiB | 6.0x | 3 MiB | 1.2x |" in text


def test_dense_testing_is_what_all_others_stand_beside() -> None:
    for benchmark in BENCHMARKS.values():
        assert benchmark.ways[0] == "30 views (10x3)"
        assert len(set(benchmark.ways)) == len(VIEWS) + 4 + len(benchmark.less)
