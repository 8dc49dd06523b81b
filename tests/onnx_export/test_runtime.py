from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch

from tadshrink.errors import UserError
from tadshrink.onnx_export import runtime
from tadshrink.onnx_export.metadata import Metadata
from tadshrink.onnx_export.runtime import OnnxDetector
from tadshrink.reporting import SILENT
from tadshrink.stages.opening import open_model


def _without(key: str):
    def change(model: onnx.ModelProto) -> None:
        kept = {item.key: item.value for item in model.metadata_props if item.key != key}
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, kept)

    return change


def _with(key: str, value: str):
    return lambda model: onnx.helper.set_model_props(model, {item.key: item.value for item in model.metadata_props} | {key: value})


def _opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 999


@pytest.mark.parametrize(("change", "problem"), [
    (_without("tadshrink"), "does not say that it is a detector of tadshrink"),
    (_without("config"), "what this ONNX file says about itself is damaged"),
    (_with("config", "{"), "what this ONNX file says about itself is damaged"),
    (_with("config", "{}"), "bad architecture"),
    (_with("tadshrink", "99"), "of another version of tadshrink (format 99, not 1)"),
    (_opset, "cannot open this file"),
], ids=["not-ours", "incomplete", "damaged", "no-config", "other-format", "other-opset"])  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_in_one_line(changed, change, problem: str) -> None:
    path = changed(change)
    with pytest.raises(UserError) as error:
        OnnxDetector.open(path, "cpu")
    assert str(error.value).startswith(f"{path}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_foreign_and_absent_files(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(UserError, match="no such file"):
        OnnxDetector.open(path)
    content = exported.read_bytes()
    for damaged in (b"", b"not a graph", content[:500], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError) as error:
            OnnxDetector.open(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_a_provider_that_falls_back_silently_is_an_error(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "open_session", lambda path, provider, real=runtime.open_session: real(path, "cpu"))
    with pytest.raises(UserError, match="fell back from cuda to cpu"):
        OnnxDetector.open(exported, "cuda")
    # Where nothing was asked for, whatever runs will do.
    assert OnnxDetector.open(exported).provider == "cpu"


def test_shorter_features_are_padded_and_longer_ones_refused(features, tmp_path: Path) -> None:
    features.write(path := tmp_path / "a.onnx")
    exported, (inputs, masks) = OnnxDetector.open(path, "cpu"), features.windows
    short = exported(inputs[:1, :, :20], masks[:1, :20])
    masks = torch.arange(32)[None] < 20
    padded = exported(inputs[:1] * masks, masks)
    assert torch.equal(short.valid, padded.valid)
    assert torch.equal(short.scores[short.valid], padded.scores[padded.valid])
    with pytest.raises(UserError, match="33 grid cells in one window, and this ONNX file takes 32"):
        exported(torch.zeros(1, 6, 33), torch.ones(1, 33, dtype=torch.bool))


def test_the_metadata_speak_for_themselves(exported: Path, video) -> None:
    found = {item.key: json.loads(item.value) for item in onnx.load(exported).metadata_props}
    assert found["classes"] == list(video.detector.config.classes)
    assert (found["window"], found["snippet_stride"], found["frame_size"]) == (16, 4, 32)
    assert found["checksum"] == "c0ffee"
    assert found["nms"]["nms"] == "gaussian"
    assert found["fps_rule"] == "frames at each video's own"
    assert (found["mode"], found["offset_frames"]) == ("sliding", 0)
    assert "cells * snippet_stride + offset_frames" in found["units"]["segments"]


def test_of_a_resized_video_the_window_is_all_of_it(video) -> None:
    config = video.detector.config
    resized = config.model_copy(update={"sampling": config.sampling.model_copy(update={"mode": "resize"})})
    model = onnx.ModelProto()
    Metadata(resized, (), "c0ffee", "fp32", 16, (16,)).write(model)
    found = {item.key: json.loads(item.value) for item in model.metadata_props}
    assert "cells / window * duration" in found["units"]["segments"]
    assert found["fps_rule"] == "frames spread evenly over the whole video, whatever its rate"


@pytest.mark.parametrize("device", ["cuda:1", "cpu:2"])
def test_another_gpu_than_the_first_is_not_taken_silently(exported: Path, device: str) -> None:
    with pytest.raises(UserError, match=f"runs on the first GPU.*CUDA_VISIBLE_DEVICES={device[-1]}"):
        open_model(exported, device, SILENT)
