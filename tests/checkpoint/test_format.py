from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from tadshrink.checkpoint.format import Checkpoint, CheckpointLayout, digest, record, weights_checksum


def state() -> dict[str, Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3, dtype=torch.int64)}


def test_the_checksum_does_not_see_order_layout_or_gradients() -> None:
    plain = weights_checksum(state(), None)
    wide = torch.arange(12.0).reshape(2, 6)
    wide[:, ::2] = state()["a.weight"]
    others = OrderedDict([("b", state()["b"]), ("a.weight", wide[:, ::2])])
    assert weights_checksum(others, None) == plain
    assert weights_checksum({**state(), "a.weight": nn.Parameter(state()["a.weight"])}, None) == plain
    assert weights_checksum({**state(), "a.weight": state()["a.weight"].t().contiguous().t()}, None) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"a.weight": torch.arange(6.0).reshape(3, 2)},
        {"a.weight": torch.arange(6.0).reshape(2, 3).double()},
        {"a.weight": torch.arange(6.0).reshape(2, 3) * -1},
        {"a.weight": torch.arange(6.0).reshape(2, 3).view(torch.int32)},
        {"b": torch.tensor([3])},
        {"c": torch.zeros(0)},
    ],
)
def test_the_checksum_sees_names_shapes_dtypes_and_values(change: dict[str, Tensor]) -> None:
    assert weights_checksum({**state(), **change}, None) != weights_checksum(state(), None)


def test_the_checksum_sees_lora() -> None:
    lora = {"rank": 2, "alpha": 2.0, "targets": ["qkv"], "state": {"A": torch.ones(2, 2)}}
    sums = [weights_checksum(state(), value) for value in (None, lora, {**lora, "alpha": 4.0}, {**lora, "state": {}})]
    assert len(set(sums)) == 4


def test_the_digest_is_the_same_everywhere_and_always() -> None:
    """Stored files carry it: a change of this value makes every file that exists unreadable."""
    value = {"w": torch.tensor([1.0, -0.0], dtype=torch.bfloat16), 3: [None, True, 0.1, "é"], "e": {}}
    fed = (
        b"dict 3\n" b"int 1\n3" b"list 4\n" b"NoneType 4\nNone" b"bool 4\nTrue" b"float 3\n0.1" b"str 4\n'\xc3\xa9'"
        b"str 3\n'e'" b"dict 0\n" b"str 3\n'w'" b"tensor torch.bfloat16 (2,)\n" b"\x80\x3f\x00\x80"
    )  # fmt: skip
    assert digest(value) == hashlib.sha256(fed).hexdigest()


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=10,
)


@given(plain_values, plain_values)
def test_different_values_have_different_digests(first: Any, second: Any) -> None:
    assert (digest(first) == digest(second)) == (repr(canonical(first)) == repr(canonical(second)))


def canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted(((repr(key), canonical(item)) for key, item in value.items()))
    return ["list", *map(canonical, value)] if isinstance(value, list) else repr(value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.bool, torch.int8, torch.complex64])
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 1, 3)])
def test_every_dtype_and_shape_has_a_digest(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    assert digest(torch.zeros(shape, dtype=dtype)) != digest(torch.ones((*shape, 2), dtype=dtype))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": np.float64(1)}]}, r"a\[1\]\.b: float64 is neither plain data nor a tensor"),
        ({1, 2}, "value: set is neither"),
        ({"w": torch.zeros(2, 2).to_sparse()}, "w: not a dense tensor"),
        ({"w": torch.zeros(2, device="meta")}, "w: not a dense tensor"),
    ],
)
def test_what_cannot_be_stored_is_named(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        digest(value)


def test_record_appends_and_leaves_the_original_alone() -> None:
    first = Checkpoint(architecture={}, state=state(), classes=["x"])
    second = record(first, "train", {"epochs": 2}, {"mAP": 0.5}, None)
    third = record(second, "drop", {}, {}, second.checksum)
    assert first.history == []
    assert [entry["command"] for entry in third.history] == ["train", "drop"]
    assert third.history[1]["parent"] == weights_checksum(state(), None)
    assert set(third.history[0]) == {"command", "arguments", "version", "parent", "metrics"}
    assert third.state is first.state


@pytest.mark.parametrize(("dropped", "problem"), [
    ([3, "3.mlp"], "has a block and a half of it"), (["3.mlp", "3.attention"], "has a block and a half of it, or both halves"),
    (["3.mlp", "3.mlp"], "has the same item twice"), (["3.head"], "should be the index of a block"), (["03.mlp"], "should be the index"),
    ([3.0], "should be the index"),
])
def test_dropped_units_that_make_no_sense_are_refused(dropped: list, problem: str) -> None:
    layout = {"state_dict": {}, "architecture": {}, "classes": [], "ranking": None, "lora": None, "history": []}
    assert CheckpointLayout(**layout, dropped=[1, "3.mlp", "0.attention"]).dropped == [1, "3.mlp", "0.attention"]
    with pytest.raises(ValidationError, match=problem):
        CheckpointLayout(**layout, dropped=dropped)
