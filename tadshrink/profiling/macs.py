"""Multiply-adds and parameters of a detector by part and by block, and how many blocks to drop for a wanted saving."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.blocks import HalvedBlock
from tadshrink.models.detector import Detector
from tadshrink.models.units import HALVES, NOUNS
from tadshrink.profiling.conventions import Convention, find_convention
from tadshrink.profiling.tracing import Trace, trace_without_data
from tadshrink.profiling.windows import blank_window

_BACKBONE = "backbone"
_HEAD = {"neck": "neck", "rpn_head": "rpn_head"}
#: Parts of a detector by the name of its blocks.
_PARTS = {
    "backbone.model.backbone.blocks": {"patch_embed": "backbone.model.backbone.patch_embed", "blocks": "backbone.model.backbone.blocks",
                                       "projection": "projection", **_HEAD},
    "projection.stem": {"embed": "projection.embed", "blocks": "projection.stem", "branch": "projection.branch", **_HEAD},
}
#: A part of its own beside the blocks that it belongs to, where there are any.
_ADAPTERS = "adapters"


@dataclass(frozen=True)
class MacsReport:
    """Multiply-adds of one forward pass.

    Attributes:
        head: everything that is not backbone.
        per_block: of each surviving block, in their order, adapter included; ``block_indices`` are their original indices.
        parts: patch_embed, blocks (without adapters), adapters if there are any, projection, neck and rpn_head; or embed, blocks,
            branch, neck and rpn_head.
        not_counted: how often each operator ran that computes something but is not counted.
        per_half: of each half of a block that is left, in the order of their blocks.
        convention: what was counted, see :data:`~tadshrink.profiling.conventions.CONVENTIONS`.
    """

    total: int
    backbone: int
    head: int
    per_block: list[int]
    block_indices: list[int]
    parts: dict[str, int]
    not_counted: dict[str, int]
    per_half: dict[str, list[int]] = field(default_factory=dict)
    convention: str = "full"

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


def parameters_by_part(detector: nn.Module) -> dict[str, int]:
    """Number of parameters of the same parts as in :class:`MacsReport`, and under "other" of what is in none of them (such as a
    norm that is kept in checkpoints and never applied)."""
    stack = _stack(detector)
    sizes = {name: parameters(module) for name, module in detector.named_modules()}
    parts = _by_part(stack, sizes, _adapters(detector, stack))
    other = parameters(detector) - sum(parts.values())
    return parts | ({"other": other} if other else {})


def detector_macs(detector: Detector, convention: str = "full") -> MacsReport:
    """:func:`count_macs` for one window of the detector's configuration."""
    return count_macs(detector, *blank_window(detector.config), convention)


def count_macs(detector: nn.Module, inputs: Tensor, masks: Tensor, convention: str = "full") -> MacsReport:
    """Multiply-adds of ``detector(inputs, masks)`` in eval mode, counted by fvcore on the traced graph.

    In the "full" convention counted are products that are summed up: linear layers, convolutions (also those written as shifted
    sums), matrix products and, unlike in fvcore, both products of fused attention; one multiply-add is one MAC. Everything else is
    listed in ``not_counted`` and adds nothing: LayerNorm (5 per element in fvcore), GELU, softmax (the one within fused attention
    is not seen at all), interpolation, pooling and elementwise operations. The others are for comparisons with figures of others.

    The detector is traced as a copy without data ("meta" device): nothing is computed, memory does not grow with the
    input, and only shapes and dtypes of ``inputs`` and ``masks`` matter, which may be on the meta device themselves.

    Raises:
        UserError: there is no such convention.
    """
    chosen = find_convention(convention)
    traced = trace_without_data(detector, (inputs, masks), chosen)
    totals, stack = _levels_alone(detector, traced, masks, chosen), _stack(detector)
    blocks = list(_surviving(detector, stack))
    return MacsReport(
        total=totals[""],
        backbone=totals.get(_BACKBONE, 0),
        head=totals[""] - totals.get(_BACKBONE, 0),
        per_block=[totals[f"{stack}.{index}"] for index in blocks],
        block_indices=blocks,
        parts=_by_part(stack, totals, _adapters(detector, stack)),
        not_counted=traced.not_counted,
        per_half=_per_half({index: detector.get_submodule(f"{stack}.{index}") for index in blocks}, stack, totals),
        convention=chosen.name,
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


def _levels_alone(detector: nn.Module, traced: Trace, masks: Tensor, convention: Convention) -> dict[str, int]:
    """Multiply-adds by module, without those of the zero cells between the levels if the convention has none."""
    if convention.between_levels:
        return traced.macs
    length = detector.projection.padded_length(masks.shape[-1])
    levels = detector.config.head.levels
    cells = sum(length >> level for level in range(levels))
    heads = {name: count * cells // (cells + levels) for name, count in traced.macs.items() if name.split(".")[0] == "rpn_head"}
    return traced.macs | heads | {"": traced.macs[""] - traced.macs["rpn_head"] + heads["rpn_head"]}


def _stack(detector: nn.Module) -> str:
    """Name of the blocks."""
    names = {name for name, _ in detector.named_modules()}
    return next(name for name in _PARTS if name in names)


def _adapters(detector: nn.Module, stack: str) -> list[str]:
    return [f"{stack}.{name}" for name, _ in detector.get_submodule(stack).named_modules() if name.endswith(".adapter")]


def _by_part(stack: str, values: Mapping[str, int], adapters: list[str]) -> dict[str, int]:
    """Sums by part, from sums by the full name of a module."""
    parts = {part: values.get(name, 0) for part, name in _PARTS[stack].items()}
    if not adapters:
        return parts
    apart = sum(values.get(name, 0) for name in adapters)
    return {name: value for part, count in parts.items()
            for name, value in ([(part, count - apart), (_ADAPTERS, apart)] if part == "blocks" else [(part, count)])}


def _surviving(detector: nn.Module, stack: str) -> Iterator[int]:
    """Original indices of the blocks that are left: a dropped one is a placeholder without parameters."""
    for name, block in detector.get_submodule(stack).named_children():
        if next(block.parameters(), None) is not None:
            yield int(name)


def _per_half(blocks: dict[int, nn.Module], stack: str, totals: dict[str, int]) -> dict[str, list[int]]:
    halved = {index: block for index, block in blocks.items() if isinstance(block, HalvedBlock)}
    return {half: [sum(totals.get(f"{stack}.{index}.{part}", 0) for part in block.parts[half])
                   for index, block in halved.items() if half in block.halves] for half in HALVES}
