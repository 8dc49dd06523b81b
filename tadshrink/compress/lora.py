"""Low-rank updates of the attention weights, through peft: added, taken apart from the weights, put back, merged."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.models.vit import VideoViT

#: Layers of every block that get an update; with them the released method trains about 12 % of a ViT's weights.
TARGETS = ("qkv", "proj")
_BASE, _LORA = ".base_layer.", ".lora_"
_ADAPTER = ".default."


def add_lora(detector: Detector, rank: int, alpha: float, seed: int) -> None:
    """Wrap ``attn.qkv`` and ``attn.proj`` of every block, in place: ``W x + (alpha / rank) B A x``.

    A is drawn from N(0, 1/rank) and B is 0, so that the outputs do not change. Of the detector's parameters only the
    updates stay trainable.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(TARGETS), init_lora_weights="gaussian")
    detector.requires_grad_(False)
    # The caller's random numbers go on as if nothing had been drawn here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, detector.vit)


def split_lora(detector: Detector) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The detector's own weights under their usual names, and the updates (peft's names, without the adapter's)."""
    own: dict[str, Tensor] = {}
    updates: dict[str, Tensor] = {}
    for name, value in detector.state_dict().items():
        if _LORA in name:
            updates[name.replace(_ADAPTER, ".")] = value
        else:
            own[name.replace(_BASE, ".")] = value
    return own, updates


def load_lora(detector: Detector, lora: dict[str, Any], where: object) -> None:
    """Add the updates that a checkpoint holds, in place.

    Raises:
        UserError: they are not those of this model; ``where`` names the file.
    """
    add_lora(detector, lora["rank"], lora["alpha"], seed=0)
    expected = {name.replace(_ADAPTER, "."): (name, value.shape) for name, value in detector.state_dict().items() if _LORA in name}
    given: dict[str, Tensor] = lora["state"]
    wrong = sorted(expected.keys() ^ given.keys()) or [name for name, (_, shape) in expected.items() if given[name].shape != shape]
    if wrong:
        raise UserError(f"LoRA weights do not fit the model: {len(wrong)} are missing, left over or of the wrong shape ({wrong[0]})",
                        where=where, fix="Make the checkpoint again with: tadshrink align")
    detector.load_state_dict({expected[name][0]: value for name, value in given.items()}, strict=False)


def merged_copy(detector: Detector) -> Detector:
    """A copy in which every update is folded into its weight; the detector given is left as it is."""
    from peft.tuners.lora import LoraLayer

    merged = copy.deepcopy(detector)
    for module in list(merged.vit.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLayer):
                child.merge(safe_merge=True)
                setattr(module, name, child.get_base_layer())
    return merged


def heal_parameters(vit: VideoViT) -> list[nn.Parameter]:
    """What is trained in the backbone beside the updates: the blocks' norms (``fc_norm`` is never applied) and the patch embedding."""
    return [value for name, value in vit.named_parameters()
            if name.startswith("patch_embed.") or ("norm" in name and not name.startswith("fc_norm."))]
