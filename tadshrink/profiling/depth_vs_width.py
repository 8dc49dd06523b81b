"""Whether it is faster to drop blocks or to make all of them narrower, at equal multiply-adds."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import nn

from tadshrink.errors import UserError
from tadshrink.models.body import narrowed
from tadshrink.models.detector import Detector
from tadshrink.models.units import HALVES, Unit, gone
from tadshrink.models.vit import Block
from tadshrink.profiling.latency import Latency, Ratio, measure_in_turn
from tadshrink.profiling.macs import MacsReport, closest_drop_count, detector_macs, parameters
from tadshrink.profiling.running import Measure, computing, ready
from tadshrink.profiling.subject import Subject, sketched
from tadshrink.reporting import SILENT, Reporter

#: Savings to compare at where none are given: fractions of the MACs of the whole detector.
SAVINGS = (0.125, 0.25)
#: Hidden units that are taken away together: other sizes are slow to multiply, which would be unfair to narrow blocks.
TOGETHER = 8


@dataclass(frozen=True)
class Variant:
    """One detector of the comparison.

    Attributes:
        kind: "full", "depth" (blocks dropped) or "width" (heads and hidden units pruned from all blocks).
        saving: that was asked for; 0 for the full one.
        change: what was done to it, as plain data.
        speedup: time of the full one / time of this one, turn by turn.
    """

    kind: str
    saving: float
    change: dict[str, Any]
    macs: int
    params: int
    latency: Latency
    speedup: Ratio

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": self.kind, "saving": self.saving, **self.change, "macs": self.macs, "params": self.params,
                "latency_ms": self.latency.to_json(), "speedup": self.speedup.to_json()}


@dataclass(frozen=True)
class DepthVsWidth:
    """The full detector, then for each saving the one with fewer blocks and the one with narrower blocks."""

    variants: list[Variant]
    summary: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"variants": [variant.to_json() for variant in self.variants], "summary": self.summary}


@dataclass(frozen=True)
class _Made:
    kind: str
    saving: float
    change: dict[str, Any]
    detector: Detector
    macs: int


def depth_vs_width(subject: Subject, measure: Measure, savings: Sequence[float] = SAVINGS, reporter: Reporter = SILENT) -> DepthVsWidth:
    """Time block drop and width pruning at equal MACs, and the full detector, in turn.

    Blocks are dropped as :func:`~tadshrink.profiling.macs.closest_drop_count` says; heads and hidden units are pruned from all
    blocks alike, down to the MACs of the detector with fewer blocks (to :data:`TOGETHER` hidden units of one block). Speed does not
    depend on the weights, which may be random.

    Raises:
        UserError: a detector on features, a saving out of reach, or whatever is wrong with the detector or the device.
    """
    detector, text = subject.open(reporter)
    made = _variants(detector, savings)
    with computing(measure, detector.config.compute_width, reporter) as compute, ExitStack() as stack:
        models = [stack.enter_context(ready(one.detector, measure, compute, reporter)) for one in made]
        with reporter.track("depth and width", len(models) * (measure.warmup + measure.turns)) as advance:
            times = measure_in_turn([model.run for model in models], measure.warmup, measure.turns, compute.device, measure.limit, advance)
        measure.told(len(times[0]), reporter)
        return DepthVsWidth([
            Variant(one.kind, one.saving, one.change, one.macs, parameters(one.detector),
                    Latency.of(own, compute.device, compute.dtype_name, model.inputs.shape, model.compiled), Ratio.of(times[0], own))
            for one, model, own in zip(made, models, times, strict=True)], text)


def _variants(detector: Detector, savings: Sequence[float]) -> list[_Made]:
    _check_whole(detector)
    report = detector_macs(detector)
    result = [_Made("full", 0.0, {}, detector, report.total)]
    for saving in savings:
        if not 0 < saving < 1:
            raise UserError(f"a saving of {saving:.1%} of the MACs cannot be compared", fix="Choose between 0 and 100")
        dropped: list[Unit] = report.block_indices[len(report.block_indices) - closest_drop_count(report, saving).count:]
        if not dropped:
            raise UserError(f"{saving:.1%} of the MACs is less than half a block", fix="Choose a larger saving")
        shallow = copy.deepcopy(detector)
        for index in dropped:
            shallow.blocks.drop(index)
        fewer = detector_macs(shallow).total
        heads, hidden = widths(detector, report, report.total - fewer)
        thin = _narrow(detector, heads, hidden)
        result += [_Made("depth", saving, {"dropped": dropped}, shallow, fewer),
                   _Made("width", saving, {"heads": heads, "hidden": hidden}, thin, detector_macs(thin).total)]
    return result


def _narrow(detector: Detector, heads: Sequence[int], hidden: Sequence[int]) -> Detector:
    """One with so many heads and hidden units in the blocks that are left; its weights are random."""
    config, left = detector.config, dict(zip(detector.blocks.indices, zip(heads, hidden, strict=True), strict=True))
    kept = tuple(left.get(index, config.backbone.sizes(index)) for index in range(config.block_count))
    return sketched(narrowed(detector.body, config, kept), dropped=gone(config.block_count, detector.blocks.left))


def _check_whole(detector: Detector) -> None:
    """Raise a :class:`UserError` unless the blocks are those of a video backbone, with both halves and plain layers."""
    blocks = [detector.blocks[index] for index in detector.blocks.indices]
    if not all(isinstance(block, Block) for block in blocks):
        raise UserError("only the blocks of a video backbone can be made narrower", fix="Choose a detector on videos")
    if any(block.halves != HALVES or type(layer) is not nn.Linear for block in blocks
           for layer in (getattr(block.attn, "qkv", None), getattr(block.attn, "proj", None))):
        raise UserError("blocks without one half or with LoRA cannot be made narrower", fix="Choose whole blocks, and merge LoRA first")


def widths(detector: Detector, report: MacsReport, removed: int) -> tuple[list[int], list[int]]:
    """Heads and hidden units that each block keeps when so many MACs are taken from all of them alike.

    Heads go in their share of the blocks, rounded to whole heads, and one of each block stays; hidden units make up the rest,
    :data:`TOGETHER` at a time.

    Raises:
        UserError: a block would have none left.
    """
    blocks = [detector.blocks[index] for index in detector.blocks.indices]
    heads, hidden = ([block.attn.heads for block in blocks], [block.mlp.layers[1].in_features for block in blocks])
    per_head, per_unit = (sum(report.per_half[half]) / sum(counts) for half, counts in (("attention", heads), ("mlp", hidden)))
    fraction = removed / (sum(report.per_half["attention"]) + sum(report.per_half["mlp"]))
    heads_gone = min(round(fraction * sum(heads)), sum(heads) - len(heads))
    together_gone = round((removed - heads_gone * per_head) / per_unit / TOGETHER)
    heads = [count - gone for count, gone in zip(heads, _spread(heads_gone, len(blocks)), strict=True)]
    hidden = [count - TOGETHER * gone for count, gone in zip(hidden, _spread(together_gone, len(blocks)), strict=True)]
    if min(heads + hidden) < 1:
        raise UserError("so many MACs cannot be taken from all blocks alike: nothing of an MLP would be left", fix="Choose a smaller saving")
    return heads, hidden


def _spread(total: int, places: int) -> list[int]:
    """``total`` over the places, as evenly as whole numbers go."""
    return [total * (place + 1) // places - total * place // places for place in range(places)]
