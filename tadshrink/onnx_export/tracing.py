"""A detector as an ONNX graph, through torch's exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.evaluation.candidates import scored
from tadshrink.models.config import DetectorConfig, FeatureConfig
from tadshrink.models.detector import Detector
from tadshrink.onnx_export.forms import export_form
from tadshrink.profiling.windows import example_window

#: The first version of the operators with attention among them.
OPSET = 23
#: Outputs before NMS.
OUTPUTS = ("segments", "scores", "valid")
#: Windows of a batch while tracing: 1 would be taken for a fixed size.
TRACED = 2


class Traced(nn.Module):
    """What is traced: windows to segments [B, N, 2] in grid cells, scores [B, N, K] and valid [B, N] of all points."""

    def __init__(self, detector: Detector, dtype: torch.dtype) -> None:
        super().__init__()
        self.detector, self.dtype = export_form(detector, dtype), dtype

    def forward(self, inputs: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = scored(self.detector(inputs.to(self.dtype) if inputs.is_floating_point() else inputs, masks))
        return found.segments, found.scores, found.valid


def fit(windows: tuple[Tensor, Tensor], cells: int | None) -> tuple[Tensor, Tensor]:
    """Windows of features padded to so many cells; frames, and windows that have as many, as they are."""
    inputs, masks = windows
    extra = (cells or masks.shape[-1]) - masks.shape[-1]
    return (F.pad(inputs, (0, extra)), F.pad(masks, (0, extra))) if extra > 0 and inputs.dim() == 3 else windows


def input_name(config: DetectorConfig) -> str:
    """How the first input of the graph is called; the second is "masks"."""
    return "features" if isinstance(config.backbone, FeatureConfig) else "frames"


def trace(detector: Detector, dtype: torch.dtype = torch.float32, cells: int | None = None) -> onnx.ModelProto:
    """The graph of a detector without LoRA: any number of windows, each of the model's size; inputs and outputs as in :class:`Traced`.

    Args:
        dtype: of the weights and of all that is computed but the outputs.
        cells: of a window; by default the model's.
    """
    inputs, masks = fit(example_window(detector.config), cells)
    return graph(Traced(detector, dtype), {input_name(detector.config): inputs, "masks": masks}, OUTPUTS)


def graph(network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> onnx.ModelProto:
    """The graph of a network for any number of samples.

    Args:
        inputs: one sample of each, by name.
    """
    samples = tuple(part.repeat(TRACED, *[1] * (part.dim() - 1)) for part in inputs.values())
    batch = torch.export.Dim("batch", min=1)
    with _quiet(), torch.no_grad():
        program = torch.export.export(network.eval(), samples, strict=False, dynamic_shapes=tuple({0: batch} for _ in samples))
        made = torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, input_names=list(inputs), output_names=list(outputs),
                                 verbose=False)
    return _bare(made.model_proto)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the lines of source code, and the paths of their files, that the exporter notes down at every node, and without notes of
    the shapes of weights."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    # A weight says its own shape; a second note of it would be wrong once a quantiser has turned the weight round.
    weights = {weight.name for weight in graph.initializer}
    others = [value for value in graph.value_info if value.name not in weights]
    del graph.value_info[:]
    graph.value_info.extend(others)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings about packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
