"""The video backbone: a VideoMAE ViT on short chunks, and the recogniser that makes grid features of it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.models.adapter import TemporalAdapter
from tadshrink.models.blocks import Cut, DroppableBlocks, HalvedBlock
from tadshrink.models.config import BackboneConfig

#: Per channel (R, G, B) mean and standard deviation of the pixels, on the scale 0..255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

#: Up to this many tokens the plain product form of attention beats the fused kernel on a CPU.
SMALL_SEQUENCE = 128


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(pixels - mean) / std, in the number format of ``mean``. Pixels are converted first: arithmetic of two formats is slow on a CPU."""
    return pixels.to(mean.dtype, copy=True).sub_(mean).div_(std)


def stochastic_depth(branch: Tensor, rate: float, training: bool) -> Tensor:
    """Zero the residual branch of whole samples (first axis) with probability ``rate``, rescaling the others."""
    if rate == 0.0 or not training:
        return branch
    keep = torch.empty((len(branch),) + (1,) * (branch.dim() - 1), dtype=branch.dtype, device=branch.device)
    return branch * (keep.bernoulli_(1.0 - rate) / (1.0 - rate))


def sinusoid_table(positions: int, width: int) -> Tensor:
    """Fixed position table [positions, width]: sine on even channels, cosine on odd ones ("VideoMAE")."""
    # On the CPU even where a detector is only sketched on the meta device: a range there imports torch's compiler (2 s).
    channel = torch.arange(width, dtype=torch.float64, device="cpu")
    rate = 10000.0 ** (-2.0 * torch.div(channel, 2, rounding_mode="floor") / width)
    angle = torch.arange(positions, dtype=torch.float64, device="cpu")[:, None] * rate
    return torch.where(channel.long() % 2 == 0, angle.sin(), angle.cos()).float()


