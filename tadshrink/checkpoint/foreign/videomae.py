"""VideoMAE weights, of MCG-NJU or mmaction2: for the video backbone of a detector that is to be trained, or of a recogniser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tadshrink.checkpoint.foreign.infer import usual_heads
from tadshrink.checkpoint.foreign.kinds import recognise
from tadshrink.checkpoint.foreign.layouts import find_weights
from tadshrink.checkpoint.foreign.names import MMACTION, VIDEOMAE, VIT, Renaming
from tadshrink.checkpoint.foreign.presets import VIDEOMAE_SIZES
from tadshrink.checkpoint.foreign.shapes import VitShapes, read_shapes
from tadshrink.checkpoint.torch_file import read_torch
from tadshrink.checkpoint.wording import shortened
from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig
from tadshrink.models.detector import weight_problems
from tadshrink.models.vit import VideoViT, sinusoid_table
from tadshrink.reporting import SILENT, Reporter

#: Title, what stands before the names, and the names; the one that fits most names counts.
_FORMS: tuple[tuple[str, str, Renaming], ...] = (
    ("MCG-NJU, fine-tuned", "", VIDEOMAE),
    ("MCG-NJU, pre-trained", "encoder.", VIDEOMAE),
    ("mmaction2", "backbone.", MMACTION),
    ("mmaction2's ViT", "", MMACTION),
)
_TABLE_SIZE = 224
_DEPTHS = {width: depth for width, depth, _ in VIDEOMAE_SIZES.values()}


@dataclass(frozen=True)
class Pretrained:
    """Weights of a whole ViT by their names within it, and its architecture (``heads`` as usual for the width).

    Attributes:
        title: whose weights they are.
        left_out: names in the file of what is not the ViT's.
        made: names of what is in ``state`` and was not in the file.
    """

    backbone: BackboneConfig
    state: dict[str, Tensor]
    title: str
    left_out: list[str]
    made: list[str]


def load_videomae(path: str | Path, chunk_frames: int = 16, reporter: Reporter = SILENT) -> Pretrained:
    """Read VideoMAE weights.

    The decoder, the class head and the final norm are left out. The releases of MCG-NJU have no position table, which is fixed
    anyway: it is made for ``chunk_frames`` frames of 224 pixels. ``fc_norm`` is never applied to feature maps, and is made too if
    it is absent.

    Raises:
        UserError: no such weights, or some are missing, of the wrong shape or not sound.
    """
    found = vit_in(find_weights(read_torch(path), None, path).tensors, chunk_frames, path)
    backbone, made, left_out = found.backbone, found.made, found.left_out
    taken = len(found.state) - len(made)
    reporter.note(f"VideoMAE weights of {found.title}: {backbone.width} wide, {backbone.depth} blocks, {taken} weights taken"
                  + (f"; left out: {shortened(left_out, most=9)}" if left_out else "") + (f"; made: {', '.join(made)}" if made else ""))
    return found


def vit_in(tensors: Mapping[str, Tensor], chunk_frames: int, where: object) -> Pretrained:
    """The ViT among the weights of a file; see :func:`load_videomae`."""
    title, prefix, renaming = max(_FORMS, key=lambda form: len(_named(tensors, form[1], form[2])))
    state = _named(tensors, prefix, renaming)
    if not state:
        kind = recognise(tensors, where)
        raise UserError(f"{kind.title}: no VideoMAE weights", where=where, fix="Give a release of MCG-NJU or mmaction2")
    backbone = _architecture(state, chunk_frames, where)
    made = _filled(state, backbone)
    _check(state, backbone, title, where)
    left_out = [name for name in tensors if renaming.ours(name.removeprefix(prefix)) is None or not name.startswith(prefix)]
    return Pretrained(backbone, state, title, left_out, made)


def _named(tensors: Mapping[str, Tensor], prefix: str, renaming: Renaming) -> dict[str, Tensor]:
    """Those of the ViT, by our names."""
    return {ours: value for name, value in tensors.items()
            if name.startswith(prefix) and (ours := renaming.ours(name.removeprefix(prefix)))}


def _architecture(state: Mapping[str, Tensor], chunk_frames: int, where: object) -> BackboneConfig:
    vit: VitShapes | None = read_shapes({VIT + name: value for name, value in state.items()}, where).vit
    if vit is None or not vit.blocks or chunk_frames % vit.tubelet:
        raise UserError(f"no blocks, or tubelets that do not divide clips of {chunk_frames} frames", where=where, fix="Give a whole file")
    depth = max(vit.blocks[-1] + 1, _DEPTHS.get(vit.width, 0))
    return BackboneConfig(width=vit.width, depth=depth, heads=usual_heads(vit.width), mlp_ratio=vit.hidden / vit.width,
                          patch_size=vit.patch, tubelet=vit.tubelet, chunk_frames=chunk_frames, table_size=_TABLE_SIZE // vit.patch * vit.patch)


def _filled(state: dict[str, Tensor], backbone: BackboneConfig) -> list[str]:
    """Add what need not be in a file; the names of what was added."""
    side, times = backbone.table_size // backbone.patch_size, backbone.chunk_frames // backbone.tubelet
    usual = {
        "pos_embed": lambda: sinusoid_table(times * side * side, backbone.width)[None],
        "fc_norm.weight": lambda: torch.ones(backbone.width),
        "fc_norm.bias": lambda: torch.zeros(backbone.width),
    }
    made = [name for name in usual if name not in state]
    state.update({name: usual[name]() for name in made})
    return made


def _check(state: Mapping[str, Tensor], backbone: BackboneConfig, title: str, where: object) -> None:
    with torch.device("meta"):
        expected = VideoViT(backbone).state_dict()
    if problems := weight_problems(expected, state):
        raise UserError(f"not whole VideoMAE weights ({title}; by OpenTAD's names): {problems}", where=where, fix="Give a whole file")
