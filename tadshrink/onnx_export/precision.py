"""The number formats of ONNX files, and how far their outputs may be from torch's in float32."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tadshrink.models.config import DetectorConfig
from tadshrink.onnx_export.tracing import input_name

#: Windows of inputs and masks.
Windows = tuple[Tensor, Tensor]
#: What becomes integers: products with weights. Attention and convolutions over time stay as they are.
_QUANTISED = ["MatMul", "Gemm"]


@dataclass(frozen=True)
class Precision:
    """A number format.

    Attributes:
        dtype: of the weights before any quantisation.
        scores: most that a probability may differ.
        boundaries: most that a boundary may differ, in strides of its level of the pyramid.
        share: how many of the points must keep to both.
    """

    dtype: torch.dtype
    scores: float
    boundaries: float
    share: float = 1.0

    def limits(self) -> str:
        """In words."""
        points = "all points" if self.share == 1 else f"{100 * self.share:g} % of the points"
        return f"limits for {points}: {self.scores:g} in score, {self.boundaries:g} strides in boundaries"


PRECISIONS = {
    "fp32": Precision(torch.float32, scores=1e-4, boundaries=1e-3),
    "fp16": Precision(torch.float16, scores=2e-2, boundaries=5e-2, share=0.999),
    "int8": Precision(torch.float32, scores=0.1, boundaries=0.5, share=0.99),
}


def quantise(source: Path, target: Path, config: DetectorConfig, windows: Windows | None, large: bool = False) -> str:
    """Products with weights in 8 bits, by ONNX Runtime's own quantisers: weights per channel, activations per tensor.

    Args:
        windows: real ones to calibrate on; without them the ranges of activations are found anew in every call.
        large: keep the weights in a file of their own.

    Returns:
        which way: "static" or "dynamic".
    """
    if windows is None:
        quantise_dynamic(source, target, large)
        return "dynamic"
    from onnxruntime import quantization as ort

    with _quiet():
        ort.quantize_static(source, target, _Calibration(config, windows), quant_format=ort.QuantFormat.QDQ,
                            activation_type=ort.QuantType.QUInt8, **_common(large))
        return "static"


def quantise_dynamic(source: Path, target: Path, large: bool = False) -> None:
    """:func:`quantise` with ranges of activations that are found anew in every call."""
    from onnxruntime import quantization as ort

    with _quiet():
        ort.quantize_dynamic(source, target, **_common(large))


def _common(large: bool) -> dict[str, Any]:
    from onnxruntime import quantization as ort

    return {"op_types_to_quantize": _QUANTISED, "per_channel": True, "weight_type": ort.QuantType.QInt8, "use_external_data_format": large}


class _Calibration:
    """Hands windows to the quantiser one by one (its ``CalibrationDataReader``)."""

    def __init__(self, config: DetectorConfig, windows: Windows) -> None:
        self._feeds = iter([{input_name(config): inputs[None].numpy(), "masks": masks[None].numpy()}
                            for inputs, masks in zip(*windows, strict=True)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without advice on preparing models, which is done already."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger().setLevel(level)
