"""Where in a file the weights are, under whichever names and prefixes programs keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from tadshrink.checkpoint.foreign.settings import MOST_LAYERS
from tadshrink.checkpoint.foreign.tensors import checked_tensors
from tadshrink.checkpoint.wording import printable, shortened
from tadshrink.errors import UserError

RAW, EMA = "state_dict", "state_dict_ema"
#: Other names under which programs keep their weights.
_CONTAINERS = ("model", "module", "model_state_dict", "model_state", "net", "weights")
#: What wrappers of a model put before every name.
_WRAPPERS = ("module.", "_orig_mod.")

@dataclass(frozen=True)
class Source:
    """The weights of a file, without prefixes.

    Attributes:
        dictionary: the top-level key they stood under, or "" for a file that is nothing but weights.
        weights: "EMA", "raw", or "" where there is only one kind.
        prefixed: whether the names began with ``module.``, for each dictionary in the file.
        dropped: the file's own list of dropped blocks, if it has one.
        optimised: how many parameters its optimizer has; None without one.
        ignored: the other top-level keys.
    """

    tensors: dict[str, Tensor]
    dictionary: str
    weights: str
    prefixed: dict[str, bool]
    dropped: list[int] | None
    optimised: int | None
    ignored: list[str]


def find_weights(content: Any, wanted: Literal["ema", "raw"] | None, where: object) -> Source:
    """The weights in what ``torch.load`` returned; EMA weights unless ``wanted`` says otherwise.

    Raises:
        UserError: there are none, not the wanted ones, or some are not sound tensors.
    """
    if not isinstance(content, dict):
        raise UserError(f"a torch file with a {type(content).__name__} in it, not a checkpoint", where=where, fix="Give a checkpoint")
    places = _places(content, where)
    name = _chosen(places, wanted, where)
    if not isinstance(places[name], dict) or not places[name]:
        kind = "empty" if isinstance(places[name], dict) else type(places[name]).__name__
        raise UserError(f"{name or 'the file'} is {kind}, not a dictionary of weights", where=where, fix="Give a whole checkpoint")
    prefixed = {key: _has_prefix(value) for key, value in places.items() if isinstance(value, dict) and value}
    beside = [] if name == "" else [printable(key) for key in content if key not in (name, "drop_idx")]
    kind = {EMA: "EMA", RAW: "raw"}.get(name, "") if len(places) > 1 or name == EMA else ""
    tensors = checked_tensors(_stripped(places[name], where), where)
    return Source(tensors, name, kind, prefixed, _drop_list(content, where), _optimised(content), beside)


def _places(content: dict[Any, Any], where: object) -> dict[str, Any]:
    """Where weights may be: by top-level key, or "" for the whole file."""
    named = {key: content[key] for key in (RAW, EMA) if content.get(key) is not None}
    if named:
        return named
    if any(isinstance(value, Tensor) for value in content.values()):
        return {"": content}
    for key in _CONTAINERS:
        if isinstance(content.get(key), dict):
            return {key: content[key]}
    keys = f"top-level keys {shortened(content)}" if content else "nothing in it"
    raise UserError(f"a torch file with {keys}: no weights found", where=where, fix="Give a checkpoint with a state_dict")


def _chosen(places: Mapping[str, Any], wanted: str | None, where: object) -> str:
    if wanted is None:
        return EMA if EMA in places else next(iter(places))
    key = {"ema": EMA, "raw": RAW}[wanted]
    if key not in places:
        there = shortened(places) if "" not in places else "only one set of weights"
        raise UserError(f"no {key} in the file ({there})", where=where, fix=f"Leave out --weights {wanted}")
    return key


def _has_prefix(weights: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and key.startswith(_WRAPPERS) for key in weights)


def _stripped(weights: Mapping[Any, Any], where: object) -> dict[Any, Any]:
    """Without the prefixes that every name has."""
    while prefix := next((prefix for prefix in _WRAPPERS if all(isinstance(key, str) and key.startswith(prefix) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    if wrapped := [key for key in weights if isinstance(key, str) and key.startswith(_WRAPPERS)]:
        other = next(key for key in weights if key not in wrapped)
        raise UserError(f"some names have the prefix of a wrapper ({printable(wrapped[0])}) and some do not ({printable(other)})",
                        where=where, fix="Give the weights of one model")
    return dict(weights)


def _drop_list(content: Mapping[str, Any], where: object) -> list[int] | None:
    """The list that :mod:`tadshrink.checkpoint.foreign.writer` adds; the code bases themselves store none."""
    found = content.get("drop_idx")
    if found is None:
        return None
    sound = isinstance(found, list) and all(type(item) is int and 0 <= item < MOST_LAYERS for item in found)
    if not sound or len(set(found)) != len(found):
        raise UserError("drop_idx is not a list of different block numbers", where=where, fix="Repair the file")
    return found


def _optimised(content: Mapping[str, Any]) -> int | None:
    """Parameters in the groups of torch's optimizers; anything else is no reason to refuse a file."""
    optimizer = content.get("optimizer")
    groups = optimizer.get("param_groups") if isinstance(optimizer, dict) else None
    if not isinstance(groups, list) or not all(isinstance(group, dict) and isinstance(group.get("params"), list) for group in groups):
        return None
    return sum(len(group["params"]) for group in groups)
