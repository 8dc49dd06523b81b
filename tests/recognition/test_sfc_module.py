from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.sfc_module import SfcModule, query_bins, time_bins, topk_mean


def series(*steps: tuple[float, ...]) -> Tensor:
    """[1, C, T, 1, 1] from the channels of each step."""
    return torch.tensor(steps, dtype=torch.float32).T[None, :, :, None, None]


def module(channels: int, abstraction: bool = True, **settings: Any) -> SfcModule:
    torch.manual_seed(0)
    made = SfcModule(channels, SfcConfig(split="res3", **settings)).eval()
    if not abstraction:
        made.abstraction = nn.Identity()
    return made


def test_topk_by_hand_per_channel() -> None:
    values = series((1, 8), (9, 0), (3, 2), (5, 4))
    assert topk_mean(values, None).flatten().tolist() == [7, 6]
    assert topk_mean(values, 1).flatten().tolist() == [9, 8]
    assert topk_mean(values, 3).flatten().tolist() == pytest.approx([17 / 3, 14 / 3])
    assert topk_mean(values, 99).flatten().tolist() == [4.5, 3.5]
    assert topk_mean(values[:, :, :1], None).flatten().tolist() == [1, 8]


@pytest.mark.parametrize(("settings", "expected"), [
    ({"pool": "avg", "ratio": 0.4}, [1.5, 4]), ({"pool": "max", "ratio": 0.4}, [2, 6]), ({"pool": "topk", "topk": 2, "ratio": 0.4}, [1.5, 4.5]),
    ({"pool": "topk", "ratio": 0.4}, [2, 6]), ({"pool": "none", "ratio": 1}, [1, 2, 3, 6, 3]), ({"pool": "max", "ratio": 0.01}, [6]),
])  # fmt: skip
def test_pools_by_hand(settings: dict[str, Any], expected: list[float]) -> None:
    keys = series((1,), (2,), (3,), (6,), (3,))
    assert module(1, **settings).pooled(keys).flatten().tolist() == expected


def test_bins_by_hand() -> None:
    assert time_bins(7, 3) == [slice(0, 2), slice(2, 4), slice(4, 7)]


def test_bins_of_clips_keep_the_order_of_a_clip() -> None:
    keys = torch.arange(12.0)[None, None, :, None, None]
    steps = [part.flatten().tolist() for part in query_bins(keys, 3, 3)]
    assert steps == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    # Two groups of two: each is of two clips, and its second step of their last two moments.
    steps = [part.flatten().tolist() for part in query_bins(keys, 4, 3)]
    assert steps == [[0, 3], [1, 2, 4, 5], [6, 9], [7, 8, 10, 11]]
    assert [part.flatten().tolist() for part in query_bins(keys, 12, 3)] == [[number] for number in range(12)]
    assert [part.flatten().tolist() for part in query_bins(keys, 3, None)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@given(st.integers(1, 6), st.integers(1, 8), st.floats(0.001, 1))
def test_bins_of_clips_lose_nothing(clips: int, steps: int, ratio: float) -> None:
    made = SfcModule(4, SfcConfig(split="block:1", clips=clips, ratio=ratio), steps)
    keys = torch.arange(float(clips * steps))[None, None, :, None, None]
    bins = query_bins(keys, made.steps(clips * steps), steps)
    assert len(bins) == made.steps(clips * steps)
    assert sorted(number for part in bins for number in part.flatten().tolist()) == list(range(clips * steps))


@given(st.integers(1, 300), st.data())
def test_bins_are_even_and_lose_nothing(steps: int, data: st.DataObject) -> None:
    bins = time_bins(steps, data.draw(st.integers(1, steps)))
    sizes = [part.stop - part.start for part in bins]
    assert sum(sizes) == steps and min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    assert [index for part in bins for index in range(steps)[part]] == list(range(steps))


@given(st.integers(1, 32), st.integers(1, 40), st.floats(0.001, 1))
def test_what_is_left_are_groups_of_one_size_that_the_tail_takes(limit: int, clips: int, ratio: float) -> None:
    made = SfcModule(4, SfcConfig(split="block:1", clips=clips, ratio=ratio), limit)
    left = made.steps(clips * limit)
    groups = -(-left // limit)
    assert left % groups == 0
    assert made.config.steps(clips * limit) <= left < made.config.steps(clips * limit) + groups
    assert left <= clips * limit


def test_attention_by_hand() -> None:
    """Queries and keys have length 1; values are the features as they are."""
    made = module(2, abstraction=False, pool="max", ratio=0.5)
    share = 1 / (1 + math.exp(-10 * (3 - 1) / math.sqrt(10)))
    assert made(series((3, 0), (0, 1))).flatten().tolist() == pytest.approx([3 * share, 1 - share])
    made.temperature.data.fill_(0)
    assert made(series((3, 0), (0, 1))).flatten().tolist() == pytest.approx([1.5, 0.5])


def test_abstraction_by_default() -> None:
    made = module(8)
    names = {name: tuple(value.shape) for name, value in made.named_parameters()}
    assert names == {"temperature": (), "abstraction.0.weight": (2, 8, 3, 1, 1), "abstraction.1.weight": (2,), "abstraction.1.bias": (2,),
                     "abstraction.3.weight": (2, 2, 3, 1, 1), "abstraction.4.weight": (2,), "abstraction.4.bias": (2,)}
    assert module(8, width=3, kernel=(1, 3, 1)).abstraction[3].weight.shape == (3, 3, 1, 3, 1)


@pytest.mark.parametrize("attention", ["time", "space-time"])
@pytest.mark.parametrize("places", [(1, 1), (2, 3), (12, 12)])
def test_shapes(attention: str, places: tuple[int, int]) -> None:
    made = module(4, attention=attention, ratio=0.3)
    assert made(torch.randn(2, 4, 9, *places)).shape == (2, 4, 3, *places)


def test_what_a_query_sees() -> None:
    x = torch.randn(1, 4, 6, 2, 2)
    other = x.clone()
    other[..., 1, 1] += torch.randn(1, 4, 6)
    for attention, same in (("time", True), ("space-time", False)):
        made = module(4, attention=attention, kernel=(1, 1, 1))
        assert torch.equal(made(x)[..., 0, 0], made(other)[..., 0, 0]) is same


@pytest.mark.parametrize("attention", ["time", "space-time"])
def test_by_the_definition(attention: str) -> None:
    """Written out place by place."""
    made = module(4, attention=attention, ratio=0.5, pool="avg")
    x = torch.randn(1, 4, 4, 1, 2)
    keys = made.abstraction(x)
    for step in range(2):
        for place in range(2):
            query = keys[0, :, 2 * step : 2 * step + 2, 0, place].mean(1)
            seen = range(2) if attention == "space-time" else [place]
            columns = [(time, where) for time in range(4) for where in seen]
            scores = torch.stack([torch.cosine_similarity(query, keys[0, :, time, 0, where], dim=0) for time, where in columns])
            weights = (10 * scores).softmax(0)
            expected = sum(weight * x[0, :, time, 0, where] for weight, (time, where) in zip(weights, columns, strict=True))
            torch.testing.assert_close(made(x)[0, :, step, 0, place], expected)


@pytest.mark.parametrize("attention", ["time", "space-time"])
def test_identity(attention: str) -> None:
    made = module(4, attention=attention, ratio=1, pool="none", kernel=(1, 1, 1), width=16)
    nn.init.normal_(made.abstraction[1].bias)
    made.temperature.data.fill_(1e6)
    x = torch.randn(2, 4, 7, 3, 3)
    assert torch.equal(made(x), x)
