"""How far to compress: a share of the detector's multiply-adds, a number of blocks, or a latency."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tadshrink.errors import UserError
from tadshrink.models.units import NOUN, NOUNS, too_few
from tadshrink.profiling.macs import MacsReport, closest_drop_count

_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%|ms)?\s*")


@dataclass(frozen=True)
class Target:
    """What was asked for: ``kind`` is ``%`` (of MACs), ``ms`` (per window) or ``blocks``."""

    value: float
    kind: str
    text: str


@dataclass(frozen=True)
class DropBudget:
    """The most units that may be dropped, the latency at which to stop earlier, and a sentence that explains both."""

    count: int
    latency_ms: float | None
    reason: str


def parse_target(text: str) -> Target:
    """Read ``25%``, ``3`` (blocks) or ``60ms``.

    Raises:
        UserError: none of these, or out of range.
    """
    fix = "Give a share of the MACs (25%), a number of blocks (3) or a latency per window (60ms)"
    found = _FORM.fullmatch(text)
    if not found:
        raise UserError(f"--target {text!r} is not understood", fix=fix)
    value, kind = float(found[1]), found[2] or "blocks"
    if not 0 < value < math.inf or (kind == "%" and value >= 100) or (kind == "blocks" and value != int(value)):
        raise UserError(f"--target {text!r} is out of range", fix=fix)
    return Target(value, kind, text.strip())


def parse_share(text: str, option: str = "--target") -> float:
    """Read ``25%`` as 0.25.

    Args:
        option: that it was given to.

    Raises:
        UserError: something else, or out of range.
    """
    found = _FORM.fullmatch(text)
    if not found or found[2] != "%" or not 0 < float(found[1]) < 100:
        raise UserError(f"{option} {text!r} is not a share of the multiply-adds", fix="Give one such as 25%")
    return float(found[1]) / 100


def plan_drops(target: Target, report: MacsReport, at_least: bool, kind: str = "block") -> DropBudget:
    """Turn a target into a number of units to drop.

    Args:
        report: MACs of the detector before the first drop.
        at_least: a percentage is a floor instead of the number to come closest to.
        kind: of units; one of them always stays.

    Raises:
        UserError: more than can be removed, or less than one unit.
    """
    there, noun = len(report.costs(kind)), NOUNS[kind]
    most = there - 1
    if most < 1:
        raise UserError(too_few(there, kind), fix="A model needs at least one: nothing can be dropped")
    if target.kind == "ms":
        return DropBudget(most, target.value, f"{noun} are dropped until a window takes at most {target.value:g} ms")
    if target.kind == "blocks":
        if target.value > most:
            raise UserError(f"cannot drop {target.value:g} of {there} {noun}", fix=f"--target takes 1 to {most} {noun}")
        return DropBudget(int(target.value), None, f"{target.value:g} of {there} {noun}, as asked for")
    plan = closest_drop_count(report, target.value / 100, at_least, kind)
    how = "the fewest that remove at least" if at_least else "the closest to"
    more = f"; one {NOUN[kind]} more would remove {plan.one_more:.1%}" if plan.one_more is not None else ""
    reason = f"{plan.count} of {there} {noun} remove {plan.fraction_removed:.1%} of the MACs, {how} {target.text}{more}"
    if plan.one_more is None and target.value / 100 > plan.fraction_removed * (1 + 0.5 / most):
        raise UserError(f"{target.text} of the MACs cannot be removed: without all but one of the {noun} it is {plan.fraction_removed:.1%}",
                        fix="Lower --target")
    if plan.count == 0:
        raise UserError(f"{target.text} is less than half of one {NOUN[kind]}: nothing would be dropped",
                        fix="Raise --target, or use --at-least")
    return DropBudget(plan.count, None, reason)
