"""What counts as a multiply-add: every convention that a count can follow, by name."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tadshrink.errors import check_known

with warnings.catch_warnings():
    # Importing it compiles something with a function that torch has deprecated.
    warnings.simplefilter("ignore")
    from fvcore.nn import jit_handles

#: Multiply-adds of one operator, from its inputs and outputs in the traced graph.
Handle = Callable[[list[Any], list[Any]], Any]
#: Move or select numbers without computing any, but are not on fvcore's own list of such operators.
FREE = ("aten::numel", "aten::pad", "aten::unflatten", "aten::unfold", "aten::movedim", "aten::tensor_split", "aten::feature_dropout")
#: The name in a scope's counter under which the times that an operator ran are kept, beside its multiply-adds.
TIMES = "times of "


@dataclass(frozen=True)
class Convention:
    """What is counted, and what is not.

    Attributes:
        counts, leaves_out: in words, for the reader of a table.
        handles: by operator; None for fvcore's own, as they are.
        skipped: full names of modules within which nothing counts.
        between_levels: whether the zero cells count that join the levels of the pyramid for the heads. They are this package's own;
            a program that runs the heads level by level has none.
    """

    name: str
    counts: str
    leaves_out: str
    handles: Mapping[str, Handle] | None
    skipped: re.Pattern[str] | None = None
    between_levels: bool = True


def find_convention(name: str) -> Convention:
    """The convention of this name.

    Raises:
        UserError: there is none.
    """
    check_known("convention", name, CONVENTIONS)
    return CONVENTIONS[name]


def _matmul(inputs: list[Any], outputs: list[Any]) -> int:
    """Each number of the output is a sum over the last axis of the first factor; batch axes may be broadcast."""
    return prod(jit_handles.get_shape(outputs[0])) * jit_handles.get_shape(inputs[0])[-1]


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """q k^T and softmax(..) v, for q [.., N, d], k [.., M, d], v [.., M, e] and output [.., N, e]."""
    (keys, depth), out = jit_handles.get_shape(inputs[1])[-2:], jit_handles.get_shape(outputs[0])
    return prod(out[:-1]) * keys * (depth + out[-1])


def _each(count: int) -> Handle:
    """So many for each number of the output."""
    return lambda inputs, outputs: count * prod(jit_handles.get_shape(outputs[0]))


def _mul(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Counts a product only where a sum of products starts with it (a depthwise convolution as shifted sums)."""
    starts = any(use.user.kind() == "aten::addcmul" and use.offset == 0 for use in outputs[0].uses())
    return Counter({"addcmul": prod(jit_handles.get_shape(outputs[0]))} if starts else {f"{TIMES}mul": 1})


_LAYERS: dict[str, Handle] = {
    "aten::linear": jit_handles.linear_flop_jit,
    "aten::addmm": jit_handles.addmm_flop_jit,
    "aten::_convolution": jit_handles.conv_flop_jit,
    "aten::addcmul": _each(1),
    "aten::mul": _mul,
}
_PRODUCTS: dict[str, Handle] = {
    "aten::bmm": jit_handles.bmm_flop_jit,
    "aten::mm": _matmul,
    "aten::matmul": _matmul,
    "aten::einsum": jit_handles.einsum_flop_jit,
    "aten::scaled_dot_product_attention": _attention,
}
#: The first one is the default.
CONVENTIONS: dict[str, Convention] = {convention.name: convention for convention in (
    Convention(
        "full", "all linear layers, convolutions (also those written as shifted sums) and matrix products, both products of attention "
        "included", "norms, activations, softmax, interpolation, pooling and all that works number by number", _LAYERS | _PRODUCTS),
    Convention(
        "fvcore", "what fvcore counts by itself: linear layers, convolutions, plain matrix products, and 5 for each number that goes "
        "through a LayerNorm", "both products of fused attention, and depthwise convolutions (they are written as shifted sums)", None),
    Convention(
        "paper", "what a counter hooked to modules saw in the published tables of block drop: qkv, proj and LayerNorm (4 per number) of "
        "each block, convolutions and LayerNorms of the head", "two thirds of every block's linear work (both matrices of its MLP), the "
        "patch embedding, the products of attention, adapters and LoRA", _LAYERS | {"aten::layer_norm": _each(4)},
        re.compile(r"backbone\..*\.(mlp|patch_embed|adapter|lora_\w+)"), between_levels=False),
)}
