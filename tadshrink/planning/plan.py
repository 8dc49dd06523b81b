"""``run --dry-run``: what a run would do and about how long that takes. Nothing is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.compress.target import parse_share
from tadshrink.data.sources import VideoSource, open_source
from tadshrink.distributed import check_alone
from tadshrink.files import check_output, read_json
from tadshrink.models.units import NOUNS
from tadshrink.planning.counts import SplitSize, few_videos, split_sizes
from tadshrink.planning.estimate import Estimate, Seconds
from tadshrink.planning.quick import measure, measure_speed
from tadshrink.planning.speeds import Quick, Speed
from tadshrink.planning.stages import Stage, all_stages
from tadshrink.profiling.macs import parameters
from tadshrink.reporting import SILENT, Reporter
from tadshrink.run_inputs import RunInputs, RunModel, folder_to_make, open_baseline, with_data
from tadshrink.run_settings import RunSettings
from tadshrink.schedules import SCHEDULES
from tadshrink.stages.common import DatasetChoice
from tadshrink.work_dir import RESULT, WorkDir


@dataclass(frozen=True)
class Dropped:
    """What goes: so many units, why so many, in how many steps, and the multiply-adds of one window before and after drops and pruning.

    Attributes:
        macs_pruned: of ``macs_after``, as much is pruned from what the drops leave.
        guessed: the number was worked out from the latency that was measured, and the run finds out itself.
    """

    count: int
    unit: str
    reason: str
    steps: int
    macs_before: int
    macs_after: int
    macs_pruned: int
    guessed: bool

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"count": self.count, "unit": self.unit, "reason": self.reason, "steps": self.steps, "guessed": self.guessed,
                "macs": {"before": self.macs_before, "after": self.macs_after, "pruned": self.macs_pruned,
                         "share": self.macs_after / self.macs_before}}


@dataclass(frozen=True)
class RunPlan:
    """What a run would do.

    Attributes:
        to_make: where the built-in dataset would be rendered first; then splits, stages and times are not known.
        speed: milliseconds of one window before, and after as many drops as are planned.
        continues: an interrupted run is in the work dir, and the same.
    """

    model: dict[str, Any]
    dataset: str
    to_make: Path | None
    splits: dict[str, SplitSize]
    drops: Dropped
    speed: Speed
    stages: Sequence[Stage]
    quick: Quick | None
    settings: RunSettings
    work_dir: Path
    continues: bool

    @property
    def next(self) -> Stage | None:
        """Where the run would start or go on; ``None`` where nothing is left to do, or nothing is known."""
        return next((stage for stage in self.stages if not stage.done), None)

    @property
    def seconds(self) -> Seconds | None:
        """Of all that is left to do."""
        if self.quick is None:
            return None
        return sum((stage.seconds or Seconds() for stage in self.stages if not stage.done), Seconds())

    def to_json(self) -> dict[str, Any]:
        """As in the ``--json`` contract."""
        seconds = self.seconds
        return {"dataset": self.dataset, "to_make": None if self.to_make is None else str(self.to_make), "model": self.model,
                "splits": {name: size.to_json() for name, size in self.splits.items()}, "drops": self.drops.to_json(),
                "latency_ms": {"before": self.speed.before * 1000, "after": self.speed.after * 1000},
                "work_dir": str(self.work_dir), "continues": self.continues, "next": self.next and self.next.name,
                "stages": [stage.to_json() for stage in self.stages], "seconds": seconds and seconds.to_json(),
                "measured": self.quick and self.quick.to_json(), "settings": self.settings.model_dump(mode="json")}


def plan_run(checkpoint: Path | ModelFile | None, dataset: DatasetChoice, work_dir: Path, settings: RunSettings | None = None,
             fresh: bool = False, device: str | None = None, reporter: Reporter = SILENT) -> RunPlan:
    """What :func:`~tadshrink.pipeline.run` would do with the same arguments, with times from a quick measurement. Nothing is written.

    Raises:
        UserError: whatever would stop the run before its first stage; or several processes.
    """
    check_alone("a plan")
    settings = settings or RunSettings()
    check_output(work_dir / "run.json")
    model, work = open_baseline(checkpoint, dataset, settings, device, reporter), WorkDir(work_dir)
    work.check_spares(model.baseline.path, fresh)
    work.check_idle()
    if to_make := folder_to_make(dataset):
        work.check_is_runs()
        drops, speed = _drops(model, settings)
        return RunPlan(_model(model), dataset.name, to_make, {}, drops, speed, (), None, settings, work_dir, False)
    inputs = with_data(model, dataset, reporter)
    continues = work.goes_on(inputs.plan(settings), fresh)
    drops, speed = _drops(inputs, settings)
    source, few = open_source(inputs.data, inputs.baseline.detector.config.sampling), few_videos(inputs.data)
    splits = split_sizes(inputs.data, few, source)
    quick = measure(inputs, speed, few, source, settings, reporter)
    room = source.frames.cache.max_bytes if isinstance(source, VideoSource) else 0
    left = inputs.baseline.detector.blocks.left
    stages = _stages(inputs, settings, drops, Estimate(quick, splits, settings, left, room))
    if continues:
        stages = _of_ended(work_dir / RESULT, stages)
    done = [replace(stage, done=continues and (work_dir / f"{stage.name}.json").is_file()) for stage in stages]
    return RunPlan(_model(inputs), dataset.name, None, splits, drops, speed, done, quick, settings, work_dir, continues)


def _of_ended(result: Path, stages: Sequence[Stage]) -> list[Stage]:
    """Without the drops that a run, which has ended early, did not come to; pruning comes after the last one that it did."""
    if not result.is_file():
        return list(stages)
    steps = read_json(result)["steps"]
    drops = sum("pruned" not in step for step in steps)
    pruning = {stage.name.split("/")[0] for stage in stages if stage.name.endswith("/prune")}
    kept = []
    for stage in stages:
        folder, _, name = stage.name.partition("/")
        if folder in pruning and drops < len(steps):
            kept.append(replace(stage, name=f"step-{len(steps)}/{name}"))
        elif not folder.startswith("step-") or (folder not in pruning and int(folder.removeprefix("step-")) <= drops):
            kept.append(stage)
    return kept


def _model(model: RunModel) -> dict[str, Any]:
    opened = model.baseline
    return {"path": str(opened.path), "checksum": opened.checksum, "blocks": len(opened.detector.blocks.indices),
            "params": parameters(opened.detector), "device": str(opened.compute.device), "dtype": opened.compute.dtype_name}


def _drops(model: RunModel, settings: RunSettings) -> tuple[Dropped, Speed]:
    """How many units go, and how fast the model is then."""
    budget, kind = model.budget, settings.unit
    speed = measure_speed(model, kind, budget.count)
    count = budget.count
    if budget.latency_ms is not None:
        over = speed.before - budget.latency_ms / 1000
        count = min(budget.count, math.ceil(over / speed.unit) if speed.unit else budget.count) if over > 0 else 0
        speed = replace(speed, after=speed.before - count * speed.unit, gone=count)
    costs = model.macs.costs(kind)
    pruned = round(parse_share(settings.with_channel_pruning) * model.macs.total) if settings.with_channel_pruning else 0
    after = round(model.macs.total - count * sum(costs) / len(costs)) - pruned
    steps = len(SCHEDULES[settings.schedule](count, count, settings.align)) if count else 0
    return Dropped(count, NOUNS[kind], budget.reason, steps, model.macs.total, after, pruned, budget.latency_ms is not None), speed


def _stages(inputs: RunInputs, settings: RunSettings, drops: Dropped, estimate: Estimate) -> list[Stage]:
    steps = SCHEDULES[settings.schedule](drops.count, drops.count, settings.align) if drops.count else []
    counted = drops.guessed and (settings.schedule != "progressive" or settings.align.varies)
    return all_stages(settings, steps, counted, estimate)
