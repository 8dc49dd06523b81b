"""Structured channel pruning of blocks: whole attention heads and hidden units of MLPs, really taken out of the tensors.

They are all that can go without touching another block: everything else is as wide as the residual stream. torch-pruning finds such
groups of tensors by tracing a model; here they are the few that each kind of block lists (:attr:`~tadshrink.models.blocks.HalvedBlock.cuts`),
some of which are bare parameters that it would have to be told of anyway, and checkpoints are cut without building a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tadshrink.errors import UserError
from tadshrink.models.blocks import Cut
from tadshrink.models.body import block_sizes, narrowed
from tadshrink.models.detector import Detector
from tadshrink.models.units import HALVES, gone
from tadshrink.profiling.macs import MacsReport, detector_macs

#: Hidden units that go together: other widths are slow to multiply.
TOGETHER = 8
#: Share of what is wanted that may be left over before something else goes in the place of what is too large.
NEAR = 0.05
#: Scores of the heads ("attention") and hidden units ("mlp") of every block that is left, by (original index, half); higher stays longer.
Scores = Mapping[tuple[int, str], Tensor]


@dataclass(frozen=True)
class Places:
    """Where the heads or hidden units of one half of a block are.

    Attributes:
        count: how many there are.
        size: rows (or columns) of each in a weight.
    """

    prefix: str
    cuts: tuple[Cut, ...]
    count: int
    size: int

    def grouped(self, cut: Cut, weight: Tensor) -> Tensor:
        """A weight with what belongs to each of them in a row: [count, ...]."""
        parts = weight.movedim(cut.axis, 0).unflatten(0, (cut.repeats, self.count, self.size))
        return parts.transpose(0, 1).flatten(1)

    def taken(self, cut: Cut, weight: Tensor, chosen: Tensor) -> Tensor:
        """The weight of the chosen ones alone, by their numbers."""
        parts = weight.movedim(cut.axis, 0).unflatten(0, (cut.repeats, self.count, self.size))
        return parts[:, chosen].flatten(0, 2).movedim(0, cut.axis).contiguous()


def check_prunable(detector: Detector, where: object) -> None:
    """Raise a :class:`UserError` where there is nothing that can be pruned; ``where`` names the file."""
    if not detector.blocks.left:
        raise UserError("this network has no blocks that can be pruned", where=where, fix="Give a detector with a ViT, or with a stem")
    if detector.body.part == "head" and detector.config.head.relative_position:
        raise UserError("a stem with relative positions cannot be pruned: nothing says which of its heads' numbers would stay",
                        where=where, fix="Give a model without them, or drop blocks instead")


def places(detector: Detector, state: Mapping[str, Tensor]) -> dict[tuple[int, str], Places]:
    """By (original index, half), of all that is left of a detector with these weights."""
    found, body = {}, detector.body
    for index, halves in detector.blocks.left.items():
        for half in halves:
            prefix, cuts = f"{body.prefix}.{index}.", body.block.cuts[half]
            # The way out is as wide as all of them together.
            width = state[prefix + cuts[-1].name].shape[cuts[-1].axis]
            count = block_sizes(detector, index)[0] if half == "attention" else width
            found[index, half] = Places(prefix, cuts, count, width // count)
    return found


def by_magnitude(where: Mapping[tuple[int, str], Places], state: Mapping[str, Tensor]) -> Scores:
    """L2 norm of all weights of each, after Li et al. 2017 (who take L1)."""
    return {key: sum(item.grouped(cut, state[item.prefix + cut.name]).double().square().sum(1) for cut in item.cuts).sqrt()
            for key, item in where.items()}


def by_taylor(where: Mapping[tuple[int, str], Places], products: Mapping[str, Tensor]) -> Scores:
    """Sum of |weight x gradient| over all weights of each, in the manner of Molchanov et al.; ``products`` are these, by weight.

    Gradients are those of batches: the larger they are, the more of what differs between windows averages out.
    """
    return {key: sum(item.grouped(cut, products[item.prefix + cut.name]).double().sum(1) for cut in item.cuts)
            for key, item in where.items()}


def at_random(where: Mapping[tuple[int, str], Places], seed: int) -> Scores:
    """A control."""
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.rand(item.count, generator=generator, dtype=torch.float64) for key, item in where.items()}


@dataclass(frozen=True)
class Plan:
    """What stays of each half of a block, ascending numbers, and the MACs that go by it."""

    stays: dict[tuple[int, str], Tensor]
    removed: float


@dataclass(order=True)
class _Group:
    """Heads or hidden units that go together; ``score`` is the mean of theirs, in means of their half of the block."""

    score: float
    key: tuple[int, str] = field(compare=False)
    numbers: list[int] = field(compare=False)
    macs: float = field(compare=False)


def unit_costs(detector: Detector, where: Mapping[tuple[int, str], Places], counted: MacsReport) -> dict[tuple[int, str], float]:
    """MACs of a window that go with one head, or one hidden unit: not all of a half of a block gets less with them.

    Args:
        counted: of the detector as it is.
    """
    config = detector.config
    least = narrowed(detector.body, config, ((1, TOGETHER),) * config.block_count)
    with torch.device("meta"):
        small = Detector(least, gone(config.block_count, detector.blocks.left)).eval()
    more, less = ([*_by_half(report, where).values()] for report in (counted, detector_macs(small)))
    return {key: (most - rest) / max(1, item.count - _together(key))
            for (key, item), most, rest in zip(where.items(), more, less, strict=True)}


def _by_half(report: MacsReport, where: Mapping[tuple[int, str], Places]) -> dict[tuple[int, str], int]:
    listed = {half: iter(report.per_half[half]) for half in HALVES}
    return {key: next(listed[key[1]]) for key in where}


@dataclass(frozen=True)
class Prunable:
    """MACs of all that may go of each kind of half, and the least that go together."""

    most: dict[str, float]
    least: float


def prunable(detector: Detector, state: Mapping[str, Tensor], counted: MacsReport) -> Prunable:
    """What :func:`choose` can take; ``counted`` is the detector as it is."""
    where = places(detector, state)
    costs, sums, least = unit_costs(detector, where, counted), dict.fromkeys(HALVES, 0.0), float("inf")
    for key, item in where.items():
        size = _together(key)
        groups = len(_firsts(item.count, size))
        sums[key[1]] += costs[key] * groups * size
        least = min(least, costs[key] * size) if groups else least
    return Prunable(sums, least)


def _firsts(count: int, size: int) -> range:
    """Where groups of this size begin among so many; at least one group's worth stays."""
    return range(0, count - 2 * size + 1, size)


