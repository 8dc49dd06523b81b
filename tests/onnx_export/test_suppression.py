"""NMS as a graph, on numbers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from tadshrink.errors import UserError
from tadshrink.evaluation.candidates import Scored, choose
from tadshrink.evaluation.nms import nms_many
from tadshrink.models.config import DetectorConfig, PostprocessConfig
from tadshrink.onnx_export import writing
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.onnx_export.suppression import append_nms, hard_postprocess
from tadshrink.onnx_export.tracing import OPSET
from tests.onnx_export.conftest import Traced


def suppress(config: DetectorConfig, segments: np.ndarray, scores: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
    """The graph that only hands its inputs on, with NMS behind it."""
    given = {"segments": segments.astype(np.float32), "scores": scores.astype(np.float32), "valid": valid}
    nodes = [helper.make_node("Identity", [f"given_{name}"], [name]) for name in given]
    kinds = {"segments": onnx.TensorProto.FLOAT, "scores": onnx.TensorProto.FLOAT, "valid": onnx.TensorProto.BOOL}
    inputs = [helper.make_tensor_value_info(f"given_{name}", kinds[name], ["batch", *value.shape[1:]]) for name, value in given.items()]
    outputs = [helper.make_tensor_value_info(name, kinds[name], ["batch", *value.shape[1:]]) for name, value in given.items()]
    graph = helper.make_graph(nodes, "points", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    append_nms(model, config, segments.shape[1])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {f"given_{name}": value for name, value in given.items()})


def config(classes: int, **changes: object) -> DetectorConfig:
    post = PostprocessConfig(nms="hard", nms_iou=0.5, score_threshold=0.2, max_detections=4).model_copy(update=changes)
    return DetectorConfig(classes=tuple("abcdefgh"[:classes]), postprocess=post)


def test_by_hand() -> None:
    segments = np.array([[[0, 10], [1, 11], [20, 30], [40, 50]]])
    scores = np.array([[[0.9, 0.1], [0.8, 0.7], [0.3, 0.6], [0.99, 0.99]]])
    valid = np.array([[True, True, True, False]])
    # Of class 0 the second overlaps the first by 9 / 11; of class 1 nothing is in its way. Below 0.2 and in padding is nothing.
    found = suppress(config(2), segments, scores, valid)
    assert found[1].tolist() == [pytest.approx([0.9, 0.7, 0.6, 0.3])]
    assert found[2].tolist() == [[0, 1, 1, 0]]
    assert found[0].tolist() == [[[0, 10], [1, 11], [20, 30], [20, 30]]]


def test_among_all_classes() -> None:
    segments, scores = np.array([[[0, 10], [1, 11]]]), np.array([[[0.9, 0.1], [0.8, 0.7]]])
    _, kept, labels = suppress(config(2, multiclass=False), segments, scores, np.ones((1, 2), bool))
    assert kept.tolist() == [pytest.approx([0.9, 0, 0, 0])]
    assert labels[0, 0] == 0


def test_short_candidates_are_left_out() -> None:
    segments, scores = np.array([[[0, 10], [20, 21]]]), np.array([[[0.5], [0.9]]])
    found = suppress(config(1, min_length=1.0), segments, scores, np.ones((1, 2), bool))
    assert found[1].tolist() == [[0.5, 0.0]]


@pytest.mark.parametrize("changes", [{}, {"multiclass": False}, {"pre_nms_top_k": 30}, {"min_length": 3.0}, {"nms_iou": 0.1}, {"classes": 1}],
                         ids=str)
def test_like_our_own(changes: dict[str, object]) -> None:
    random, classes = np.random.default_rng(0), int(changes.get("classes", 3))
    chosen = config(classes, **{"max_detections": 50} | {key: value for key, value in changes.items() if key != "classes"})
    start = random.uniform(0, 60, (3, 40))
    segments = np.stack([start, start + random.exponential(8, (3, 40))], -1).astype(np.float32)
    # All scores differ: of ties either may come first.
    scores = (random.permutation(3 * 40 * classes).reshape(3, 40, classes) + 1) / (3 * 40 * classes + 1)
    valid = random.random((3, 40)) < 0.8
    found = suppress(chosen, segments, scores, valid)
    points = Scored(torch.from_numpy(segments), torch.from_numpy(scores).float(), torch.from_numpy(valid), (40,))
    for window, expected in enumerate(nms_many(choose(points, chosen.postprocess), chosen.postprocess)):
        there = found[1][window] > 0
        assert found[1][window][there] == pytest.approx(expected.scores)
        assert found[2][window][there].tolist() == expected.labels.tolist()
        np.testing.assert_array_equal(found[0][window][there], expected.segments)


def test_the_threshold_is_the_models_where_its_nms_has_one() -> None:
    assert hard_postprocess(PostprocessConfig(nms="gaussian")).nms_iou == 0.5
    assert hard_postprocess(PostprocessConfig(nms="soft_hard", nms_iou=0.3)).nms_iou == 0.3
    assert hard_postprocess(PostprocessConfig(nms="linear", nms_iou=0.3), 0.6).nms_iou == 0.6
    assert hard_postprocess(PostprocessConfig(nms="gaussian", voting_iou=0.7, nms_min_score=0.1)).voting_iou == 0


@pytest.mark.parametrize("iou", [0.0, 1.0])
def test_nms_in_the_graph_that_is_not_ours_leaves_no_file(video: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, iou: float) -> None:
    append = writing.append_nms

    def other(model: onnx.ModelProto, config: DetectorConfig, points: int) -> None:
        append(model, config.model_copy(update={"postprocess": config.postprocess.model_copy(update={"nms_iou": iou})}), points)

    monkeypatch.setattr(writing, "append_nms", other)
    with pytest.raises(UserError, match="NMS in the graph leaves other detections"):
        video.write(tmp_path / "a.onnx", OnnxSettings(nms=True, nms_iou=0.3, provider="cpu"))
    assert not list(tmp_path.iterdir())
