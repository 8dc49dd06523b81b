from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tadshrink.recognition.vit_backbone import VitBackbone
from tests.recognition.models import VIT, made


@pytest.fixture
def vit() -> VitBackbone:
    return made(VIT).backbone


def pooled(vit: VitBackbone, pixels: Tensor) -> Tensor:
    """The whole ViT without a split."""
    return vit.fc_norm(vit.blocks.run(vit.embed(pixels), len(pixels)).mean(1))


@pytest.mark.parametrize("last", [0, 1, 2])
def test_every_split_gives_the_same(vit: VitBackbone, last: int) -> None:
    pixels = torch.randn(2, 3, 4, 32, 32)
    features = vit.head(pixels, last)
    assert features.shape == (2, 8, 2, 2, 2)
    assert torch.equal(vit.tail(features, last), pooled(vit, pixels))


def test_features_are_on_the_grid_of_time_height_and_width(vit: VitBackbone) -> None:
    pixels = torch.randn(1, 3, 4, 32, 32)
    tokens = vit.blocks.run(vit.embed(pixels), 1, last=0)
    assert torch.equal(vit.head(pixels, 0)[0, :, 1, 0, 1], tokens[0, 1 * 4 + 0 * 2 + 1])


def test_longer_features_are_cut_into_groups_of_a_clip_at_most(vit: VitBackbone) -> None:
    features = torch.randn(1, 8, 5, 2, 2)
    parts = [vit.tail(features[:, :, start:end], 0) for start, end in ((0, 2), (2, 4), (4, 5))]
    torch.testing.assert_close(vit.tail(features, 0), sum(parts) / 3)
    runs: list[int] = []
    vit.blocks[1].register_forward_hook(lambda module, args, output: runs.append(args[0].shape[1]))
    vit.tail(torch.randn(1, 8, 3, 2, 2), 0)
    assert runs == [2 * 4, 1 * 4]


def test_dropped_blocks_are_left_out_on_either_side(vit: VitBackbone) -> None:
    pixels = torch.randn(1, 3, 4, 32, 32)
    vit.blocks.drop(1)
    assert torch.equal(vit.tail(vit.head(pixels, 1), 1), pooled(vit, pixels))
