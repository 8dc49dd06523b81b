from __future__ import annotations

import json

import pytest
import torch

from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.profiling import profile as module
from tadshrink.profiling.macs import parameters
from tadshrink.profiling.profile import example_window, profile_detector
from tests.notes import Notes

CONFIG = DetectorConfig(
    classes=("a", "b"),
    backbone=BackboneConfig(width=8, depth=4, heads=2, table_size=32),
    head=HeadConfig(width=4, heads=2, levels=2, regression_ranges=((0, 4), (4, 100))),
    sampling=SamplingConfig(window=8, frames_per_cell=2, frame_size=32),
)


def test_the_json_has_the_documented_keys() -> None:
    detector = Detector(CONFIG, dropped=[3, 1])
    profile = profile_detector(detector, runs=2, device="cpu", warmup=0).to_json()
    assert json.loads(json.dumps(profile)) == profile
    assert list(profile) == ["params", "macs", "latency_ms", "peak_memory", "arch", "dropped", "summary"]
    assert set(profile["macs"]) == {"total", "backbone", "head", "per_block", "parts", "not_counted"}
    assert list(profile["latency_ms"]) == ["median", "p95", "runs", "device", "dtype", "input_shape"]
    assert profile["params"] == parameters(detector)
    assert len(profile["macs"]["per_block"]) == 2
    assert profile["latency_ms"]["input_shape"] == [1, 1, 3, 16, 32, 32]
    assert profile["latency_ms"]["dtype"] == "float32"
    assert profile["latency_ms"]["runs"] == 2
    assert profile["peak_memory"] > 0
    assert DetectorConfig.parse(profile["arch"], "profile") == CONFIG
    assert profile["dropped"] == [1, 3]


def test_the_detector_is_left_as_it_was() -> None:
    detector = Detector(CONFIG)
    detector.backbone.eval()
    modes = [module.training for module in detector.modules()]
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    profile_detector(detector, runs=1, device="cpu", warmup=0)
    assert [module.training for module in detector.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert not any(parameter.is_inference() for parameter in detector.parameters())


def test_the_window_fits_the_detector_and_is_always_the_same() -> None:
    inputs, masks = example_window(CONFIG)
    assert (inputs.shape, inputs.dtype) == ((1, 1, 3, 16, 32, 32), torch.uint8)
    assert (masks.shape, masks.dtype) == ((1, 8), torch.bool)
    assert masks.all()
    assert torch.equal(inputs, example_window(CONFIG)[0])


def test_a_slow_model_is_timed_less_often_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 1e-6)
    reporter = Notes()
    assert profile_detector(Detector(CONFIG), device="cpu", reporter=reporter).latency.runs == 1
    assert reporter.lines == ["1 timed instead of 20: no more fit into 0 s (--runs 20 for all)"]
    assert profile_detector(Detector(CONFIG), runs=2, device="cpu", reporter=reporter).latency.runs == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"runs": 0}, "0 runs"), ({"warmup": -1}, "after -1"), ({"device": "abacus"}, "device 'abacus' cannot be used")],
)
def test_what_cannot_be_measured_is_a_user_error(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        profile_detector(Detector(CONFIG), **options)
