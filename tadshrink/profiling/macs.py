"""Multiply-adds of a detector by part and by block, and how many blocks to drop for a wanted saving."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.blocks import HalvedBlock
from tadshrink.models.units import HALVES, NOUNS

with warnings.catch_warnings():
    # Importing it compiles something with a function that torch has deprecated.
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis, jit_handles

_BACKBONE = "backbone"
_HEAD = {"neck": "neck", "rpn_head": "rpn_head"}
#: Parts of a detector by the name of its blocks.
_PARTS = {
    "backbone.model.backbone.blocks": {"patch_embed": "backbone.model.backbone.patch_embed", "blocks": "backbone.model.backbone.blocks",
                                       "projection": "projection", **_HEAD},
    "projection.stem": {"embed": "projection.embed", "blocks": "projection.stem", "branch": "projection.branch", **_HEAD},
}
#: Move or select numbers without computing any, but are not on fvcore's own list of such operators.
_FREE = ("aten::numel", "aten::pad", "aten::unflatten", "aten::feature_dropout")


@dataclass(frozen=True)
class MacsReport:
    """Multiply-adds of one forward pass.

    Attributes:
        head: everything that is not backbone.
        per_block: of each surviving block, in their order; ``block_indices`` are their original indices.
        parts: patch_embed, blocks, projection, neck and rpn_head; or embed, blocks, branch, neck and rpn_head.
        not_counted: how often each operator ran that computes something but is not counted.
        per_half: of each half of a block that is left, in the order of their blocks.
    """

    total: int
    backbone: int
    head: int
    per_block: list[int]
    block_indices: list[int]
    parts: dict[str, int]
    not_counted: dict[str, int]
    per_half: dict[str, list[int]] = field(default_factory=dict)

    def costs(self, kind: str) -> list[int]:
        """Of every unit of a kind, ascending."""
        return self.per_block if kind == "block" else self.per_half[kind]

    def to_json(self) -> dict[str, Any]:
        """As plain data; the surviving blocks follow from depth and dropped blocks, so their indices are left out."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in ("block_indices", "per_half")}


@dataclass(frozen=True)
class DropPlan:
    """How many units to drop in all.

    Attributes:
        fraction_removed: of the MACs of the detector with all of them.
        one_more: fraction removed by dropping one more, or None where a single one is left.
    """

    count: int
    fraction_removed: float
    one_more: float | None


def parameters(detector: nn.Module) -> int:
    """Number of parameters; shared ones count once, buffers do not count."""
    return sum(parameter.numel() for parameter in detector.parameters())


def count_macs(detector: nn.Module, inputs: Tensor, masks: Tensor) -> MacsReport:
    """Multiply-adds of ``detector(inputs, masks)`` in eval mode, counted by fvcore on the traced graph.

    Counted are products that are summed up: linear layers, convolutions (also those written as shifted sums),
    matrix products and, unlike in fvcore, both products of fused attention; one multiply-add is one MAC. Everything
    else is listed in ``not_counted`` and adds nothing: LayerNorm (5 per element in fvcore), GELU, softmax (the one
    within fused attention is not seen at all), interpolation, pooling and elementwise operations.

    The detector is traced as a copy without data ("meta" device): nothing is computed, memory does not grow with the
    input, and only shapes and dtypes of ``inputs`` and ``masks`` matter, which may be on the meta device themselves.
    Only where torch cannot trace it so (as of 2.13 with ``nn.Conv1d.forward``) one real forward pass is run.
    """
    totals, not_counted = _analyse(detector, inputs, masks)
    stack = next(name for name in _PARTS if _has(detector, name))
    blocks = list(_surviving(detector, stack))
    return MacsReport(
        total=totals[""],
        backbone=totals.get(_BACKBONE, 0),
        head=totals[""] - totals.get(_BACKBONE, 0),
        per_block=[totals[f"{stack}.{index}"] for index in blocks],
        block_indices=blocks,
        parts={part: totals.get(name, 0) for part, name in _PARTS[stack].items()},
        not_counted=not_counted,
        per_half=_per_half({index: detector.get_submodule(f"{stack}.{index}") for index in blocks}, stack, totals),
    )


