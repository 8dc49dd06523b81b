from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tadshrink.compiling import CompiledDetector, joined
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.reporting import SILENT
from tadshrink.stages.detect import detect
from tadshrink.stages.opening import open_model
from tests.notes import Notes


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes of the inputs of what is "compiled" here: by a compiler that only looks on."""
    seen: list[torch.Size] = []

    def compile_(network: nn.Module, dynamic: bool) -> Callable[..., Any]:
        def run(inputs: torch.Tensor, masks: torch.Tensor) -> Any:
            seen.append(inputs.shape)
            return network(inputs, masks)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    return seen


@torch.inference_mode()
def test_windows_go_one_by_one_and_come_back_as_a_batch(tiny, shapes: list[torch.Size]) -> None:
    detector = Detector(tiny.config).eval()
    sampling = tiny.config.sampling
    inputs = torch.randint(256, (3, 1, 3, sampling.frames, sampling.frame_size, sampling.frame_size), dtype=torch.uint8)
    masks = torch.ones(3, sampling.window, dtype=torch.bool)
    masks[1, 4:] = False
    found, expected = CompiledDetector(detector, SILENT).eval()(inputs, masks), detector(inputs, masks)
    assert {shape[0] for shape in shapes} == {1}
    torch.testing.assert_close(found.logits(), expected.logits())
    torch.testing.assert_close(found.segments(), expected.segments())
    assert torch.equal(found.valid(), expected.valid())
    torch.testing.assert_close(found.features, expected.features)
    assert found.strides == expected.strides


@torch.inference_mode()
def test_joined_is_the_batch(tiny) -> None:
    detector = Detector(tiny.config).eval()
    sampling = tiny.config.sampling
    inputs = torch.randint(256, (2, 1, 3, sampling.frames, sampling.frame_size, sampling.frame_size), dtype=torch.uint8)
    output = detector(inputs, torch.ones(2, sampling.window, dtype=torch.bool))
    again = joined([output.window(0), output.window(1)])
    for name in ("features", "cls_logits", "offsets", "masks", "points"):
        one, other = (getattr(part, name) for part in (again, output))
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_detections_are_those_of_the_eager_model(tiny, shapes: list[torch.Size]) -> None:
    reporter = Notes()
    eager, compiled = (detect(tiny.checkpoint, [tiny.video()], device="cpu", compiled=way, reporter=reporter) for way in (False, True))
    assert shapes
    assert sum(line.startswith("compiling by torch.compile") for line in reporter.lines) == 1
    for found, expected in zip(compiled.detections.values(), eager.detections.values(), strict=True):
        np.testing.assert_allclose(found.segments, expected.segments, atol=0.02)


def test_where_compiling_fails_the_model_runs_eagerly(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no compiler here\nand a page more")

    monkeypatch.setattr(torch, "compile", lambda network, **options: fail)
    reporter = Notes()
    found = detect(tiny.checkpoint, [tiny.video()], device="cpu", compiled=True, reporter=reporter)
    assert "torch.compile failed (RuntimeError: no compiler here): it runs eagerly" in reporter.lines
    assert found.to_json() == detect(tiny.checkpoint, [tiny.video()], device="cpu").to_json()


def test_an_onnx_file_is_not_compiled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.onnx: an ONNX file is run by ONNX Runtime.*Leave --compile out"):
        open_model(tmp_path / "a.onnx", None, SILENT, compiled=True)


@pytest.mark.slow
def test_compiled_for_real(tiny) -> None:
    eager, compiled = (detect(tiny.checkpoint, [tiny.video()], device="cpu", compiled=way) for way in (False, True))
    for found, expected in zip(compiled.detections.values(), eager.detections.values(), strict=True):
        assert found.scores.tolist() == pytest.approx(expected.scores.tolist(), abs=1e-3)
