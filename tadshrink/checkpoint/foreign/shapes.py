"""What the names and shapes of a detector's weights say about its architecture.

Each size is taken from all tensors that show it, and the most common answer counts: one damaged tensor is then found as the one
that does not fit, instead of bending the whole architecture. A size that nothing shows gets the usual one, so that what is missing can
be named.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from tadshrink.checkpoint.foreign.names import VIT
from tadshrink.checkpoint.foreign.settings import MOST_LAYERS
from tadshrink.errors import UserError

T = TypeVar("T")
_BLOCK = rf"{re.escape(VIT)}blocks\.\d+\."
_LAYER = r"projection\.(stem|branch)\.\d+\."


@dataclass(frozen=True)
class VitShapes:
    """The video backbone: sizes, and the numbers of the blocks that have weights (and of those with adapters)."""

    width: int
    hidden: int
    patch: int
    tubelet: int
    #: Entries of the position table; None where there is none.
    tokens: int | None
    blocks: tuple[int, ...]
    adapters: tuple[int, ...]
    adapter_width: int


@dataclass(frozen=True)
class Shapes:
    """A whole detector; ``vit`` is None where features come from outside."""

    vit: VitShapes | None
    channels: int
    head_width: int
    embed_layers: int
    #: Numbers of the stem's blocks.
    stem: tuple[int, ...]
    levels: int
    head_layers: int
    mlp_ratio: int
    classes: int
    #: Learned factors of the residual branches; they are there only with stochastic depth.
    scales: bool
    #: (heads, window) of relative positions.
    relative: tuple[int, int] | None
    fpn: bool

    @property
    def features(self) -> bool:
        return self.vit is None

    @property
    def width(self) -> int | None:
        return self.vit.width if self.vit else None


def read_shapes(state: Mapping[str, Tensor], where: object) -> Shapes:
    """From weights by our names.

    Raises:
        UserError: a block or layer number that is out of all proportion.
    """
    look = _Look(state, where)
    width = look.size(rf"{_LAYER}ln[12]\.bias|neck\.fpn_norms\.\d+\.bias|rpn_head\.cls_convs\.\d+\.norm\.bias", 0, 512)
    relative = look.common(rf"{_LAYER}attn\.rel_pe", lambda shape: (shape[2], shape[3]) if len(shape) == 4 else None)
    return Shapes(
        vit=_read_vit(look) if look.any(re.escape(VIT) + ".+") else None,
        channels=look.size(r"projection\.embed\.0\.conv\.weight", 1, width),
        head_width=width,
        embed_layers=len(look.numbers("projection.embed.")),
        stem=look.numbers("projection.stem."),
        levels=len(look.numbers("projection.branch.")) + 1,
        head_layers=len(look.numbers("rpn_head.cls_convs.")),
        mlp_ratio=max(look.size(rf"{_LAYER}mlp\.0\.(weight|bias)", 0, 4 * width) // width, 1),
        classes=look.size(r"rpn_head\.cls_head\.(weight|bias)", 0, 1),
        scales=look.any(rf"{_LAYER}drop_path_(attn|mlp)\.scale"),
        relative=relative,
        fpn=look.any(r"neck\.lateral_convs\..+"),
    )


def _read_vit(look: _Look) -> VitShapes:
    width = look.size(rf"{_BLOCK}(norm[12]|attn\.proj)\.bias|{re.escape(VIT)}patch_embed\.projection\.bias", 0, 384)
    kernel = look.common(rf"{re.escape(VIT)}patch_embed\.projection\.weight", lambda shape: shape[2:4] if len(shape) == 5 else None)
    tubelet, patch = kernel or (2, 16)
    return VitShapes(
        width=width,
        hidden=look.size(rf"{_BLOCK}mlp\.layers\.0\.0\.(weight|bias)", 0, 4 * width),
        patch=patch,
        tubelet=tubelet,
        tokens=look.common(rf"{re.escape(VIT)}pos_embed", lambda shape: shape[1] if len(shape) == 3 else None),
        blocks=look.numbers(f"{VIT}blocks."),
        adapters=look.numbers(f"{VIT}blocks.", r"\.adapter\..+"),
        adapter_width=look.size(rf"{_BLOCK}adapter\.(down_proj|conv|dwconv)\.bias", 0, 0),
    )


class _Look:
    """Questions to a set of names and shapes."""

    def __init__(self, state: Mapping[str, Tensor], where: object) -> None:
        self.shapes = {name: tuple(value.shape) for name, value in state.items()}
        self.where = where

    def any(self, pattern: str) -> bool:
        regex = re.compile(pattern, re.ASCII)
        return any(regex.fullmatch(name) for name in self.shapes)

    def common(self, pattern: str, value: Callable[[tuple[int, ...]], T | None]) -> T | None:
        """The most common value over the tensors with such a name."""
        regex = re.compile(pattern, re.ASCII)
        votes = Counter(found for name, shape in self.shapes.items() if regex.fullmatch(name) and (found := value(shape)) is not None)
        return votes.most_common(1)[0][0] if votes else None

    def size(self, pattern: str, axis: int, usual: int) -> int:
        found = self.common(pattern, lambda shape: shape[axis] if len(shape) > axis else None)
        return usual if found is None else found

    def numbers(self, prefix: str, rest: str = r"\..+") -> tuple[int, ...]:
        """The numbers that follow this prefix, ascending."""
        regex = re.compile(rf"{re.escape(prefix)}(\d+){rest}", re.ASCII)
        texts = {match[1] for name in self.shapes if (match := regex.fullmatch(name))}
        for text in texts:
            if len(text) > 4 or int(text) >= MOST_LAYERS:
                raise UserError(f"{prefix}{text[:20]}: there cannot be that many", where=self.where, fix="Give a whole checkpoint")
        return tuple(sorted({int(text) for text in texts}))
