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
#: Never applied, though it is in every checkpoint.
_UNUSED = re.compile(r"\bfc_norm\.")
_BASE, _LORA = ".base_layer.", ".lora_"
_ADAPTER = ".default."
_AGAIN = "Make the checkpoint again with: tadshrink align"


def add_lora(detector: Detector, rank: int, alpha: float, targets: Sequence[str], seed: int) -> None:
    """Wrap layers of every block, in place: ``W x + (alpha / rank) B A x``.

    ``targets`` are ends of their names; those of :class:`~tadshrink.models.body.Body` are the attention's matrices, with
    which about 12 % of a ViT's weights are trained. A is drawn from N(0, 1/rank) and B is 0, so that the outputs do not
    change. Of the detector's parameters only the updates stay trainable.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), init_lora_weights="gaussian")
    detector.requires_grad_(False)
    # The caller's random numbers go on as if nothing had been drawn here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, detector.blocks)


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
    add_lora(detector, lora["rank"], lora["alpha"], lora["targets"], seed=0)
    expected = {name.replace(_ADAPTER, "."): (name, value.shape) for name, value in detector.state_dict().items() if _LORA in name}
    given: dict[str, Tensor] = lora["state"]
    wrong = sorted(expected.keys() ^ given.keys()) or [name for name, (_, shape) in expected.items() if given[name].shape != shape]
    if wrong:
        raise UserError(f"LoRA weights do not fit the model: {len(wrong)} are missing, left over or of the wrong shape ({wrong[0]})",
                        where=where, fix=_AGAIN)
    detector.load_state_dict({expected[name][0]: value for name, value in given.items()}, strict=False)


def _check_targets(detector: Detector, targets: list[str], where: object) -> None:
    names = [f".{name}" for name, _ in detector.blocks.named_modules()]
    strange = [target for target in targets if not any(name.endswith(f".{target}") for name in names)]
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


def heal_parameters(detector: Detector) -> list[nn.Parameter]:
    """What is trained beside the updates: all that is not a block, and the small parts of the blocks."""
    inside = detector.body.prefix + "."
    return [value for name, value in detector.named_parameters()
            if (_HEALED.search(name) if name.startswith(inside) else not _UNUSED.search(name))]
