from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector
from tadshrink.profiling import running
from tadshrink.profiling.macs import parameters
from tadshrink.profiling.profile import profile_detector
from tadshrink.profiling.running import Measure
from tadshrink.profiling.subject import sketched
from tests.notes import Notes
from tests.profiling.models import FEATURES, VIDEO

pytestmark = pytest.mark.usefixtures("counted_once")
ONCE = Measure(runs=1, warmup=0, device="cpu")


def test_the_json_has_the_documented_keys() -> None:
    detector = Detector(VIDEO, dropped=[3, 1])
    profile = profile_detector(detector, replace(ONCE, runs=2)).to_json()
    assert json.loads(json.dumps(profile)) == profile
    assert list(profile) == ["params", "params_by_part", "macs", "latency_ms", "throughput", "peak_memory", "versus", "arch", "dropped",
                             "summary"]
    assert set(profile["macs"]) == {"total", "backbone", "head", "per_block", "parts", "not_counted", "convention"}
    assert (profile["params"], profile["macs"]["convention"]) == (parameters(detector), "full")
    assert len(profile["macs"]["per_block"]) == 2
    latency = profile["latency_ms"]
    assert (latency["input_shape"], latency["dtype"], latency["runs"], latency["compiled"]) == ([1, 1, 3, 16, 32, 32], "float32", 2, False)
    assert latency["min"] <= latency["median"] <= latency["p95"]
    assert profile["peak_memory"] > 0
    assert profile["throughput"]["frames_per_second"] == pytest.approx(16 / latency["median"] * 1000)
    assert DetectorConfig.parse(profile["arch"], "profile") == VIDEO
    assert (profile["dropped"], profile["versus"]) == ([1, 3], None)


def test_only_counting_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "choose_compute", None)
    profile = profile_detector(sketched(VIDEO, empty=True), None, "paper").to_json()
    assert (profile["latency_ms"], profile["throughput"], profile["peak_memory"]) == (None, None, None)
    assert profile["macs"]["convention"] == "paper"
    assert profile["macs"]["total"] > 0


def test_the_detector_is_left_as_it_was() -> None:
    detector = Detector(VIDEO)
    detector.backbone.eval()
    modes = [module.training for module in detector.modules()]
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    profile_detector(detector, ONCE)
    assert [module.training for module in detector.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert not any(parameter.is_inference() for parameter in detector.parameters())


def test_a_detector_on_features() -> None:
    profile = profile_detector(Detector(FEATURES), ONCE, fps=25)
    assert profile.timing is not None
    assert profile.timing.latency.input_shape == (1, 6, 32)
    assert (profile.timing.throughput.video_seconds, profile.timing.throughput.fps_assumed) == (32 * 4 / 25, False)


def test_a_slow_model_is_timed_less_often_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SECONDS", 1e-6)
    reporter = Notes()
    profile = profile_detector(Detector(VIDEO), Measure(device="cpu"), reporter=reporter)
    assert profile.timing is not None
    assert profile.timing.latency.runs == 1
    assert reporter.lines[-1] == "1 timed instead of 20: no more fit into 0 s (--runs 20 for all)"
    assert profile_detector(Detector(VIDEO), replace(ONCE, runs=2)).timing.latency.runs == 2  # type: ignore[union-attr]


def test_a_device_that_is_not_there_is_a_user_error() -> None:
    with pytest.raises(UserError, match="device 'abacus' cannot be used"):
        profile_detector(Detector(VIDEO), replace(ONCE, device="abacus"))
