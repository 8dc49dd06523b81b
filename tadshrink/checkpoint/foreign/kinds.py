"""Which code base's names a file has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch

from tadshrink.checkpoint.foreign.names import ACTIONFORMER, LOSS_NORMALIZER, VIDEOMAE, VIT, Renaming, family
from tadshrink.checkpoint.wording import shortened
from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig
from tadshrink.models.detector import Detector

#: Likeness from which a file counts as one of a kind.
_RECOGNISED = 0.5

Naming = Literal["opentad", "actionformer", "videomae"]


@dataclass(frozen=True)
class Kind:
    """A kind of file, by the families of its names (numbers left out).

    Attributes:
        core: families that every such file has.
        known: those, and families that only some have.
    """

    title: str
    naming: Naming
    core: frozenset[str]
    known: frozenset[str]

    def likeness(self, families: frozenset[str]) -> float:
        """0 to 1: how many of the file's families and of this kind's are the same."""
        return len(families & self.known) / len(families | self.core)


def recognise(names: Iterable[str], where: object) -> Kind:
    """The kind with these names.

    Raises:
        UserError: none that is known; says which is the closest and what keeps the file from being it.
    """
    families = frozenset(map(family, names))
    best = closest(families)
    likeness = best.likeness(families)
    if likeness < _RECOGNISED:
        missing, extra = sorted(best.core - families), sorted(families - best.known)
        raise UserError(f"weights of an unknown layout; the closest is {best.title} ({likeness:.0%} of the kinds of names agree): "
                        f"missing {shortened(missing) or 'nothing'}; left over {shortened(extra) or 'nothing'}",
                        where=where, fix="Give a checkpoint of OpenTAD, Progressive Block Drop, ActionFormer or tadshrink")
    return best


def closest(families: frozenset[str]) -> Kind:
    """The known kind that has the most in common with these families."""
    return max(known_kinds(), key=lambda kind: kind.likeness(families))


@cache
def known_kinds() -> tuple[Kind, ...]:
    """Made from the detector itself, so that there is one list of names."""
    return (_kind("OpenTAD's end-to-end detector", "opentad", _video(), _video(adapters=(0,), adapter_width=2) | _updates()),
            _kind("OpenTAD's ActionFormer on features", "opentad", _features()),
            _original(), *_videomae())


def _kind(title: str, naming: Naming, names: set[str], more: Iterable[str] = ()) -> Kind:
    """The learned factors of the branches are there only with stochastic depth."""
    core = frozenset(family(name) for name in names if "drop_path" not in name)
    return Kind(title, naming, core, core | frozenset(map(family, {*names, *more})))


def _original() -> Kind:
    def theirs(names: set[str]) -> set[str]:
        return _theirs(names - {LOSS_NORMALIZER}, ACTIONFORMER)

    more = _features(neck="fpn", relative_position=True, attention_window=5)
    return _kind("the original ActionFormer", "actionformer", theirs(_features()), theirs(more))


def _videomae() -> list[Kind]:
    vit = {name.removeprefix(VIT) for name in _video() if name.startswith(f"{VIT}blocks") or name.startswith(f"{VIT}patch_embed")}
    blocks = _theirs(vit, VIDEOMAE)
    ends = {f"{part}.{kind}" for part in ("norm", "fc_norm", "head") for kind in ("weight", "bias")} | {"pos_embed"}
    pretrained = {f"{part}.{name}" for part in ("encoder", "decoder") for name in blocks | ends} | {"mask_token", "encoder_to_decoder.weight"}
    recogniser = {f"backbone.{name}" for name in ends} | {"cls_head.fc_cls.weight", "cls_head.fc_cls.bias"}
    return [
        _kind("VideoMAE weights of MCG-NJU", "videomae", blocks, ends),
        _kind("VideoMAE pre-training weights of MCG-NJU", "videomae", {f"encoder.{name}" for name in blocks}, pretrained),
        _kind("VideoMAE weights of mmaction2", "videomae", {f"backbone.{name}" for name in vit}, recogniser),
    ]


def _updates() -> set[str]:
    ends = ("attn.lora_qkv", "attn.lora_proj", "mlp.layers.0.0.lora", "mlp.layers.1.lora")
    own = {f"{VIT}blocks.0.mlp.layers.{layer}.linear.{kind}" for layer in ("0.0", "1") for kind in ("weight", "bias")}
    return own | {f"{VIT}blocks.0.{end}.{half}" for end in ends for half in "AB"}


def _theirs(names: Iterable[str], renaming: Renaming) -> set[str]:
    return {theirs for name in names if (theirs := renaming.theirs(name))}


def _video(**backbone: Any) -> set[str]:
    return _names(BackboneConfig(**{"width": 8, "depth": 1, "heads": 1, "table_size": 32} | backbone))


def _features(**head: Any) -> set[str]:
    return _names(FeatureConfig(channels=8), **head)


def _names(backbone: BackboneConfig | FeatureConfig, **head: Any) -> set[str]:
    """Names of the weights of a small detector."""
    settings = {"width": 8, "heads": 1, "levels": 2, "regression_ranges": ((0, 4), (4, 10000))} | head
    config = DetectorConfig(classes=("a",), backbone=backbone, head=HeadConfig(**settings))
    with torch.device("meta"):
        return set(Detector(config).state_dict())
