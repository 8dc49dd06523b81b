"""How to write an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OnnxSettings:
    """How to write a file.

    Attributes:
        precision: a key of :data:`~tadshrink.onnx_export.precision.PRECISIONS`.
        nms: put hard NMS into the graph, with the threshold ``nms_iou`` (see :func:`~tadshrink.onnx_export.suppression.hard_postprocess`).
        cells: grid cells of a window, where videos come whole (features, mode "whole"); default: the model's window.
        static: of "int8": calibrate on real windows, instead of finding the ranges of activations anew in every call.
        provider: that the check runs with, see :meth:`~tadshrink.onnx_export.runtime.OnnxDetector.open`.
    """

    precision: str = "fp32"
    nms: bool = False
    nms_iou: float | None = None
    provider: str | None = None
    static: bool = False
    cells: int | None = None


def is_onnx(path: Path) -> bool:
    """By the end of its name."""
    return path.suffix.lower() == ".onnx"
