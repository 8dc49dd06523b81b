"""Low-rank updates of the blocks' weights, through peft: added, taken apart from the weights, put back, merged."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.detector import Detector

#: What is trained within a block beside the updates: norms, learned factors, adapters and the small convolutions over time.
_HEALED = re.compile(r"norm|\.ln\d|\.scale$|\.adapter\.|_conv\.")
_BASE, _LORA = ".base_layer.", ".lora_"
_ADAPTER = ".default."
#: In the names of what only DoRA has.
_LENGTHS = ".lora_magnitude_vector."
#: Starts of the updates by their name in the settings -> in peft.
INITS: dict[str, str | bool] = {"gaussian": "gaussian", "published": "gaussian", "kaiming": True, "pissa": "pissa", "olora": "olora",
                                "orthogonal": "orthogonal"}
_AGAIN = "Make the checkpoint again with: tadshrink align"


def add_lora(detector: Detector, rank: int, alpha: float, targets: Sequence[str], seed: int, init: str = "gaussian", dora: bool = False,
             first: int = 0) -> None:
    """Wrap layers of the blocks, in place: ``W x + (alpha / rank) B A x``. Of the detector's parameters only the updates stay trainable.

    With the layers "qkv" and "proj" about 12 % of a ViT's weights are trained.

    Args:
        targets: ends of the layers' names, see :attr:`~tadshrink.models.body.Body.layers`.
        init: a key of :data:`INITS`. "gaussian" draws A with a standard deviation of 1 / rank, "published" (Progressive Block Drop) of
            1 / sqrt(rank), and B is 0; only "pissa" and "olora" move a part of the weights to the updates. None of them changes the outputs.
        dora: train the length of each output's weights apart (DoRA, Liu et al. 2024).
        first: original index of the first block with updates.
    """
    from peft import LoraConfig, inject_adapter_in_model

    from tadshrink.compress.fused_lora import fuse

    # By their full names, as peft would take the ends for those of any block.
    layers = [name for name in layers_of(detector, targets) if int(name.split(".")[0]) >= first]
    detector.requires_grad_(False)
    if not layers:
        return
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers, init_lora_weights=INITS[init], use_dora=dora)
    # The caller's random numbers go on as if nothing had been drawn here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, detector.blocks)
    if init == "published":
        _widen(detector, rank)
    if not dora:
        fuse(detector.blocks)


@torch.no_grad()
def _widen(detector: Detector, rank: int) -> None:
    for name, value in detector.blocks.named_parameters():
        if ".lora_A." in name:
            value.mul_(rank**0.5)


def layers_of(detector: Detector, targets: Sequence[str]) -> dict[str, nn.Module]:
    """The layers of the blocks whose names end so, by those names."""
    ends = tuple(f".{target}" for target in targets)
    return {name: layer for name, layer in detector.blocks.named_modules() if name.endswith(ends)}


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
    _check_targets(detector, lora["targets"], where)
    given: dict[str, Tensor] = lora["state"]
    # Some have none in the blocks before the first dropped one; every later block has them all.
    blocks = [int(match[1]) for name in given if (match := re.match(rf"{re.escape(detector.body.prefix)}\.(\d+)\.", name))]
    add_lora(detector, lora["rank"], lora["alpha"], lora["targets"], seed=0, dora=any(_LENGTHS in name for name in given),
             first=min(blocks, default=0))
    expected = {name.replace(_ADAPTER, "."): (name, value.shape) for name, value in detector.state_dict().items() if _LORA in name}
    wrong = sorted(expected.keys() ^ given.keys()) or [name for name, (_, shape) in expected.items() if given[name].shape != shape]
    if wrong:
        raise UserError(f"LoRA weights do not fit the model: {len(wrong)} are missing, left over or of the wrong shape ({wrong[0]})",
                        where=where, fix=_AGAIN)
    detector.load_state_dict({expected[name][0]: value for name, value in given.items()}, strict=False)


def _check_targets(detector: Detector, targets: list[str], where: object) -> None:
    strange = [target for target in targets if not layers_of(detector, [target])]
    if strange or not targets:
        raise UserError(f"LoRA is for layers that the model does not have ({', '.join(strange) or 'none is named'})", where=where, fix=_AGAIN)


def merged_copy(detector: Detector) -> Detector:
    """A copy in which every update is folded into its weight; the detector given is left as it is."""
    from peft.tuners.lora import LoraLayer

    merged = copy.deepcopy(detector)
    for module in list(merged.blocks.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLayer):
                child.merge(safe_merge=True)
                setattr(module, name, child.get_base_layer())
    return merged


def heal_parameters(detector: Detector, first: int | None = None, everything: bool = False) -> list[nn.Parameter]:
    """What is trained beside the updates: all that is not a block, and the small parts of the blocks.

    Args:
        first: original index of the first block of which anything is trained; what is before it stays as well. By default all is trained.
        everything: the whole blocks.
    """
    return [value for name, value in detector.named_parameters()
            if not name.startswith(detector.body.idle) and not (first is not None and before(detector, name, first))
            and (everything or not name.startswith(f"{detector.body.prefix}.") or _HEALED.search(name))]


def before(detector: Detector, name: str, block: int) -> bool:
    """Whether a weight of this name belongs to what is before a block, by its original index."""
    prefix = f"{detector.body.prefix}."
    return int(name.removeprefix(prefix).split(".")[0]) < block if name.startswith(prefix) else name.startswith(detector.body.entry)
