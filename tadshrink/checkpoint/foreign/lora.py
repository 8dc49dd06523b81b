"""Low-rank updates as Progressive Block Drop stores them (``x A B`` with A [in, r] and B [r, out]), and as we do, both ways.

Ours are peft's: ``lora_A.weight`` [r, in] and ``lora_B.weight`` [out, r], times alpha / rank, with one rank for the whole model. A
layer of a lower rank, or a block without updates, is filled up with zeros, which change nothing and stay zero in training; on
the way back they are cut off.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from tadshrink.checkpoint.foreign.names import VIT, Renaming
from tadshrink.errors import UserError

#: Layer of a block -> the end of its name by which peft finds it.
TARGETS = {"attn.qkv": "qkv", "attn.proj": "proj", "mlp.layers.0.0": "layers.0.0", "mlp.layers.1": "layers.1"}
#: Wrapped feed-forward layers keep their own weights one level down.
_WRAPPED = ("mlp.layers.0.0", "mlp.layers.1")

_BLOCKS = f"{VIT}blocks.#."
_UPDATES = Renaming([
    (f"{_BLOCKS}attn.lora_qkv.A", f"{_BLOCKS}attn.qkv.lora_A.weight"),
    (f"{_BLOCKS}attn.lora_qkv.B", f"{_BLOCKS}attn.qkv.lora_B.weight"),
    (f"{_BLOCKS}attn.lora_proj.A", f"{_BLOCKS}attn.proj.lora_A.weight"),
    (f"{_BLOCKS}attn.lora_proj.B", f"{_BLOCKS}attn.proj.lora_B.weight"),
    *((f"{_BLOCKS}{layer}.lora.{half}", f"{_BLOCKS}{layer}.lora_{half}.weight") for layer in _WRAPPED for half in "AB"),
])
_OWN = Renaming([(f"{_BLOCKS}{layer}.linear.*", f"{_BLOCKS}{layer}.*") for layer in _WRAPPED])
_PLACE = re.compile(rf"({re.escape(VIT)}blocks\.([0-9]+)\.)(.+)\.lora_([AB])\.weight", re.ASCII)


def split(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights and the updates (transposed), both by our names; unknown names stay."""
    own: dict[str, Tensor] = {}
    updates: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if (ours := _UPDATES.ours(name)) and value.ndim == 2:
            updates[ours] = value.t().contiguous()
        else:
            own[_OWN.ours(name) or name] = value
    return own, updates


def ranks(updates: Mapping[str, Tensor]) -> dict[str, int]:
    """Rank of each kind of layer (the most common one over the blocks), such as ``{"attn.qkv": 96}``."""
    votes: dict[str, Counter[int]] = {}
    for name, value in updates.items():
        if match := _PLACE.fullmatch(name):
            votes.setdefault(match[3], Counter())[value.shape[0 if match[4] == "A" else 1]] += 1
    return {layer: votes[layer].most_common(1)[0][0] for layer in TARGETS if layer in votes}


