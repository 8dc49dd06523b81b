from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.models.adapter import TemporalAdapter
from tadshrink.models.config import BackboneConfig
from tadshrink.models.vit import VideoViT


def by_the_formula(adapter: TemporalAdapter, tokens: Tensor, batch: int) -> Tensor:
    """Every grid cell's time series on its own, with torch's convolutions."""
    inner = F.gelu(adapter.down_proj(tokens))
    steps = len(tokens) // batch * adapter.steps
    series = inner.reshape(batch, steps, -1, inner.shape[-1])
    mixed = torch.zeros_like(series)
    for sample in range(batch):
        for cell in range(series.shape[2]):
            line = adapter.dwconv(series[sample, :, cell].t()[None])
            mixed[sample, :, cell] = F.conv1d(line, adapter.state_dict()["conv.weight"], adapter.conv.bias)[0].t()
    return tokens + adapter.gamma * adapter.up_proj(inner + mixed.view_as(inner))


@pytest.mark.parametrize(("batch", "chunks"), [(1, 1), (2, 3)])
def test_the_formula(batch: int, chunks: int):
    adapter = TemporalAdapter(8, 3, steps=2)
    nn.init.constant_(adapter.gamma, 0.7)
    tokens = torch.randn(batch * chunks, 2 * 4, 8)
    torch.testing.assert_close(adapter(tokens, batch), by_the_formula(adapter, tokens, batch), atol=1e-6, rtol=1e-5)


def test_time_crosses_chunks_but_not_clips():
    adapter = TemporalAdapter(4, 2, steps=2)
    tokens = torch.randn(4, 2, 4)  # Two clips of two chunks of two steps, one cell.
    changed = tokens.clone()
    changed[2, 0] += 1.0  # The second clip's first step.
    difference = (adapter(changed, 2) - adapter(tokens, 2)).abs().amax(-1).flatten() > 0
    assert difference.tolist() == [False] * 4 + [True, True, False, False]


def test_a_new_adapter_changes_nothing():
    config = BackboneConfig(width=8, depth=2, heads=1, patch_size=4, table_size=8, chunk_frames=4, adapters=(1,), adapter_width=2)
    model = VideoViT(config).eval()
    assert [hasattr(block, "adapter") for block in model.blocks] == [False, True]
    tokens = torch.randn(2, 8, 8)
    adapter = model.blocks[1].adapter
    assert torch.equal(adapter(tokens, 1), tokens)
    assert {name.split(".")[0] for name in adapter.state_dict()} == {"gamma", "dwconv", "conv", "down_proj", "up_proj"}
    assert adapter.state_dict()["conv.weight"].shape == (2, 2, 1)
