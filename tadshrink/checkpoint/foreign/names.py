"""Weight names and shapes of other code bases and how they become ours (those of OpenTAD), both ways.

A pattern has "#" for a number and "*" for the rest of a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from torch import Tensor

VIT = "backbone.model.backbone."


class Renaming:
    """A one-to-one map between names of another code base and ours, as pairs of patterns; the first that fits counts."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = list(pairs)

    @cached_property
    def _to_ours(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_regex(theirs), _template(ours)) for theirs, ours in self.pairs]

    @cached_property
    def _to_theirs(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_regex(ours), _template(theirs)) for theirs, ours in self.pairs]

    def ours(self, name: str) -> str | None:
        """Our name, or None where no pattern fits."""
        return _renamed(name, self._to_ours)

    def theirs(self, name: str) -> str | None:
        """Their name, or None where no pattern fits."""
        return _renamed(name, self._to_theirs)


def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\#", "([0-9]+)").replace(r"\*", "(.+)"), re.ASCII)


def _template(pattern: str) -> str:
    return re.sub(r"[#*]", "{}", pattern)


def _renamed(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for regex, template in rules:
        if match := regex.fullmatch(name):
            return template.format(*match.groups())
    return None


#: The original ActionFormer.
ACTIONFORMER = Renaming([
    ("backbone.embd.#.conv.*", "projection.embed.#.conv.*"),
    ("backbone.embd_norm.#.*", "projection.embed.#.norm.*"),
    ("backbone.stem.#.*", "projection.stem.#.*"),
    ("backbone.branch.#.*", "projection.branch.#.*"),
    ("neck.*", "neck.*"),
    ("cls_head.head.#.conv.*", "rpn_head.cls_convs.#.conv.*"),
    ("cls_head.norm.#.*", "rpn_head.cls_convs.#.norm.*"),
    ("cls_head.cls_head.conv.*", "rpn_head.cls_head.*"),
    ("reg_head.head.#.conv.*", "rpn_head.reg_convs.#.conv.*"),
    ("reg_head.norm.#.*", "rpn_head.reg_convs.#.norm.*"),
    ("reg_head.scale.#.scale", "rpn_head.scale.#.scale"),
    ("reg_head.offset_head.conv.*", "rpn_head.reg_head.*"),
])

_SAME = ("blocks.#.norm1.*", "blocks.#.norm2.*", "blocks.#.attn.q_bias", "blocks.#.attn.v_bias", "blocks.#.attn.qkv.weight",
         "blocks.#.attn.proj.*", "pos_embed", "fc_norm.*")
#: The releases of MCG-NJU, relative to the ViT.
VIDEOMAE = Renaming([
    *((name, name) for name in _SAME),
    ("patch_embed.proj.*", "patch_embed.projection.*"),
    ("blocks.#.mlp.fc1.*", "blocks.#.mlp.layers.0.0.*"),
    ("blocks.#.mlp.fc2.*", "blocks.#.mlp.layers.1.*"),
])
#: The recognisers of mmaction2, relative to the ViT: OpenTAD's names.
MMACTION = Renaming([(name, name) for name in (*_SAME, "patch_embed.projection.*", "blocks.#.mlp.layers.0.0.*", "blocks.#.mlp.layers.1.*")])

#: LayerNorms of the original ActionFormer, by our names; their parameters are [1, C, 1] there and [C] here.
_NORM = re.compile(r".*(\.ln\d|_norm|\.norm|fpn_norms\.\d+)\.(weight|bias)", re.ASCII)
#: Not a weight, and not stored by the original ActionFormer.
LOSS_NORMALIZER = "rpn_head.loss_normalizer"


def actionformer_to_ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names and shapes; a name that is unknown stays."""
    ours = {ACTIONFORMER.ours(name) or name: value for name, value in tensors.items()}
    return {name: value.reshape(-1) if _NORM.fullmatch(name) and value.shape == (1, value.numel(), 1) else value
            for name, value in ours.items()}


def actionformer_to_theirs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse; the loss normaliser is left out."""
    return {ACTIONFORMER.theirs(name) or name: value.reshape(1, -1, 1) if value.ndim == 1 and _NORM.fullmatch(name) else value
            for name, value in state.items() if name != LOSS_NORMALIZER}


def family(name: str) -> str:
    """The name without its numbers, such as ``blocks.#.norm#.weight``."""
    return re.sub(r"[0-9]+", "#", name)
