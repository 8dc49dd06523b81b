from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tadshrink.device import choose_compute
from tadshrink.errors import UserError
from tadshrink.profiling.running import Measure
from tadshrink.recognition import profile
from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.profile import profile_recogniser
from tests.recognition.models import VIT, made

CPU = choose_compute("cpu", 1)


def test_every_way_is_timed_beside_the_first() -> None:
    found = profile_recogniser(made(VIT, SfcConfig(split="block:0", clips=4)), Measure(runs=3, warmup=0, device="cpu"))
    ways = {way.name: way for way in found.ways}
    assert {name: way.latency.input_shape[1] for name, way in ways.items()} == {"10x3": 30, "10x1": 10, "1x1": 1, "sfc": 4}
    dense = ways["10x3"]
    for way in ways.values():
        assert way.faster.median == pytest.approx(dense.latency.median / way.latency.median)
        assert way.leaner == pytest.approx(dense.memory.bytes / way.memory.bytes)
        assert way.memory_few.bytes <= way.memory.bytes
        assert way.leaner_few == pytest.approx(dense.memory_few.bytes / way.memory_few.bytes)
        assert way.at_once in {"10x3": (2, 10, 30), "10x1": (2, 10), "1x1": (1,), "sfc": (2,)}[way.name]
    assert ways["1x1"].leaner > ways["10x1"].leaner > 1
    assert dense.memory_few.bytes < dense.memory.bytes


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(profile, "call_memory", fails)
    with pytest.raises(UserError, match=r"not enough memory for 30 clips of a video at once\. Count only: --no-time"):
        profile_recogniser(made(VIT, None), Measure(runs=1, device="cpu"))


@pytest.mark.parametrize(("milliseconds", "expected"), [
    ({2: 3.0, 10: 2.0, 30: 9.0}, 10), ({2: 3.0, 10: 4.0, 30: 1.0}, 30), ({2: 1.0, 10: 2.0, 30: 3.0}, 2)])
def test_dense_views_are_timed_with_as_many_at_once_as_are_fastest(monkeypatch: pytest.MonkeyPatch, milliseconds: dict[int, float],
                                                                   expected: int) -> None:
    def in_turn(runs: list[Any], warmup: int, turns: int, *given: object) -> list[list[float]]:
        return [[milliseconds.get(run.__self__.at_once, 1.0)] * turns for run in runs]

    monkeypatch.setattr(profile, "measure_in_turn", in_turn)
    dense, sfc = profile_recogniser(made(VIT, SfcConfig(split="block:0", clips=4)), Measure(runs=2, warmup=0, device="cpu"), ways=["10x3"]).ways
    assert (dense.at_once, dense.latency.median) == (expected, min(milliseconds.values()))
    # The module's clips are taken as the tool always takes them.
    assert sfc.at_once == 2


def test_views_of_any_number_at_once_give_the_same() -> None:
    calls = [profile._Call.of(made(VIT, None), "10x1", CPU)]
    calls += [replace(calls[0], at_once=count) for count in (1, 3, 10)]
    for call in calls[1:]:
        torch.testing.assert_close(call.run(), calls[0].run())
