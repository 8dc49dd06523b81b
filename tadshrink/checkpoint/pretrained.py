"""Weights that the video backbone of a new detector starts from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from tadshrink.checkpoint.foreign.kinds import recognise
from tadshrink.checkpoint.foreign.layouts import find_weights
from tadshrink.checkpoint.foreign.names import VIT
from tadshrink.checkpoint.foreign.videomae import load_videomae
from tadshrink.checkpoint.io import is_ours, load_checkpoint
from tadshrink.checkpoint.opening import check_merged
from tadshrink.checkpoint.torch_file import read_torch
from tadshrink.errors import UserError
from tadshrink.reporting import SILENT, Reporter


def backbone_weights(path: Path, chunk_frames: int, reporter: Reporter = SILENT) -> dict[str, Tensor]:
    """Weights of a whole ViT by their names within it: a VideoMAE release, or the backbone of a detector of any code base; no adapters.

    Raises:
        UserError: no such weights, or weights with LoRA that is not merged.
    """
    content = read_torch(path)
    if not is_ours(content) and recognise(find_weights(content, None, path).tensors, path).naming == "videomae":
        return load_videomae(path, chunk_frames, reporter).state
    checkpoint = load_checkpoint(path, reporter=reporter)
    state = {name.removeprefix(VIT): value for name, value in checkpoint.state.items() if name.startswith(VIT) and ".adapter." not in name}
    if not state:
        raise UserError("a detector on features has no video backbone", where=path, fix="Give VideoMAE weights or a detector on videos")
    check_merged(checkpoint, path)
    reporter.note(f"the backbone starts from the {len(state)} weights of this detector's; all others are new")
    return state
