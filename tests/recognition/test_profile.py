from __future__ import annotations

import pytest

from tadshrink.errors import UserError
from tadshrink.profiling.running import Measure
from tadshrink.recognition import profile
from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.profile import profile_recogniser
from tests.recognition.models import VIT, made


def test_every_way_is_timed_beside_the_first() -> None:
    found = profile_recogniser(made(VIT, SfcConfig(split="block:0", clips=4)), Measure(runs=3, warmup=0, device="cpu"))
    ways = {way.name: way for way in found.ways}
    assert {name: way.latency.input_shape[1] for name, way in ways.items()} == {"10x3": 30, "10x1": 10, "1x1": 1, "sfc": 4}
    dense = ways["10x3"]
    for way in ways.values():
        assert way.faster.median == pytest.approx(dense.latency.median / way.latency.median)
        assert way.leaner == pytest.approx(dense.memory.bytes / way.memory.bytes)
        assert way.memory_few.bytes <= way.memory.bytes
    assert ways["1x1"].leaner > ways["10x1"].leaner > 1
    assert dense.memory_few.bytes < dense.memory.bytes


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(profile, "call_memory", fails)
    with pytest.raises(UserError, match=r"not enough memory for 30 clips of a video at once\. Count only: --no-time"):
        profile_recogniser(made(VIT, None), Measure(runs=1, device="cpu"))
