"""What was removed, what it cost and what it gained, in a few words and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tadshrink.models.units import Unit, split_unit
from tadshrink.report.findings import PRUNING, Findings, Model
from tadshrink.report.html import Html, joined, tag
from tadshrink.report.wording import amount, change, listed, number, plural, times

_NOUNS = {"block": ("block", "blocks"), "half": ("half", "halves"), "unit": ("unit", "units")}


@dataclass(frozen=True)
class Tile:
    """One number: what it is, the number, and a line about it."""

    name: str
    value: str
    more: str


def removed(findings: Findings) -> tuple[Unit, ...]:
    """What went in this run and stayed away; of a checkpoint, all that is gone."""
    if not findings.is_run:
        return findings.dropped
    return tuple(unit for step in findings.steps if step.model.kept for unit in step.model.dropped)


def last_good(findings: Findings) -> Model | None:
    """The final model; of a run that has not ended, that of the last step."""
    return findings.final or next((step.model for step in reversed(findings.steps) if step.model.kept and step.model.heldout), None)


def tiles(findings: Findings) -> list[Tile]:
    """The numbers of the headline, most telling first."""
    gone = removed(findings)
    before_run = [unit for unit in findings.dropped if unit not in gone]
    halves = any(isinstance(unit, str) for unit in (*gone, *before_run))
    pruned = sum(step.model.pruned or 0 for step in findings.steps if step.model.kept)
    more = [f"{_noun(gone)} {listed(gone)}"] if gone else []
    more += [f"{number(100 * pruned, 1)} % of the multiply-adds pruned from the rest"] if pruned else []
    count, earlier = (sum(len(split_unit(unit)[1]) if halves else 1 for unit in units) for units in (gone, before_run))
    # A history does not say how much it was.
    kept = [step.model for step in findings.steps if step.model.kept]
    more += ["channels pruned from the rest"] if not pruned and any(model.name == PRUNING for model in kept) else []
    whole = findings.depth * (2 if halves else 1) - earlier
    found = [Tile("removed", f"{count} of {whole}", "; ".join(more) or "nothing")] if findings.depth else []
    before, after = findings.baseline, last_good(findings)
    if findings.cost is not None:
        found.append(_relative(f"multiply-adds of {findings.counted}", findings.cost.before, findings.cost.total))
    if before is None or after is None:
        return found
    return found + (_compared(findings, before, after) if gone or pruned else [*_accuracy(before, before)])


def _compared(findings: Findings, before: Model, after: Model) -> list[Tile]:
    """What the baseline and the last good model were measured by."""
    found = [_relative(f"multiply-adds of {findings.counted}", before.macs, after.macs)] if before.macs and after.macs else []
    if after.speedup:
        device = findings.plan["device"] if findings.plan else ""
        itself = f"; the baseline against itself {times(before.speedup)}" if before.speedup else ""
        found.append(Tile("speed of the model", times(after.speedup), f"measured in turn with the baseline, {device}{itself}"))
    found += _accuracy(before, after)
    return found + ([_relative("parameters", before.params, after.params)] if before.params and after.params else [])


def _accuracy(before: Model, after: Model) -> Iterator[Tile]:
    """The change, where the two are not the same model."""
    for key, name in (("test", "test mAP"), ("heldout", "held-out mAP")):
        was, now = getattr(before, key), getattr(after, key)
        if not (was and now):
            continue
        of = f"{plural(now['videos'], 'video')}, {plural(now['ground_truths'], 'action')}"
        if before is after:
            yield Tile(name, number(was["average_map"]), of)
        else:
            delta = number(now["average_map"] - was["average_map"], sign=True)
            yield Tile(name, delta, f"{number(was['average_map'])} → {number(now['average_map'])}; {of}")


def headline(findings: Findings) -> Html:
    """The numbers, and why the run ended."""
    shown = tag("div", *(tag("div", tag("span", tile.name, class_="name"), tag("strong", tile.value), tag("span", tile.more, class_="more"),
                             class_="tile") for tile in tiles(findings)), class_="tiles")
    return joined([shown, *(tag("p", text, class_=kind) for kind, text in _sentences(findings))])


def _sentences(findings: Findings) -> list[tuple[str, str]]:
    """Kind (a CSS class) and text."""
    told = []
    if not findings.sound:
        told.append(("warning", "The weights of final/model.pth are not those that the run wrote: the checksums differ."))
    if findings.stopped:
        told.append(("lead", f"The run ended because {findings.stopped}."))
    elif findings.is_run:
        told.append(("warning", f"This run has not ended: {plural(len(findings.steps), 'step')} measured so far, no test figures. "
                                "The same tadshrink run goes on with it."))
    else:
        # Only detectors are compressed by a run.
        more = "" if findings.recogniser else " A report of the work dir of its run would tell more."
        told.append(("lead", f"Told from the checkpoint alone.{more}"))
    return told


def _relative(name: str, before: int, after: int) -> Tile:
    return Tile(name, change(before, after), f"{amount(before)} → {amount(after)}")


def _noun(units: tuple[Unit, ...]) -> str:
    kinds = {"block" if isinstance(unit, int) else "half" for unit in units}
    one, several = _NOUNS[kinds.pop() if len(kinds) == 1 else "unit"]
    return one if len(units) == 1 else several
