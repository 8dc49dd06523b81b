"""The stages of a run, in their order and with the names that they have in its work dir."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tadshrink.compress.settings import AlignSettings
from tadshrink.data.datasets import HELDOUT
from tadshrink.models.units import NOUN, NOUNS
from tadshrink.planning.estimate import Estimate, Seconds
from tadshrink.run_settings import RunSettings
from tadshrink.schedules import Step
from tadshrink.stages.merge import WINDOWS


@dataclass(frozen=True)
class Stage:
    """One stage: what it does, the files that it writes below the work dir, and how long it takes if that is known.

    Attributes:
        done: by an interrupted run, so that it is not done again.
    """

    name: str
    what: str
    writes: tuple[str, ...]
    seconds: Seconds | None
    done: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"name": self.name, "what": self.what, "writes": list(self.writes), "seconds": self.seconds and self.seconds.to_json(),
                "done": self.done}


def all_stages(settings: RunSettings, steps: Sequence[Step], counts_first: bool, estimate: Estimate) -> list[Stage]:
    """Every stage that writes its result into the work dir.

    Args:
        counts_first: how many units a latency takes is measured before the first step.
    """
    found = [_stage("baseline/heldout", f"evaluate the baseline on {_videos(estimate, HELDOUT)}, time one window", estimate.measured(0),
                    "baseline/model.pth")]
    if counts_first:
        found.append(_stage("baseline/count", "time smaller and smaller models, to see how many units must go", None))
    gone = 0
    for number, step in enumerate(steps, 1):
        found += _of_step(f"step-{number}", step, gone, settings, estimate)
        gone += step.count * step.span
    if settings.with_channel_pruning:
        found += _pruning(f"step-{len(steps) + 1}", gone, settings, estimate)
    for name, lost in (("baseline", 0), ("final", gone)):
        found.append(_stage(f"{name}/test", f"evaluate on {_videos(estimate, 'test')}", estimate.tested("test", lost),
                            *(["final/model.pth"] if lost or name == "final" else [])))
    return found


def _of_step(folder: str, step: Step, gone: int, settings: RunSettings, estimate: Estimate) -> Iterator[Stage]:
    """Select, drop, align, merge, measure."""
    after, align = gone + step.count * step.span, step.align
    count, nouns = estimate.candidates(step, gone), NOUNS[settings.unit]
    many = f"{count} {nouns}" if step.span == 1 else f"{count} runs of {step.span} {nouns}"
    by = "at random" if estimate.quick.judged is None else f"by {settings.select.metric} on {_videos(estimate, HELDOUT)}"
    yield _stage(f"{folder}/select", f"rank {many} {by}", estimate.selected(step, gone), f"{folder}/selected.pth")
    what = f"{after - gone} {nouns}" if after - gone > 1 else f"one {NOUN[settings.unit]}"
    yield _stage(f"{folder}/drop", f"drop {what}", Seconds(), f"{folder}/dropped.pth")
    yield from _heal(folder, align, gone, after, settings, estimate)


def _pruning(folder: str, gone: int, settings: RunSettings, estimate: Estimate) -> Iterator[Stage]:
    """Prune, align, merge, measure; times are those of the model before, as what pruning gains is not known."""
    what = f"prune {settings.with_channel_pruning} of the baseline's multiply-adds from the blocks that are left"
    yield _stage(f"{folder}/prune", what, None, f"{folder}/pruned.pth")
    yield from _heal(folder, settings.align.after_pruning, gone, gone, settings, estimate)


def _heal(folder: str, align: AlignSettings, gone: int, after: int, settings: RunSettings, estimate: Estimate) -> Iterator[Stage]:
    """Align, merge, measure."""
    if align.heals:
        start = [] if align.init == "none" else [f"{align.init} head start on {align.init_windows} windows"]
        batches = estimate.batches(align)
        train = [] if align.heal == "none" else [f"{align.epochs} epochs of {batches} batches of {align.batch_size} windows, by {align.heal}"]
        yield _stage(f"{folder}/align", ", then ".join(start + train), estimate.aligned(align, after - gone), f"{folder}/aligned.pth")
        if align.heal == "lora":
            yield _stage(f"{folder}/merge", f"fold LoRA into the weights, compare on {WINDOWS} windows", estimate.merged(after),
                         f"{folder}/merged.pth")
    yield _stage(f"{folder}/heldout", f"evaluate on {_videos(estimate, HELDOUT)}, time one window", estimate.measured(after))


def _videos(estimate: Estimate, split: str) -> str:
    """A split in words."""
    kind = {HELDOUT: "held-out"}.get(split, split)
    return f"{estimate.sizes[split].videos} {kind} videos"


def _stage(name: str, what: str, seconds: Seconds | None, *writes: str) -> Stage:
    return Stage(name, what, (*writes, f"{name}.json"), seconds)
