"""Hard NMS as the last part of an ONNX graph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, parser

from tadshrink.models.config import DetectorConfig, PostprocessConfig
from tadshrink.onnx_export.tracing import OPSET, OUTPUTS

#: Outputs after NMS: [B, M, 2], [B, M] and [B, M], best first; score 0 where a window has fewer detections.
DETECTIONS = ("segments", "scores", "labels")
#: Threshold where the detector's own NMS has none.
IOU = 0.5
_WITH_IOU = ("hard", "soft_hard", "linear")
#: Every pair of a point and a class is a box: its segment across, and a lane of its own class (or one for all) downwards.
_GRAPH = """
<ir_version: 10, opset_import: ["" : %d]>
nms (float[B,N,2] points_segments, float[B,N,K] points_scores, bool[B,N] points_valid)
    => (float[B,M,2] segments, float[B,M] scores, int64[B,M] labels) {
    nms_mask = Cast<to = 1>(points_valid)
    nms_mask_3 = Unsqueeze(nms_mask, nms_last)
    nms_seen = Mul(points_scores, nms_mask_3)
    nms_flat = Reshape(nms_seen, nms_rows)
    nms_best, nms_index = TopK<axis = 1>(nms_flat, nms_candidates)
    nms_point = Div(nms_index, nms_classes)
    nms_label = Mod(nms_index, nms_classes)
    nms_point_1 = Unsqueeze(nms_point, nms_last)
    nms_point_2 = Concat<axis = 2>(nms_point_1, nms_point_1)
    nms_segments = GatherElements<axis = 1>(points_segments, nms_point_2)
    nms_start, nms_end = Split<axis = 2, num_outputs = 2>(nms_segments)
    nms_length = Sub(nms_end, nms_start)
    nms_length_2 = Squeeze(nms_length, nms_last)
    nms_long = Greater(nms_length_2, nms_min_length)
    nms_long_1 = Cast<to = 1>(nms_long)
    nms_allowed = Mul(nms_best, nms_long_1)
    nms_label_1 = Cast<to = 1>(nms_label)
    nms_label_3 = Unsqueeze(nms_label_1, nms_last)
    nms_top = Mul(nms_label_3, nms_lane)
    nms_bottom = Add(nms_top, nms_one)
    nms_boxes = Concat<axis = 2>(nms_top, nms_start, nms_bottom, nms_end)
    nms_scores = Unsqueeze(nms_allowed, nms_middle)
    nms_kept = NonMaxSuppression(nms_boxes, nms_scores, nms_limit, nms_iou, nms_threshold)
    nms_places = Gather<axis = 1>(nms_kept, nms_columns)
    nms_values = GatherND(nms_allowed, nms_places)
    nms_nothing = Mul(nms_allowed, nms_zero)
    nms_left = ScatterND(nms_nothing, nms_places, nms_values)
    scores, nms_order = TopK<axis = 1>(nms_left, nms_shown)
    labels = GatherElements<axis = 1>(nms_label, nms_order)
    nms_order_1 = Unsqueeze(nms_order, nms_last)
    nms_order_2 = Concat<axis = 2>(nms_order_1, nms_order_1)
    segments = GatherElements<axis = 1>(nms_segments, nms_order_2)
}
"""


def hard_postprocess(config: PostprocessConfig, iou: float | None = None) -> PostprocessConfig:
    """The same with hard NMS, as the graph does it: by default at the detector's own threshold if its NMS has one, else at :data:`IOU`."""
    own = config.nms_iou if config.nms in _WITH_IOU else IOU
    return config.model_copy(update={"nms": "hard", "nms_iou": own if iou is None else iou, "nms_min_score": 0.0, "voting_iou": 0.0,
                                     "top_k_per_level": False})


def append_nms(model: onnx.ModelProto, config: DetectorConfig, points: int) -> None:
    """Let a graph with ``points`` points per window go on through NMS, in place; ``config`` as of :func:`hard_postprocess`."""
    _rename_outputs(model.graph)
    tail = parser.parse_model(_GRAPH % OPSET).graph
    model.graph.node.extend(tail.node)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _constants(config, points).items())
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    shown = _shown(config, points)
    shapes = {"segments": (onnx.TensorProto.FLOAT, [batch, shown, 2]), "scores": (onnx.TensorProto.FLOAT, [batch, shown]),
              "labels": (onnx.TensorProto.INT64, [batch, shown])}
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, *shapes[name]) for name in DETECTIONS)


def _rename_outputs(graph: onnx.GraphProto) -> None:
    names = {name: f"points_{name}" for name in OUTPUTS}
    for node in graph.node:
        for parts in (node.input, node.output):
            parts[:] = [names.get(name, name) for name in parts]


def _candidates(config: DetectorConfig, points: int) -> int:
    """Proposals of a single class are all kept, as without ONNX."""
    return points if len(config.classes) == 1 else min(config.postprocess.pre_nms_top_k, points * len(config.classes))


def _shown(config: DetectorConfig, points: int) -> int:
    return min(config.postprocess.max_detections, _candidates(config, points))


def _constants(config: DetectorConfig, points: int) -> dict[str, np.ndarray]:
    """Inputs of the graph's operators; lanes two apart do not touch."""
    settings, classes = config.postprocess, len(config.classes)
    whole = {"last": [2], "middle": [1], "rows": [0, -1], "columns": [0, 2], "candidates": [_candidates(config, points)],
             "shown": [_shown(config, points)], "limit": [settings.max_detections]}
    threshold = 0.0 if classes == 1 else settings.score_threshold
    broken = {"iou": [settings.nms_iou], "threshold": [threshold], "zero": 0.0, "one": 1.0, "lane": 2.0 if settings.multiclass else 0.0,
              "min_length": settings.min_length if settings.min_length > 0 else -np.inf}
    found = {name: np.array(value, np.int64) for name, value in whole.items()} | {"classes": np.array(classes, np.int64)}
    return {f"nms_{name}": value for name, value in (found | {name: np.array(value, np.float32) for name, value in broken.items()}).items()}
