from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from tadshrink.errors import UserError
from tadshrink.evaluation.candidates import scored
from tadshrink.models.detector import Detector
from tadshrink.onnx_export import precision, writing
from tadshrink.onnx_export.runtime import OnnxDetector
from tadshrink.onnx_export.settings import OnnxSettings


def test_outputs_are_those_of_torch_whatever_the_number_of_windows(traced, tmp_path: Path) -> None:
    written = traced.write(tmp_path / "a.onnx")
    assert written.difference.scores < 1e-5
    assert written.difference.boundaries < 1e-4
    exported = OnnxDetector.open(tmp_path / "a.onnx", "cpu")
    for chosen in ([0, 1], [1], [1, 0, 1]):
        inputs, masks = (part[chosen] for part in traced.windows)
        with torch.no_grad():
            expected = scored(traced.detector(inputs, masks))
        found = exported(inputs, masks)
        assert found.lengths == expected.lengths
        assert torch.equal(found.valid, expected.valid)
        torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.segments, expected.segments, atol=1e-3, rtol=1e-5)


def test_one_file_that_says_what_it_is(traced, tmp_path: Path) -> None:
    written = traced.write(tmp_path / "new" / "a.onnx")
    assert written.files == (str(tmp_path / "new" / "a.onnx"),)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.onnx"]
    exported = OnnxDetector.open(tmp_path / "new" / "a.onnx", "cpu")
    assert exported.config == traced.detector.config
    assert exported.checksum == "c0ffee"
    assert exported.provider == written.provider == "cpu"
    content = (tmp_path / "new" / "a.onnx").read_bytes()
    assert b"tadshrink/models" not in content  # No paths of source files.


def test_what_was_dropped_is_told(video, features, tmp_path: Path) -> None:
    for traced, dropped in ((video, (1, "2.mlp")), (features, (0, "1.attention"))):
        traced.write(tmp_path / "a.onnx")
        assert OnnxDetector.open(tmp_path / "a.onnx", "cpu").dropped == dropped


def test_the_graph_has_the_fused_operators(video) -> None:
    operators = [node.op_type for node in video.graph.graph.node]
    # Two blocks with attention, one of the stem and one of the pyramid.
    assert operators.count("Attention") == 4
    assert "Softmax" not in operators
    assert {"Gelu", "LayerNormalization"} <= set(operators)
    assert all(node.domain == "" for node in video.graph.graph.node)


