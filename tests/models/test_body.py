from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tadshrink.models import body
from tadshrink.models.config import BackboneConfig, DetectorConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector

#: Windows of 4 chunks of 16 frames; a chunk has 32 tokens.
CONFIG = DetectorConfig(classes=("a",), backbone=BackboneConfig(width=16, depth=2, heads=2, table_size=32),
                        head=HeadConfig(width=16, heads=2, levels=2, regression_ranges=((0, 4), (4, 10000))),
                        sampling=SamplingConfig(window=16, frames_per_cell=4, frame_size=32))
#: Of what is widest in a block, for each chunk.
CHUNK = 8 * 2 * 2 * 16 * 4 * 4


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Runs a detector with a cache of some size on a batch of 2 windows; chunks in each call of the first block."""
    def run(detector: Detector, cache: int) -> list[int]:
        monkeypatch.setattr(body, "CACHE", cache)
        seen: list[int] = []
        handle = detector.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
        detector.eval()(torch.zeros(2, 1, 3, 64, 32, 32, dtype=torch.uint8), torch.ones(2, 16, dtype=torch.bool))
        handle.remove()
        return seen

    return run


@pytest.mark.parametrize(("cache", "groups"), [(100 * CHUNK, [8]), (8 * CHUNK, [8]), (3 * CHUNK, [3, 3, 2]), (CHUNK, [1] * 8), (1, [1] * 8)])
@torch.inference_mode()
def test_as_many_chunks_go_through_the_blocks_as_fit_the_cache(sizes: Callable[..., list[int]], cache: int, groups: list[int]) -> None:
    assert sizes(Detector(CONFIG), cache) == groups


def test_chunks_stay_together_for_training_and_for_adapters(sizes: Callable[..., list[int]]) -> None:
    assert sizes(Detector(CONFIG), 1) == [8]
    adapted = CONFIG.model_copy(update={"backbone": CONFIG.backbone.model_copy(update={"adapters": (0, 1), "adapter_width": 4})})
    with torch.inference_mode():
        assert sizes(Detector(adapted), 1) == [8]


@torch.inference_mode()
def test_groups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    detector = Detector(CONFIG).eval()
    inputs, masks = torch.randint(256, (2, 1, 3, 64, 32, 32), dtype=torch.uint8), torch.ones(2, 16, dtype=torch.bool)
    whole = detector(inputs, masks)
    monkeypatch.setattr(body, "CACHE", 3 * CHUNK)
    grouped = detector(inputs, masks)
    torch.testing.assert_close(grouped.logits(), whole.logits(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(grouped.features, whole.features, atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_a_graph_has_each_block_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from tadshrink.onnx_export.tracing import trace

    monkeypatch.setattr(body, "CACHE", 1)
    operators = [node.op_type for node in trace(Detector(CONFIG).eval()).graph.node]
    # Two blocks of the ViT, two of the stem and one of the pyramid.
    assert operators.count("Attention") == 5