class PatchProjection(nn.Conv3d):
    """A 3-D convolution whose stride is its kernel, computed as one matrix product (much faster on a CPU)."""

    def forward(self, chunks: Tensor) -> Tensor:
        """[n, 3, F, H, W] -> tokens [n, N, D] in the order time, height, width."""
        frames, height, width = self.kernel_size
        n, channels, f, h, w = chunks.shape
        grid = chunks.view(n, channels, f // frames, frames, h // height, height, w // width, width)
        patches = grid.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(n, -1, self.weight[0].numel())
        return F.linear(patches, self.weight.flatten(1), self.bias)


class PatchEmbedding(nn.Module):
    """Tubelets of pixels to tokens."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        kernel = (config.tubelet, config.patch_size, config.patch_size)
        self.projection = PatchProjection(3, config.width, kernel, stride=kernel)

    def forward(self, chunks: Tensor) -> Tensor:
        """[n, 3, F, H, W] -> [n, N, D]."""
        return self.projection(chunks)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v on [n, heads, N, d]."""
    if query.device.type != "cpu" or query.shape[-2] > SMALL_SEQUENCE:
        return F.scaled_dot_product_attention(query, key, value)
    return ((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)).softmax(-1) @ value


class Attention(nn.Module):
    """Self-attention over the tokens of one chunk; the key has no bias ("VideoMAE")."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        """``inner``: width of all heads together, less than that of the tokens where heads were pruned."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(inner))
        self.v_bias = nn.Parameter(torch.zeros(inner))
        self.proj = nn.Linear(inner, width)

    def project(self, tokens: Tensor) -> Tensor:
        """Queries, keys and values together, [n, N, 3D]; works with a wrapped ``qkv`` (LoRA) too."""
        bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        if type(self.qkv) is nn.Linear:
            return F.linear(tokens, self.qkv.weight, bias)
        return self.qkv(tokens) + bias

    def forward(self, tokens: Tensor) -> Tensor:
        """[n, N, D] -> [n, N, D]; the heads together may be narrower than D."""
        n, count, _ = tokens.shape
        query, key, value = self.project(tokens).view(n, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(attend(query, key, value).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(width, hidden), nn.GELU()), nn.Linear(hidden, width))


class Block(HalvedBlock):
    """Pre-norm transformer block with stochastic depth on both branches, and a temporal adapter at its end if it has one.

    Tokens are [n, N, D], and the n chunks are those of ``batch`` clips.
    """

    parts: ClassVar = {"attention": ("norm1", "attn"), "mlp": ("norm2", "mlp")}
    cuts: ClassVar = {
        "attention": (Cut("attn.qkv.weight", repeats=3), Cut("attn.q_bias"), Cut("attn.v_bias"), Cut("attn.proj.weight", axis=1)),
        "mlp": (Cut("mlp.layers.0.0.weight"), Cut("mlp.layers.0.0.bias"), Cut("mlp.layers.1.weight", axis=1)),
    }

    def __init__(self, config: BackboneConfig, index: int) -> None:
        super().__init__()
        self.drop_path = config.drop_path * index / max(config.depth - 1, 1)
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        heads, hidden = config.sizes(index)
        self.attn = Attention(config.width, heads, config.width // config.heads * heads)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = FeedForward(config.width, hidden)
        if index in config.adapters:
            self.adapter = TemporalAdapter(config.width, config.adapter_width, config.chunk_frames // config.tubelet)

    def attention_half(self, tokens: Tensor, batch: int) -> Tensor:
        return tokens + stochastic_depth(self.attn(self.norm1(tokens)), self.drop_path, self.training)

    def mlp_half(self, tokens: Tensor, batch: int) -> Tensor:
        branch = self.branch(self.norm2, *self.mlp.layers, tokens)
        return tokens + stochastic_depth(branch, self.drop_path, self.training)

    def end(self, tokens: Tensor, batch: int) -> Tensor:
        return self.adapter(tokens, batch) if hasattr(self, "adapter") else tokens

    @torch.no_grad()
    def scale_outputs(self, factor: float) -> None:
        """Multiply what both branches add to the tokens."""
        self.attn.proj.weight.mul_(factor)
        self.mlp.layers[1].weight.mul_(factor)


class VideoViT(nn.Module):
    """VideoMAE ViT without final norm."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbedding(config)
        side, times = config.table_size // config.patch_size, config.chunk_frames // config.tubelet
        self.register_buffer("pos_embed", sinusoid_table(times * side * side, config.width)[None])
        self.blocks = DroppableBlocks(Block(config, index) for index in range(config.depth))
        #: In every checkpoint, but never applied when the feature map is returned ("VideoMAE" in OpenTAD).
        self.fc_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.apply(_initialise)
        for block in self.blocks:
            block.scale_outputs(config.branch_gain)

    def positions(self, height: int, width: int) -> Tensor:
        """Position table [1, N, D] for a grid of ``height`` x ``width`` patches; resized if the stored one differs."""
        side = self.config.table_size // self.config.patch_size
        if (height, width) == (side, side):
            return self.pos_embed
        table = self.pos_embed.view(-1, side, side, self.config.width).permute(0, 3, 1, 2)
        table = F.interpolate(table, size=(height, width), mode="bicubic", align_corners=False)
        return table.permute(0, 2, 3, 1).reshape(1, -1, self.config.width)

    def embed(self, chunks: Tensor) -> Tensor:
        """Normalised pixels [n, 3, F, H, W] -> tokens with position [n, N, D]."""
        patch = self.config.patch_size
        return self.patch_embed(chunks) + self.positions(chunks.shape[-2] // patch, chunks.shape[-1] // patch)


def _initialise(module: nn.Module) -> None:
    """Weights for training from scratch ("VideoMAE"): Xavier-uniform matrices, zero biases."""
    if isinstance(module, (nn.Linear, PatchProjection)):
        nn.init.xavier_uniform_(module.weight.data.flatten(1))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, TemporalAdapter):
        module.start_closed()


class _Model(nn.Module):
    """Only a level in the parameter names: ``backbone.model.backbone``."""

    def __init__(self, vit: VideoViT) -> None:
        super().__init__()
        self.backbone = vit


class Recogniser(nn.Module):
    """Cuts a clip into chunks for the ViT, and brings the ViT's features to the grid of the head."""

    def __init__(self, config: BackboneConfig, window: int) -> None:
        super().__init__()
        self.window = window
        self.model = _Model(VideoViT(config))
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1, 1), persistent=False)

    @property
    def vit(self) -> VideoViT:
        """The backbone proper."""
        return self.model.backbone

    def tokens(self, inputs: Tensor) -> Tensor:
        """uint8 RGB [B, 1, 3, F, H, W] -> embedded tokens [B * F / 16, N, D]; the chunk is the fast part."""
        batch, _, channels, frames, height, width = inputs.shape
        size = self.vit.config.chunk_frames
        chunks = inputs.reshape(batch, channels, frames // size, size, height, width).transpose(1, 2)
        return self.vit.embed(normalised(chunks.flatten(0, 1), self.mean, self.std))

    def pool(self, tokens: Tensor, batch: int) -> Tensor:
        """Tokens [B * chunks, N, D] -> features [B, D, window]: mean over space, linear resize in time."""
        config = self.vit.config
        times = tokens.shape[0] // batch * (config.chunk_frames // config.tubelet)
        features = tokens.reshape(batch, times, -1, config.width).mean(2).transpose(1, 2)
        if times == self.window:
            return features
        return F.interpolate(features, size=self.window, mode="linear", align_corners=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """uint8 RGB [B, 1, 3, F, H, W] -> features [B, D, window]."""
        return self.pool(self.vit.blocks.run(self.tokens(inputs), len(inputs)), len(inputs))
