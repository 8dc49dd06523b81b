"""The video backbone: toys with answers worked out by hand, and pieces of an OpenTAD model with its own outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tadshrink.models import vit
from tadshrink.models.config import BackboneConfig
from tadshrink.models.vit import Block, PatchProjection, Recogniser, VideoViT, normalised, sinusoid_table, stochastic_depth

GOLDEN = Path(__file__).parent / "golden"
TINY = BackboneConfig(width=8, depth=4, heads=2, patch_size=4, chunk_frames=4, table_size=8, drop_path=0.0)


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(value) for key, value in arrays.items()}


def video(batch: int = 2, frames: int = 8, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (batch, 1, 3, frames, size, size), dtype=torch.uint8, generator=generator)


def test_sinusoid_table_by_hand():
    expected = [[0, 1, 0, 1], [np.sin(1), np.cos(1), np.sin(0.01), np.cos(0.01)]]
    torch.testing.assert_close(sinusoid_table(2, 4), torch.tensor(expected, dtype=torch.float32))


def test_patch_projection_is_the_convolution():
    projection = PatchProjection(3, 5, (2, 4, 4), stride=(2, 4, 4))
    chunks = torch.randn(2, 3, 4, 8, 12)
    expected = nn.functional.conv3d(chunks, projection.weight, projection.bias, stride=(2, 4, 4))
    torch.testing.assert_close(projection(chunks), expected.flatten(2).transpose(1, 2))


def test_embedding_of_the_reference():
    data = golden("vit_embedding")
    projection = PatchProjection(3, 8, (2, 16, 16), stride=(2, 16, 16))
    projection.load_state_dict({"weight": data["weight"], "bias": data["bias"]})
    recogniser = Recogniser(BackboneConfig(width=8, depth=1, heads=1), window=8)
    recogniser.vit.patch_embed.projection = projection
    recogniser.vit.pos_embed.copy_(data["pos_embed"])
    torch.testing.assert_close(recogniser.vit.positions(10, 10), data["positions"], atol=5e-6, rtol=0)
    corner = recogniser.tokens(data["pixels"]) - recogniser.vit.positions(2, 2)
    torch.testing.assert_close(corner, data["patches"], atol=2e-5, rtol=1e-6)


@pytest.mark.parametrize("small", [0, 1000])
def test_block_of_the_reference(monkeypatch: pytest.MonkeyPatch, small: int):
    monkeypatch.setattr(vit, "SMALL_SEQUENCE", small)
    parts = golden("vit_block_attention") | golden("vit_block_mlp")
    block = Block(BackboneConfig(width=96, heads=3), index=1).eval()
    block.load_state_dict({key[2:]: value for key, value in parts.items() if key.startswith("w.")})
    tokens = golden("vit_block_input")["tokens"]
    with torch.no_grad():
        mid = tokens + block.attn(block.norm1(tokens))
        out = block(tokens, 2)
    torch.testing.assert_close(mid[:, ::20], parts["mid"], atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(out[:, ::20], parts["out"], atol=2e-5, rtol=1e-6)


def test_pooling_of_the_reference():
    data = golden("vit_pool")
    recogniser = Recogniser(BackboneConfig(width=32, depth=0, heads=1), window=8)
    tokens = data["vit_output"].flatten(2).transpose(1, 2)
    assert data["feature"].shape == (1, 32, 8)
    same_length = recogniser.pool(tokens, batch=1)
    stretched = nn.functional.interpolate(same_length, size=16, mode="linear", align_corners=False)
    # The clip continues after this chunk, so only cells that do not look at the next chunk can be compared.
    torch.testing.assert_close(stretched[..., :8], data["feature"], atol=2e-6, rtol=1e-6)
    recogniser.window = 16
    torch.testing.assert_close(recogniser.pool(tokens, batch=1), stretched)


def test_linear_resize_in_time_by_hand():
    recogniser = Recogniser(BackboneConfig(width=1, depth=0, heads=1, chunk_frames=4), window=4)
    tokens = torch.tensor([0.0, 2.0, 4.0, 8.0]).view(1, 4, 1)  # 2 moments of 2 patches: means 1 and 6
    torch.testing.assert_close(recogniser.pool(tokens, batch=1), torch.tensor([[[1.0, 2.25, 4.75, 6.0]]]))


def test_chunk_batch_does_not_matter():
    recogniser = Recogniser(TINY, window=4).eval()
    inputs = video(batch=3)
    together = recogniser(inputs)
    alone = torch.cat([recogniser(inputs[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-6)


def test_chunks_do_not_see_each_other():
    recogniser = Recogniser(TINY, window=4).eval()
    inputs = video(batch=1)
    changed = inputs.clone()
    changed[..., 4:, :, :] = 0
    before, after = recogniser(inputs), recogniser(changed)
    assert torch.equal(before[..., :2], after[..., :2])
    assert not torch.allclose(before[..., 2:], after[..., 2:])


def test_pixels_are_normalised():
    recogniser = Recogniser(TINY, window=2)
    captured: list[Tensor] = []
    recogniser.vit.patch_embed.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    inputs = torch.zeros(1, 1, 3, 4, 8, 8, dtype=torch.uint8)
    inputs[:, :, 1] = 255
    recogniser(inputs)
    expected = torch.tensor([-123.675 / 58.395, (255 - 116.28) / 57.12, -103.53 / 57.375])
    torch.testing.assert_close(captured[0][0, :, 0, 0, 0], expected)


def without(*blocks: int) -> VideoViT:
    model = VideoViT(TINY).eval()
    for index in blocks:
        model.blocks.drop(index)
    return model


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pixels_of_the_caller_stay_as_they_are(dtype: torch.dtype):
    pixels = torch.arange(12).view(1, 3, 1, 2, 2).to(dtype)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in ((1.0, 2.0, 3.0), (2.0, 4.0, 8.0)))
    result = normalised(pixels, mean, std)
    assert result[0, :, 0, 1, 1].tolist() == [1.0, 1.25, 1.0]
    assert pixels.flatten().tolist() == list(range(12))


def test_names_and_dropped_blocks():
    names = set(without(2, 1).state_dict())
    assert {name.split(".")[1] for name in names if name.startswith("blocks.")} == {"0", "3"}
    block = {name.removeprefix("blocks.3.") for name in names if name.startswith("blocks.3.")}
    assert block == {
        "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias",
        "attn.qkv.weight", "attn.q_bias", "attn.v_bias", "attn.proj.weight", "attn.proj.bias",
        "mlp.layers.0.0.weight", "mlp.layers.0.0.bias", "mlp.layers.1.weight", "mlp.layers.1.bias",
    }  # fmt: skip
    other = {name for name in names if not name.startswith("blocks.")}
    patch = {"patch_embed.projection.weight", "patch_embed.projection.bias"}
    assert other == patch | {"pos_embed", "fc_norm.weight", "fc_norm.bias"}


def test_drop_path_follows_the_original_index():
    model = VideoViT(TINY.model_copy(update={"drop_path": 0.3}))
    model.blocks.drop(1)
    assert [model.blocks[index].drop_path for index in (0, 2, 3)] == pytest.approx([0.0, 0.2, 0.3])


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    branch = stochastic_depth(torch.ones(20000, 2, 3), 0.25, training=True)
    assert branch.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert torch.equal(branch.amin((1, 2)), branch.amax((1, 2)))
    assert branch.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(stochastic_depth(branch, 0.25, training=False), branch)


class Wrapped(nn.Module):
    """Stands for a LoRA layer around the linear layer."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x)


def test_wrapped_linear_layers_give_the_same():
    block = VideoViT(TINY).blocks[0]
    nn.init.normal_(block.attn.q_bias)
    nn.init.normal_(block.attn.v_bias)
    tokens = torch.randn(2, 8, 8)
    expected = block(tokens, 2)
    block.attn.qkv, block.attn.proj = Wrapped(block.attn.qkv), Wrapped(block.attn.proj)
    torch.testing.assert_close(block(tokens, 2), expected)


def test_final_norm_is_never_used():
    recogniser = Recogniser(TINY, window=4)
    recogniser(video()).sum().backward()
    unused = {name for name, parameter in recogniser.vit.named_parameters() if parameter.grad is None}
    assert unused == {"fc_norm.weight", "fc_norm.bias"}


def test_initial_weights():
    model = VideoViT(TINY)
    weight = model.blocks[0].mlp.layers[0][0].weight
    assert weight.abs().max() <= (6 / (8 + 32)) ** 0.5
    assert weight.std().item() == pytest.approx((2 / (8 + 32)) ** 0.5, rel=0.2)
    assert not model.blocks[0].attn.proj.bias.any()
    assert torch.equal(model.blocks[0].norm1.weight, torch.ones(8))