def closest_drop_count(report: MacsReport, fraction: float, at_least: bool = False, kind: str = "block") -> DropPlan:
    """Number of units whose removal takes the wanted fraction off the MACs of the whole detector.

    Args:
        report: of the detector before the first drop; where some units cost more than others, their mean is taken.
        fraction: wanted saving, 0 to 1.
        at_least: the smallest number that saves this much, instead of the closest (of two equally close, the smaller).
        kind: of units.

    Raises:
        UserError: the fraction is out of range, or out of reach while one unit is kept.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"a fraction of {fraction} of the MACs cannot be removed", fix="Choose from 0 up to below 1")
    costs = report.costs(kind)
    each = Fraction(sum(costs), len(costs) * report.total)
    # The decimal that was written, not the binary number next to it: 0.3 of a cost that 0.3 fits is a hit.
    wanted = Fraction(str(fraction))
    counts = range(len(costs))
    enough = [count for count in counts if count * each >= wanted]
    if at_least and not enough:
        raise UserError(f"{fraction:.1%} of the MACs cannot be removed: without all but one of the {NOUNS[kind]} it is "
                        f"{float(counts[-1] * each):.1%}", fix="Choose a smaller fraction")
    count = enough[0] if at_least else min(counts, key=lambda count: (abs(count * each - wanted), count))
    one_more = float((count + 1) * each) if count + 1 in counts else None
    return DropPlan(count, float(count * each), one_more)


def _analyse(detector: nn.Module, inputs: Tensor, masks: Tensor) -> tuple[dict[str, int], dict[str, int]]:
    """MACs by module name ("" is all), and how often each operator ran that is not counted."""
    try:
        return _trace(_without_data(detector), inputs.to("meta"), masks.to("meta"))
    except (TypeError, RuntimeError):
        device = next(detector.parameters()).device
        if device.type == "meta":
            raise
        return _trace(copy.deepcopy(detector).eval(), inputs.to(device), masks.to(device))


def _trace(detector: nn.Module, inputs: Tensor, masks: Tensor) -> tuple[dict[str, int], dict[str, int]]:
    skipped: Counter[str] = Counter()
    analysis = FlopCountAnalysis(_Traced(detector), (inputs, masks))
    analysis.clear_op_handles().set_op_handle(**_HANDLES, **{"aten::mul": _mul_handle(skipped)})
    analysis.set_op_handle(**dict.fromkeys(_FREE))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad():
        totals = {name.removeprefix("detector").lstrip("."): int(n) for name, n in analysis.by_module().items()}
    skipped.update({name.removeprefix("aten::"): times for name, times in analysis.unsupported_ops().items()})
    return totals, dict(sorted(skipped.items()))


class _Traced(nn.Module):
    """Returns bare tensors, which is all that tracing can follow."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, inputs: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
        return tuple(_tensors(self.detector(inputs, masks)))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
    elif dataclasses.is_dataclass(value):
        yield from _tensors(vars(value))


def _without_data(detector: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters and buffers have a shape and no data."""
    known: dict[int, Any] = {}
    for parameter in detector.parameters():
        known[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in detector.buffers():
        known[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(detector, known).eval()


def _has(detector: nn.Module, name: str) -> bool:
    return any(module == name for module, _ in detector.named_modules())


def _surviving(detector: nn.Module, stack: str) -> Iterator[int]:
    """Original indices of the blocks that are left: a dropped one is a placeholder without parameters."""
    for name, block in detector.get_submodule(stack).named_children():
        if next(block.parameters(), None) is not None:
            yield int(name)


def _per_half(blocks: dict[int, nn.Module], stack: str, totals: dict[str, int]) -> dict[str, list[int]]:
    halved = {index: block for index, block in blocks.items() if isinstance(block, HalvedBlock)}
    return {half: [sum(totals.get(f"{stack}.{index}.{part}", 0) for part in block.parts[half])
                   for index, block in halved.items() if half in block.halves] for half in HALVES}


def _matmul(inputs: list[Any], outputs: list[Any]) -> int:
    """Each number of the output is a sum over the last axis of the first factor; batch axes may be broadcast."""
    return prod(jit_handles.get_shape(outputs[0])) * jit_handles.get_shape(inputs[0])[-1]


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """q k^T and softmax(..) v, for q [.., N, d], k [.., M, d], v [.., M, e] and output [.., N, e]."""
    (keys, depth), out = jit_handles.get_shape(inputs[1])[-2:], jit_handles.get_shape(outputs[0])
    return prod(out[:-1]) * keys * (depth + out[-1])


def _addcmul(inputs: list[Any], outputs: list[Any]) -> int:
    return prod(jit_handles.get_shape(outputs[0]))


def _mul_handle(skipped: Counter[str]) -> Callable[[list[Any], list[Any]], int]:
    """Counts a product only where a sum of products starts with it (a depthwise convolution as shifted sums)."""

    def handle(inputs: list[Any], outputs: list[Any]) -> int:
        if any(use.user.kind() == "aten::addcmul" and use.offset == 0 for use in outputs[0].uses()):
            return prod(jit_handles.get_shape(outputs[0]))
        skipped["mul"] += 1
        return 0

    return handle


_HANDLES: dict[str, Callable[[list[Any], list[Any]], Any]] = {
    "aten::linear": jit_handles.linear_flop_jit,
    "aten::addmm": jit_handles.addmm_flop_jit,
    "aten::bmm": jit_handles.bmm_flop_jit,
    "aten::mm": _matmul,
    "aten::matmul": _matmul,
    "aten::einsum": jit_handles.einsum_flop_jit,
    "aten::_convolution": jit_handles.conv_flop_jit,
    "aten::scaled_dot_product_attention": _attention,
    "aten::addcmul": _addcmul,
}
