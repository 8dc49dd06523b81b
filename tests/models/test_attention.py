from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tadshrink.models.attention import RUN, MaskedAttention
from tadshrink.models.config import HeadConfig


def plainly(attention: MaskedAttention, x: Tensor, mask: Tensor) -> Tensor:
    """With a full table of which query sees which key."""
    query, key, value = (attention._heads(name, x, mask) for name in ("query", "key", "value"))
    index = torch.arange(mask.shape[1])
    distance, half = index - index[:, None], attention.window // 2
    allowed = (mask[:, None, None, :, 0].bool() & (distance.abs() <= half)) | (distance == 0)
    products = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if hasattr(attention, "rel_pe"):
        products = products + attention.rel_pe[0, 0][:, (distance + half).clamp(0, attention.window - 1)]
    y = products.masked_fill(~allowed, -torch.inf).softmax(-1) @ value
    return attention.proj(y.transpose(1, 2).flatten(2)) * mask


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("window", [3, 9, 2 * RUN + 1, 3 * RUN + 1])
@pytest.mark.parametrize("length", [1, 2, RUN - 1, RUN, RUN + 1, 3 * RUN, 150])
def test_runs_of_queries_see_what_each_alone_would(length: int, window: int, relative: bool) -> None:
    torch.manual_seed(length + window)
    attention = MaskedAttention(HeadConfig(width=8, heads=2, attention_window=window, relative_position=relative), 1).eval()
    x = torch.randn(2, length, 8)
    mask = torch.ones(2, length, 1)
    mask[1, length // 2 + 1 :] = 0
    torch.testing.assert_close(attention(x, mask), plainly(attention, x, mask), rtol=0, atol=2e-6)


def test_a_cell_far_away_changes_nothing() -> None:
    attention = MaskedAttention(HeadConfig(width=8, heads=2, attention_window=5), 1).eval()
    x, mask = torch.randn(1, 100, 8), torch.ones(1, 100, 1)
    before = attention(x, mask)
    # Two cells of attention and one of the convolution before it.
    x[:, 50] += 1
    changed = (attention(x, mask) - before).abs().amax(-1)[0] > 0
    assert changed.nonzero()[:, 0].tolist() == [47, 48, 49, 50, 51, 52, 53]


def test_global_attention_sees_all_that_is_valid() -> None:
    attention = MaskedAttention(HeadConfig(width=8, heads=2), 1).eval()
    x, mask = torch.randn(1, 40, 8), torch.ones(1, 40, 1)
    mask[:, 30:] = 0
    before = attention(x, mask)
    x[:, 20] += 1
    assert ((attention(x, mask) - before).abs().amax(-1)[0] > 0).tolist() == [True] * 30 + [False] * 10
