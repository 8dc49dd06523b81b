"""Small detectors, each traced once: tracing is what takes seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch

from tadshrink.files import atomic_path
from tadshrink.models.config import DetectorConfig, FeatureConfig, HeadConfig, PostprocessConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.onnx_export import writing
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.onnx_export.tracing import trace

Windows = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Traced:
    """A detector, two windows of noise for it (the second one with padding), and its graph."""

    detector: Detector
    windows: Windows
    graph: onnx.ModelProto

    def write(self, path: Path, settings: OnnxSettings | None = None, calibration: Windows | None = None) -> writing.OnnxWritten:
        """:func:`writing.write_onnx` without tracing again."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing, "trace", self._copy)
            return writing.write_onnx(self.detector, "c0ffee", path, settings or OnnxSettings(provider="cpu"), self.windows, calibration)

    def _copy(self, detector: Detector, dtype: torch.dtype, cells: int) -> onnx.ModelProto:
        assert (dtype, cells) == (torch.float32, detector.config.sampling.window)
        copied = onnx.ModelProto()
        copied.CopyFrom(self.graph)
        return copied


def _lively(detector: Detector, seed: int) -> Detector:
    """With scores that differ, so that the order of detections means something; all random weights give nearly the same."""
    torch.manual_seed(seed)
    for name, weight in detector.named_parameters():
        if name.endswith("scale"):
            torch.nn.init.uniform_(weight, 0.5, 1.5)
        elif "rpn_head" in name and weight.dim() > 1:
            torch.nn.init.normal_(weight, std=1.5 * weight[0].numel() ** -0.5)
    return detector.eval()


def _graph(factory: pytest.TempPathFactory, name: str, detector: Detector) -> onnx.ModelProto:
    """The graph of a detector, from the file of another process of these tests if that has traced it already."""
    folder = factory.getbasetemp()
    path = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / f"traced-{name}.onnx"
    if not path.exists():
        with atomic_path(path) as temporary:
            onnx.save_model(trace(detector), temporary)
    return onnx.load(path)


@pytest.fixture(scope="package")
def video(tiny, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """On frames, with adapters, a dropped block, a block without its MLP, and pruned: fewer heads and hidden units left of some blocks."""
    whole = tiny.config.backbone.sizes(0)
    kept = ((1, 24), whole, (1, whole[1]))
    backbone = tiny.config.backbone.model_copy(update={"depth": 3, "adapters": (0,), "adapter_width": 8, "kept": kept})
    torch.manual_seed(1)
    detector = _lively(Detector(tiny.config.model_copy(update={"backbone": backbone}), (1, "2.mlp")), 2)
    sampling = detector.config.sampling
    inputs = torch.randint(256, (2, 1, 3, sampling.frames, sampling.frame_size, sampling.frame_size), dtype=torch.uint8)
    return Traced(detector, (inputs, _masks(sampling.window)), _graph(tmp_path_factory, "video", detector))


@pytest.fixture(scope="package")
def features(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """On features that the model scales, with local attention, a pyramid neck, and of its stem only the MLP of a block."""
    head = HeadConfig(width=16, heads=2, levels=2, embed_layers=1, stem_layers=2, head_layers=1, regression_ranges=((0, 6), (6, 10000)),
                      attention_window=5, relative_position=True, absolute_position=True, neck="fpn")
    config = DetectorConfig(name="toy", classes=("a", "b", "c"), backbone=FeatureConfig(channels=6, normalise=True), head=head,
                            sampling=SamplingConfig(mode="whole", window=32, snippet_stride=2),
                            postprocess=PostprocessConfig(nms_on="grid", top_k_per_level=True))
    torch.manual_seed(3)
    detector = _lively(Detector(config, (0, "1.attention")), 4)
    detector.standardise.measured(torch.arange(6.0), torch.full((6,), 2.0))
    return Traced(detector, (torch.randn(2, 6, 32) * 2, _masks(32)), _graph(tmp_path_factory, "features", detector))


def _masks(window: int) -> torch.Tensor:
    masks = torch.ones(2, window, dtype=torch.bool)
    masks[1, window // 2 + 1:] = False
    return masks


@pytest.fixture(params=["video", "features"])
def traced(request: pytest.FixtureRequest) -> Traced:
    """One after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="package")
def exported(video: Traced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of :func:`video` in fp32. Made once, not to be changed."""
    video.write(path := tmp_path_factory.mktemp("onnx") / "video.onnx")
    return path


@pytest.fixture
def changed(exported: Path, tmp_path: Path) -> Callable[[Callable[[onnx.ModelProto], None]], Path]:
    """The file with a change to its model."""
    def make(change: Callable[[onnx.ModelProto], None]) -> Path:
        change(model := onnx.load(exported))
        onnx.save_model(model, tmp_path / "changed.onnx")
        return tmp_path / "changed.onnx"

    return make
