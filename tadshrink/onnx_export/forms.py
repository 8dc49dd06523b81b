"""Layers as they are traced for ONNX, where torch's own way of computing them would become a slow graph."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from tadshrink.models.attention import MaskedAttention
from tadshrink.models.config import BackboneConfig
from tadshrink.models.convolution import DepthwiseConv
from tadshrink.models.detector import Detector
from tadshrink.models.vit import Attention, VideoViT
from tadshrink.recognition.recogniser import ActionRecogniser

Model = TypeVar("Model", bound=nn.Module)


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Attention of [B, N, D] as the one operator that ONNX has for it: its kernels need no transposed copies.

    Args:
        mask: bool [B, 1, N, N], which key each query may see.
    """
    result, *_ = torch.onnx.ops.attention(query, key, value, mask, q_num_heads=heads, kv_num_heads=heads)
    return result


class FusedAttention(Attention):
    """Attention of the ViT. Three products in the place of one, whose result would have to be split; and as what a query sees adds up
    to 1, the bias of the values is one of the output."""

    @torch.no_grad()
    def prepare(self) -> None:
        """Sort the weights anew."""
        query, key, value = self.qkv.weight.chunk(3)
        bias = self.proj.bias + self.proj.weight @ self.v_bias
        self.query, self.key, self.value = linear(query, self.q_bias), linear(key), linear(value)
        self.proj = linear(self.proj.weight, bias)
        del self.qkv, self.q_bias, self.v_bias

    def forward(self, tokens: Tensor) -> Tensor:
        return self.proj(attention(self.query(tokens), self.key(tokens), self.value(tokens), self.heads))


class FusedMaskedAttention(MaskedAttention):
    """Attention over time. Within a band it stays as it is: the operator would compute all products."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.window > 1:
            return super().forward(x, mask)
        parts = (self.get_submodule(name)(self.get_submodule(f"{name}_norm")(self.get_submodule(f"{name}_conv")(x, mask)))
                 for name in ("query", "key", "value"))
        # A row for every query, since kernels take no mask that is to be repeated along them.
        seen = mask.bool()[:, None, None, :, 0].expand(-1, 1, mask.shape[1], -1)
        return self.proj(attention(*parts, self.heads, seen)) * mask


class PlainDepthwiseConv(DepthwiseConv):
    """A convolution by name: one operator instead of ten, and as fast there."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.conv(x.transpose(1, 2)).transpose(1, 2) * mask


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A layer with these weights."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).requires_grad_(False)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made


#: What is traced in the place of which layer.
FORMS: dict[type[nn.Module], type[nn.Module]] = {
    Attention: FusedAttention, MaskedAttention: FusedMaskedAttention, DepthwiseConv: PlainDepthwiseConv,
}


def export_form(model: Model, dtype: torch.dtype = torch.float32) -> Model:
    """A copy of a model without LoRA that computes the same with the layers of :data:`FORMS`; on the CPU, in eval mode."""
    made = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    if isinstance(made, Detector) and isinstance(made.config.backbone, BackboneConfig):
        resize_positions(made.backbone.vit, made.config.sampling.frame_size)
    elif isinstance(made, ActionRecogniser) and isinstance(made.backbone, VideoViT):
        resize_positions(made.backbone, made.config.clip.size)
    for module in list(made.modules()):
        module.__class__ = FORMS.get(type(module), type(module))
        if isinstance(module, FusedAttention):
            module.prepare()
    return made.to(dtype)


def resize_positions(vit: VideoViT, side: int) -> None:
    """Keep the position table of the frames' own size, so that it is not resized with every call."""
    cells = side // vit.config.patch_size
    vit.pos_embed = vit.positions(cells, cells).contiguous()
    vit.config = vit.config.model_copy(update={"table_size": side})
