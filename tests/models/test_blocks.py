from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.blocks import DroppableBlocks


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


def test_outputs_by_original_index() -> None:
    outputs: dict[int, Tensor] = {}
    blocks(1).run(torch.ones(1), 0.0, outputs=outputs)
    assert {index: value.item() for index, value in outputs.items()} == {0: 2, 2: 8, 3: 40}


def test_survivors_keep_their_names() -> None:
    assert list(blocks(1, 2).state_dict()) == ["0.factor", "3.factor"]


@pytest.mark.parametrize(("first", "index"), [((), -1), ((), 4), ((2,), 2)])
def test_dropping_what_is_not_there(first: tuple[int, ...], index: int) -> None:
    with pytest.raises(UserError, match=f"block {index} cannot be dropped: the blocks left are \\["):
        blocks(*first).drop(index)
