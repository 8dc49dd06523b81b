"""Are these sound weights? Asked before anything is computed with the tensors of a file that may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tadshrink.checkpoint.foreign.names import LOSS_NORMALIZER
from tadshrink.checkpoint.torch_file import DAMAGED
from tadshrink.checkpoint.wording import printable, shortened
from tadshrink.errors import UserError

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LONGEST_NAME = 200
#: Whole numbers are sound here. The second is of batch normalisation, which no known layout has: that is for others to tell.
_COUNTERS = (LOSS_NORMALIZER, "num_batches_tracked")
#: Half-precision numbers: kept as they are in the checkpoint, computed with in float32.
_HALVES = (torch.float16, torch.bfloat16)


def checked_tensors(values: Mapping[Any, Any], where: object) -> dict[str, Tensor]:
    """The same tensors, if all are dense, finite floating point numbers under a name.

    Raises:
        UserError: names every value that is something else (the first few).
    """
    problems = [f"{printable(name)} {problem}" for name, value in values.items() if (problem := _problem(name, value))]
    if problems:
        raise UserError(f"unusable weights: {shortened(problems, '; ')}", where=where, fix=DAMAGED)
    return {name: value.detach() for name, value in values.items()}


def half_precision(tensors: Mapping[str, Tensor]) -> str | None:
    """What to say about half-precision weights, if there are any."""
    kinds = sorted({str(value.dtype).removeprefix("torch.") for value in tensors.values() if value.dtype in _HALVES})
    return f"{' and '.join(kinds)} weights are kept as they are and computed with in float32" if kinds else None


def _problem(name: Any, value: Any) -> str | None:
    if type(name) is not str or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        return "is not a name"
    if not isinstance(value, Tensor):
        return f"is {type(value).__name__}, not a tensor"
    if value.layout is not torch.strided or value.is_meta or value.is_quantized or value.is_nested or value.device.type != "cpu":
        return "is not a dense tensor with data"
    if value.numel() == 0:
        return f"is empty {tuple(value.shape)}"
    # An expanded tensor claims any shape with next to no data.
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        return f"has less data than its shape {tuple(value.shape)} says"
    if value.dtype not in _FLOATS and not (name.endswith(_COUNTERS) and value.dtype is torch.int64):
        return f"is {str(value.dtype).removeprefix('torch.')}, not floating point"
    return None if bool(torch.isfinite(value).all()) else "has values that are not finite"