def _together(key: tuple[int, str]) -> int:
    return 1 if key[1] == "attention" else TOGETHER


def choose(scores: Scores, costs: Mapping[tuple[int, str], float], total: int, wanted: float) -> Plan:
    """Let those go whose score is least beside the others of their half of the block, until so many MACs are gone, or as near as it gets.

    One head and :data:`TOGETHER` hidden units of each block always stay.

    Args:
        costs: as from :func:`unit_costs`.
        total: MACs of the whole model.

    Raises:
        UserError: more than can go, or so little that nothing would.
    """
    stays, removed, groups = {key: set(range(len(values))) for key, values in scores.items()}, 0.0, sorted(_groups(scores, costs))
    most = sum(group.macs for group in groups)
    if not groups or wanted > most + groups[-1].macs / 2:
        raise UserError(f"{wanted / total:.1%} of the MACs cannot be pruned: all that may go are {most / total:.1%}", fix="Lower --target")
    for group in groups:
        if removed + group.macs / 2 <= wanted:
            stays[group.key] -= set(group.numbers)
            removed += group.macs
        elif removed >= (1 - NEAR) * wanted:
            break
    if not removed:
        least = min(group.macs for group in groups)
        raise UserError(f"nothing would be pruned: the least that can go are {least / total:.3%} of the MACs", fix="Raise --target")
    return Plan({key: torch.tensor(sorted(numbers)) for key, numbers in stays.items()}, removed)


def _groups(scores: Scores, costs: Mapping[tuple[int, str], float]) -> Iterator[_Group]:
    """All that may go. Of each half, the best always stays."""
    for key, values in scores.items():
        size = _together(key)
        order = values.argsort().tolist()
        share = values / values.mean().clamp(min=1e-30)
        for first in _firsts(len(order), size):
            numbers = order[first:first + size]
            yield _Group(float(share[numbers].mean()), key, numbers, costs[key] * len(numbers))


def cut(state: Mapping[str, Tensor], where: Mapping[tuple[int, str], Places], plan: Plan) -> dict[str, Tensor]:
    """The weights without those that do not stay."""
    made = dict(state)
    for key, item in where.items():
        for one in item.cuts:
            name = item.prefix + one.name
            made[name] = item.taken(one, state[name], plan.stays[key])
    return made


def silenced(state: Mapping[str, Tensor], where: Mapping[tuple[int, str], Places], plan: Plan) -> dict[str, Tensor]:
    """The weights with the way out of those that do not stay set to zero: the same outputs, nothing smaller."""
    made = dict(state)
    for key, item in where.items():
        way_out = item.cuts[-1]
        name = item.prefix + way_out.name
        mask = torch.zeros(item.count, dtype=torch.bool)
        mask[plan.stays[key]] = True
        shape = [1] * state[name].dim()
        shape[way_out.axis] = -1
        made[name] = state[name] * mask.repeat_interleave(item.size).view(shape)
    return made


def kept_sizes(detector: Detector, plan: Plan) -> tuple[tuple[int, int], ...]:
    """Heads and hidden units of every block by a plan; of what does not exist, as it was."""
    found = []
    for index in range(detector.config.block_count):
        before = dict(zip(HALVES, block_sizes(detector, index), strict=True))
        found.append(tuple(len(plan.stays[index, half]) if (index, half) in plan.stays else before[half] for half in HALVES))
    return tuple(found)
