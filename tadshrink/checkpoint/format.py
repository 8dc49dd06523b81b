"""What a tadshrink checkpoint holds, and checksums of it that depend on its content and on nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor
from typing_extensions import TypedDict

from tadshrink.models.units import HALF_NAME, Unit, merged

_PLAIN = (type(None), bool, int, float, str)


class HistoryEntry(TypedDict):
    """One command that made or changed a checkpoint; ``parent`` is the weights checksum of its input, if it had one."""

    command: str
    arguments: dict[str, Any]
    version: str
    parent: str | None
    metrics: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A detector or a recogniser with everything that is needed to build, run and shrink it further.

    Everything beside the tensors is plain data: None, bool, int, float, str, and lists, tuples and dicts of them.
    """

    #: ``DetectorConfig.model_dump(mode="json")``, or that of a ``RecogniserConfig``.
    architecture: dict[str, Any]
    #: Tensors by their name in the model; dropped blocks own none.
    state: dict[str, Tensor]
    #: Label names in the order of the head's outputs.
    classes: list[str]
    #: Dropped blocks by original index, or halves of them ("3.mlp"), in the order of dropping; both halves are the block.
    dropped: list[Unit] = field(default_factory=list)
    #: What block selection measured, as plain data.
    ranking: dict[str, Any] | None = None
    #: ``{"rank", "alpha", "targets", "state": {name: tensor}}`` of low-rank updates that are not merged yet.
    lora: dict[str, Any] | None = None
    #: One :class:`HistoryEntry` for each command, oldest first.
    history: list[HistoryEntry] = field(default_factory=list)

    @property
    def checksum(self) -> str:
        """The weights checksum; reads every weight each time it is asked for."""
        return weights_checksum(self.state, self.lora)


def _finite(tensor: Tensor) -> Tensor:
    if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor).all()):
        raise ValueError("has values that are not finite")
    return tensor


def _unit(value: Any) -> Unit:
    if (type(value) is int and value >= 0) or (type(value) is str and re.fullmatch(HALF_NAME, value)):
        return value
    raise ValueError('should be the index of a block, or half of one such as "3.mlp"')


def _disjoint(units: list[Unit]) -> list[Unit]:
    if merged(_distinct(units)) != units:
        raise ValueError("has a block and a half of it, or both halves")
    return units


def _distinct(items: list[Any]) -> list[Any]:
    if len(set(items)) != len(items):
        raise ValueError("has the same item twice")
    return items


_State = dict[str, Annotated[Tensor, AfterValidator(_finite)]]
_Unit = Annotated[Any, AfterValidator(_unit)]


class _Layout(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class _LoraLayout(_Layout):
    rank: Annotated[int, Field(gt=0)]
    alpha: Annotated[float, Field(allow_inf_nan=False)]
    targets: list[str]
    state: _State


class CheckpointLayout(_Layout):
    """The keys of a checkpoint file, and the one statement of what may stand under them."""

    state_dict: _State
    architecture: dict[str, Any]
    classes: Annotated[list[str], AfterValidator(_distinct)]
    dropped: Annotated[list[_Unit], AfterValidator(_disjoint)]
    ranking: dict[str, Any] | None
    lora: _LoraLayout | None
    history: list[HistoryEntry]


def record(
    checkpoint: Checkpoint,
    command: str,
    arguments: dict[str, Any],
    metrics: dict[str, Any],
    parent: str | None,
) -> Checkpoint:
    """The same checkpoint with one more history entry; the one given stays as it is.

    Args:
        parent: weights checksum of the checkpoint that the command read, or None where it read none.
    """
    entry = HistoryEntry(command=command, arguments=arguments, version=_version(), parent=parent, metrics=metrics)
    return replace(checkpoint, history=[*checkpoint.history, entry])


def weights_checksum(state: Mapping[str, Tensor], lora: Mapping[str, Any] | None) -> str:
    """SHA-256 (hex) of what decides the detector's output: names, dtypes, shapes and bytes of the weights, and LoRA.

    Order of the names, memory layout, device and ``requires_grad`` do not matter.
    """
    return digest({"state": dict(state), "lora": None if lora is None else dict(lora)})


def digest(value: Any) -> str:
    """SHA-256 (hex) of nested dicts, lists, tuples, plain values and tensors; a list equals a tuple of the same items.

    Raises:
        TypeError: something else is in there (its place is named), or a tensor is not dense.
    """
    hasher = hashlib.sha256()
    _feed(hasher.update, value, "")
    return hasher.hexdigest()


def _feed(update: Callable[[Any], None], value: Any, place: str) -> None:
    """Feed ``value`` so that different values never give the same bytes: each part states its kind and its length."""
    if isinstance(value, Tensor):
        _feed_tensor(update, value, place)
    elif isinstance(value, dict):
        update(b"dict %d\n" % len(value))
        for key in sorted(value, key=lambda key: (type(key).__name__, key)):
            _feed(update, key, f"{place}.{key}")
            _feed(update, value[key], f"{place}.{key}")
    elif isinstance(value, list | tuple):
        update(b"list %d\n" % len(value))
        for index, item in enumerate(value):
            _feed(update, item, f"{place}[{index}]")
    elif type(value) in _PLAIN:
        text = repr(value).encode()
        update(b"%s %d\n" % (type(value).__name__.encode(), len(text)))
        update(text)
    else:
        raise TypeError(f"{place.lstrip('.') or 'value'}: {type(value).__name__} is neither plain data nor a tensor")


def _feed_tensor(update: Callable[[Any], None], tensor: Tensor, place: str) -> None:
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        raise TypeError(f"{place.lstrip('.') or 'value'}: not a dense tensor with data")
    update(f"tensor {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    # Seen as bytes first: NumPy has no bfloat16.
    update(flat.view(torch.uint8).numpy())


def _version() -> str:
    """Version of the installed package, or a stand-in when it runs from a folder."""
    try:
        return version("tadshrink")
    except PackageNotFoundError:
        return "not installed"


def trained_here(history: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a history begins with a training of ours, which never sees held-out videos; of others that is not known."""
    return any(entry["command"] == "train" for entry in history)