def expected(updates: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``updates`` must be for a model with these weights (meta tensors): every block that has any has all, of one rank per layer."""
    made: dict[str, Tensor] = {}
    blocks = {match[1] for name in updates if (match := _PLACE.fullmatch(name))}
    for layer, rank in ranks(updates).items():
        for block in sorted(blocks):
            weight = state.get(f"{block}{layer}.weight")
            if weight is not None:
                made[f"{block}{layer}.lora_A.weight"] = torch.empty(rank, weight.shape[1], device="meta")
                made[f"{block}{layer}.lora_B.weight"] = torch.empty(weight.shape[0], rank, device="meta")
    return made


def assemble(updates: Mapping[str, Tensor], state: Mapping[str, Tensor], blocks: Iterable[int]) -> dict[str, Any]:
    """The ``lora`` entry of a checkpoint from sound updates; scale 1, filled up to one rank in all surviving blocks."""
    found = ranks(updates)
    rank = max(found.values())
    filled: dict[str, Tensor] = {}
    for block in blocks:
        for layer in found:
            name = f"{VIT}blocks.{block}.{layer}"
            outputs, inputs = state[f"{name}.weight"].shape
            for half, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                filled[f"{name}.lora_{half}.weight"] = _padded(updates.get(f"{name}.lora_{half}.weight"), shape, state[f"{name}.weight"])
    return {"rank": rank, "alpha": float(rank), "targets": [TARGETS[layer] for layer in found], "state": filled}


def effective_ranks(lora: Mapping[str, Any]) -> list[int]:
    """The ranks that occur, without the zeros that fill them up."""
    return sorted({_rank(a, b) for a, b in _pairs(lora["state"]).values()} - {0})


def to_reference(state: Mapping[str, Tensor], lora: Mapping[str, Any], where: object) -> dict[str, Tensor]:
    """Weights and updates by the fork's names; a scale other than 1 goes into B.

    Raises:
        UserError: updates of layers that the fork has none for.
    """
    scale = lora["alpha"] / lora["rank"]
    made: dict[str, Tensor] = {}
    wrapped = [layer for layer in _WRAPPED if TARGETS[layer] in lora["targets"]]
    for place, (a, b) in _pairs(lora["state"]).items():
        rank = _rank(a, b)
        for half, value in (("A", a[:rank]), ("B", b[:, :rank] * scale if scale != 1 else b[:, :rank])):
            name = _UPDATES.theirs(f"{place}.lora_{half}.weight")
            if name is None:
                raise UserError(f"the reference has no low-rank update for {place}", where=where, fix="Merge first, with: tadshrink merge")
            if rank:
                made[name] = value.t().contiguous()
    return {**own_names(state, wrapped), **made}


def own_names(state: Mapping[str, Tensor], wrapped: Iterable[str]) -> dict[str, Tensor]:
    """Weights by the fork's names, with these layers wrapped."""
    ends = tuple(f".{layer}.{kind}" for layer in wrapped for kind in ("weight", "bias"))
    return {(_OWN.theirs(name) or name) if ends and name.endswith(ends) else name: value for name, value in state.items()}


def update_names(updates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Updates by the fork's names, transposed."""
    return {_UPDATES.theirs(name) or name: value.t() for name, value in updates.items()}


def wrapped_layers(names: Iterable[str]) -> list[str]:
    """Which feed-forward layers have updates, and therefore their own weights one level down."""
    marks = [(layer, (f".{layer}.linear.", f".{layer}.lora.")) for layer in _WRAPPED]
    known = list(names)
    return [layer for layer, parts in marks if any(part in name for name in known for part in parts)]


def filling(lora: Mapping[str, Any]) -> str | None:
    """What to say where updates were filled up with zeros."""
    lower = [place for place, (a, b) in _pairs(lora["state"]).items() if _rank(a, b) < lora["rank"]]
    return f"LoRA of {len(lower)} layers is filled up with zeros to rank {lora['rank']}, which changes nothing" if lower else None


def _pairs(updates: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer name -> (A, B)."""
    places = [name.removesuffix(".lora_A.weight") for name in updates if name.endswith(".lora_A.weight")]
    return {place: (updates[f"{place}.lora_A.weight"], updates[f"{place}.lora_B.weight"]) for place in places}


def _rank(a: Tensor, b: Tensor) -> int:
    """Rank without trailing rows of A and columns of B that are both zero."""
    used = ((a != 0).any(1) | (b != 0).any(0)).nonzero()
    return int(used[-1]) + 1 if len(used) else 0


def _padded(value: Tensor | None, shape: tuple[int, int], like: Tensor) -> Tensor:
    if value is not None and value.shape == shape:
        return value
    filled = like.new_zeros(shape) if value is None else value.new_zeros(shape)
    if value is not None:
        filled[: value.shape[0], : value.shape[1]] = value
    return filled