def test_outputs_that_are_too_far_from_torch_leave_no_file_and_an_older_one_as_it_was(video, tmp_path: Path,
                                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(precision.PRECISIONS, "fp32", replace(precision.PRECISIONS["fp32"], scores=0.0, boundaries=0.0))
    with pytest.raises(UserError, match=r"outputs are not those of the model .* nothing was written"):
        video.write(tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.onnx").write_text("older")
    with pytest.raises(UserError):
        video.write(tmp_path / "a.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_wrong_weights_are_noticed(video, tmp_path: Path) -> None:
    graph = onnx.ModelProto()
    graph.CopyFrom(video.graph)
    weight = next(item for item in graph.graph.initializer if len(item.dims) == 2 and len(item.raw_data) > 1000)
    weight.raw_data = weight.raw_data[::-1][:4] + weight.raw_data[4:-400] + bytes(400)
    with pytest.raises(UserError, match="outputs are not those of the model"):
        replace(video, graph=graph).write(tmp_path / "a.onnx")


def test_large_weights_lie_in_a_second_file(video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ONE_FILE", 10_000)
    written = video.write(tmp_path / "a.onnx", OnnxSettings(nms=True, provider="cpu"))
    assert written.files == (str(tmp_path / "a.onnx"), str(tmp_path / "a.onnx.data"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data"]
    OnnxDetector.open(tmp_path / "a.onnx", "cpu")
    (tmp_path / "a.onnx.data").unlink()
    with pytest.raises(UserError, match="cannot open this file"):
        OnnxDetector.open(tmp_path / "a.onnx", "cpu")


@pytest.mark.parametrize(("calibrated", "kind"), [(False, "int8 (dynamic)"), (True, "int8 (static)")])
def test_int8(video, tmp_path: Path, calibrated: bool, kind: str) -> None:
    written = video.write(tmp_path / "a.onnx", OnnxSettings("int8", provider="cpu"), video.windows if calibrated else None)
    assert written.precision == kind
    assert 1e-5 < written.difference.scores < 0.1
    operators = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert ("QuantizeLinear" if calibrated else "DynamicQuantizeLinear") in operators
    assert OnnxDetector.open(tmp_path / "a.onnx", "cpu").metadata.precision == kind


def test_nms_in_the_graph_is_hard_nms(traced, tmp_path: Path) -> None:
    traced.write(tmp_path / "a.onnx", OnnxSettings(nms=True, nms_iou=0.4, provider="cpu"))
    exported = OnnxDetector.open(tmp_path / "a.onnx", "cpu")
    assert (exported.config.postprocess.nms, exported.config.postprocess.nms_iou) == ("hard", 0.4)
    found = exported(*traced.windows)
    assert len(found) == 2
    assert all(len(part) and (part.scores[:-1] >= part.scores[1:]).all() for part in found)


def test_a_provider_that_is_not_there_is_found_before_the_work(video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "trace", lambda *_: pytest.fail("traced"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="CUDAExecutionProvider cannot run here: there is no CUDA device"):
        writing.write_onnx(video.detector, "0", tmp_path / "a.onnx", OnnxSettings(provider="cuda"), video.windows)
    with pytest.raises(UserError, match="unknown provider 'what'"):
        writing.write_onnx(video.detector, "0", tmp_path / "a.onnx", OnnxSettings(provider="what"), video.windows)


def test_windows_of_another_length_are_for_whole_videos_without_absolute_positions(video, features, tmp_path: Path) -> None:
    for traced, cells in ((video, 32), (features, 64), (features, 16)):
        with pytest.raises(UserError, match=f"windows of {cells} cells: this model takes"):
            traced.write(tmp_path / "a.onnx", OnnxSettings(cells=cells, provider="cpu"))


@pytest.mark.slow
def test_longer_videos_than_the_models_window(features, tmp_path: Path) -> None:
    config = features.detector.config
    config = config.model_copy(update={"head": config.head.model_copy(update={"absolute_position": False})})
    torch.manual_seed(6)
    detector = Detector(config, (0, "1.attention")).eval()
    writing.write_onnx(detector, "0", tmp_path / "a.onnx", OnnxSettings(cells=50, provider="cpu"), features.windows)
    exported = OnnxDetector.open(tmp_path / "a.onnx", "cpu")
    for length in (12, 32, 45, 50):
        inputs, masks = torch.randn(1, 6, length), torch.ones(1, length, dtype=torch.bool)
        with torch.no_grad():
            expected = scored(detector(inputs, masks))
        found = exported(inputs, masks)
        torch.testing.assert_close(found.scores[found.valid], expected.scores[expected.valid], atol=1e-5, rtol=0)
        torch.testing.assert_close(found.segments[found.valid], expected.segments[expected.valid], atol=1e-3, rtol=0)


@pytest.mark.slow
def test_fp16(video, tmp_path: Path) -> None:
    written = writing.write_onnx(video.detector, "0", tmp_path / "a.onnx", OnnxSettings("fp16", provider="cpu"), video.windows)
    assert 1e-5 < written.difference.scores < 1e-2
    weights = onnx.load(tmp_path / "a.onnx").graph.initializer
    assert onnx.TensorProto.FLOAT not in {item.data_type for item in weights if len(item.dims) > 1}
    exported = OnnxDetector.open(tmp_path / "a.onnx", "cpu")
    assert exported(*video.windows).segments.dtype == torch.float32
