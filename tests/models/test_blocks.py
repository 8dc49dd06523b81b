from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.blocks import DroppableBlocks, HalvedBlock


class Times(nn.Module):
    """x -> x + factor * x + context."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor, context: float) -> Tensor:
        return x + self.factor * x + context


def blocks(*dropped: int) -> DroppableBlocks:
    """Four blocks that multiply by 2, 3, 4 and 5."""
    made = DroppableBlocks(Times(float(factor)) for factor in (1, 2, 3, 4))
    for index in dropped:
        made.drop(index)
    return made


@pytest.mark.parametrize(("dropped", "product"), [((), 120), ((1,), 40), ((2, 0), 15), ((3, 2, 1), 2)])
def test_what_is_left_runs_in_order(dropped: tuple[int, ...], product: int) -> None:
    made = blocks(*dropped)
    assert made.indices == tuple(sorted({0, 1, 2, 3} - set(dropped)))
    assert made.run(torch.ones(1), 0.0).item() == product


def test_context_reaches_every_block() -> None:
    assert blocks(2, 3).run(torch.ones(1), 1.0).item() == (1 * 2 + 1) * 3 + 1


def test_a_part_of_the_blocks() -> None:
    made = blocks(1)
    assert made.run(torch.ones(1), 0.0, first=1).item() == 20
    assert made.run(torch.ones(1), 0.0, first=2, last=2).item() == 4
    assert made.run(torch.ones(1), 0.0, last=2).item() == 8


def test_survivors_keep_their_names() -> None:
    assert list(blocks(1, 2).state_dict()) == ["0.factor", "3.factor"]


@pytest.mark.parametrize(("first", "index"), [((), -1), ((), 4), ((2,), 2)])
def test_dropping_what_is_not_there(first: tuple[int, ...], index: int) -> None:
    with pytest.raises(UserError, match=f"block {index} cannot be dropped: the blocks left are \\["):
        blocks(*first).drop(index)


class Halves(HalvedBlock):
    """x -> 2 x (attention) and then x + 3 (MLP), times 10 at the end."""

    parts: ClassVar = {"attention": ("norm1", "attn"), "mlp": ("norm2", "mlp")}

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = (nn.Linear(1, 1) for _ in range(4))

    def attention_half(self, tokens: Tensor, context: float) -> Tensor:
        return 2 * tokens

    def mlp_half(self, tokens: Tensor, context: float) -> Tensor:
        return tokens + 3

    def end(self, tokens: Tensor, context: float) -> Tensor:
        return 10 * tokens


@pytest.mark.parametrize(("dropped", "value"), [
    ([], 50.0), (["0.attention"], 40.0), (["0.mlp"], 20.0), (["0.mlp", "0.attention"], 1.0), ([0], 1.0)])
def test_halves_go_as_if_they_were_left_out_and_the_end_with_the_last(dropped: list, value: float) -> None:
    made, whole = DroppableBlocks([Halves()]), DroppableBlocks([Halves()])
    for unit in dropped:
        made.drop(unit)
    assert made.run(torch.ones(1), 0.0).item() == value
    assert whole.run(torch.ones(1), 0.0, skipped=dropped).item() == value
    assert whole.left == {0: ("attention", "mlp")}


def test_what_is_left_of_halves() -> None:
    made = DroppableBlocks(Halves() for _ in range(3))
    made.drop("1.mlp")
    assert made.left == {0: ("attention", "mlp"), 1: ("attention",), 2: ("attention", "mlp")}
    assert {name.split(".")[1] for name in made.state_dict() if name.startswith("1.")} == {"norm1", "attn"}
    with pytest.raises(UserError, match=r"block 1\.mlp cannot be dropped"):
        made.drop("1.mlp")
    made.drop(1)
    assert made.indices == (0, 2)
    # Skipping the half that is left of a block skips the block.
    made.drop("0.mlp")
    assert made.run(torch.ones(1), 0.0, skipped=["0.attention"]).item() == 50


def test_blocks_without_halves_are_dropped_whole() -> None:
    assert blocks(1).left == {0: ("attention", "mlp"), 2: ("attention", "mlp"), 3: ("attention", "mlp")}
    assert blocks().run(torch.ones(1), 0.0, skipped=[1, 3]).item() == 2 * 4
