from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.profiling import versus as module
from tadshrink.profiling.macs import count_macs
from tadshrink.profiling.running import Measure
from tadshrink.profiling.subject import Subject
from tadshrink.profiling.versus import compare
from tadshrink.profiling.windows import blank_window
from tests.counting import blocks_run
from tests.profiling.models import VIDEO

pytestmark = pytest.mark.usefixtures("counted_once")
ONCE = Measure(runs=3, warmup=1, device="cpu", batch=2)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, dropped: tuple[int, ...] = ()) -> Path:
        state = Detector(VIDEO, dropped).state_dict()
        save_checkpoint(tmp_path / name, Checkpoint(VIDEO.model_dump(mode="json"), state, ["a", "b"], list(dropped)))
        return tmp_path / name

    return write


def test_another_checkpoint(save: Callable[..., Path]) -> None:
    detector = Detector(VIDEO)
    timing, versus = compare(detector, Subject(save("other.pth", (0, 2))), ONCE)
    macs, fewer = (count_macs(one, *blank_window(VIDEO)).total for one in (detector, Detector(VIDEO, (0, 2))))
    assert (versus.macs, versus.macs_ratio, versus.provider) == (fewer, macs / fewer, None)
    assert (timing.latency.runs, versus.latency.runs, versus.latency.input_shape) == (3, 3, (2, 1, 3, 16, 32, 32))
    assert versus.speedup.median == pytest.approx(timing.latency.median / versus.latency.median)
    assert versus.speedup.low <= versus.speedup.high
    assert list(versus.to_json()) == ["other", "latency_ms", "speedup", "macs", "macs_ratio", "provider"]


def test_windows_must_be_the_same(save: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"its windows are \[2, 1, 3, 32, 32, 32\], not \[2, 1, 3, 16, 32, 32\].*--frames and --size"):
        compare(Detector(VIDEO), Subject(save("other.pth"), frames=32), ONCE)


class FakeOnnx:
    config, dropped, provider, metadata = VIDEO, (1,), "cpu", SimpleNamespace(precision="int8 (dynamic)")
    opened: tuple[Any, ...] = ()
    calls = 0

    @classmethod
    def open(cls, *arguments: Any) -> FakeOnnx:
        cls.opened = arguments
        return cls()

    def __call__(self, inputs: Tensor, masks: Tensor) -> None:
        assert (inputs.dtype, masks.shape) == (torch.uint8, (2, 8))
        type(self).calls += 1


def test_an_exported_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime = pytest.importorskip("tadshrink.onnx_export.runtime")
    monkeypatch.setattr(runtime, "OnnxDetector", FakeOnnx)
    _, versus = compare(Detector(VIDEO), Subject(tmp_path / "a.onnx"), ONCE)
    assert FakeOnnx.opened[:2] == (tmp_path / "a.onnx", "cpu")
    assert FakeOnnx.calls == 1 + 3
    assert (versus.provider, versus.latency.dtype) == ("cpu", "int8 (dynamic)")
    assert versus.macs == count_macs(Detector(VIDEO, [1]), *blank_window(VIDEO)).total


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.pth: no such file"):
        compare(Detector(VIDEO), Subject(tmp_path / "none.pth"), ONCE)


def test_which_of_the_two_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Checkpoint(VIDEO.model_dump(mode="json"), Detector(VIDEO, (0, 2)).state_dict(), ["a", "b"], [0, 2])
    save_checkpoint(tmp_path / "o.pth", other)
    monkeypatch.setattr(module, "measure_in_turn", lambda runs, *rest: [[blocks_run(call)] for call in runs])
    timing, versus = module.compare(Detector(VIDEO), Subject(tmp_path / "o.pth"), ONCE)
    assert (timing.latency.median, versus.latency.median, versus.speedup.median) == (4, 2, 2)
