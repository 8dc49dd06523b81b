"""``run``: the stage commands in a row (Progressive Block Drop), resumable after every stage."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.distributed import only_first
from tadshrink.files import copy_file, write_json
from tadshrink.models.units import listed, units
from tadshrink.reporting import SILENT, Reporter
from tadshrink.run_inputs import RunInputs, open_inputs
from tadshrink.run_settings import RunSettings
from tadshrink.run_steps import RunSteps
from tadshrink.schedules import SCHEDULES
from tadshrink.stages.common import DatasetChoice
from tadshrink.stopping import StopRule
from tadshrink.work_dir import RESULT, WorkDir

BASELINE = "baseline/model.pth"


@dataclass(frozen=True)
class RunResult:
    """Baseline, every step, and the final model; plain data as in the ``--json`` contract."""

    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return self.data


def run(checkpoint: Path | ModelFile | None, dataset: DatasetChoice, work_dir: Path, settings: RunSettings | None = None,
        fresh: bool = False, device: str | None = None, reporter: Reporter = SILENT) -> RunResult:
    """Compress a detector: (select, drop, align, merge) until the target is met or accuracy does not come back.

    The same call continues an interrupted run; its result is the same, bit for bit. Selection and the stop rule see the
    held-out part of the training split; the test split is evaluated once, at the end. Every process that torchrun started calls
    this: they select and align together, and the first one does the rest.

    Raises:
        UserError: bad input, or a work dir of a run with other inputs or settings.
    """
    settings = settings or RunSettings()
    inputs = open_inputs(checkpoint, dataset, settings, device, reporter)
    reporter.note(f"target {settings.target}: {inputs.budget.reason}")
    work = WorkDir(work_dir)
    work.check_spares(inputs.baseline.path, fresh)
    with ExitStack() as held:
        # All are told where it is another's.
        only_first(lambda: held.enter_context(work.locked()))
        if only_first(lambda: _begin(work, inputs, settings, fresh)):
            reporter.note(f"going on with the run in {work_dir}")
        result = _Run(work, inputs, settings, device, reporter).all()
        only_first(lambda: write_json(work.file(RESULT), result))
    return RunResult(result)


def _begin(work: WorkDir, inputs: RunInputs, settings: RunSettings, fresh: bool) -> bool:
    """Make the work dir ready; whether an earlier run is continued."""
    continued = work.begin(inputs.plan(settings), fresh)
    if not (work.path / BASELINE).exists():
        save_checkpoint(work.file(BASELINE), inputs.baseline.checkpoint)
    return continued


class _Run:
    """A run under way: which step comes next, and when it ends."""

    def __init__(self, work: WorkDir, inputs: RunInputs, settings: RunSettings, device: str | None, reporter: Reporter) -> None:
        self.work, self.settings, self.baseline, self.budget = work, settings, inputs.baseline, inputs.budget
        self.rule = StopRule(self.budget, settings)
        self.steps = RunSteps(work, inputs, settings, device, reporter)

    def all(self) -> dict[str, Any]:
        before = self.steps.measure("baseline/heldout", self.work.path / BASELINE)
        steps, good, stopped = self._compressed(before)
        final = self.work.file("final/model.pth")
        only_first(lambda: copy_file(good, final))
        last = next((step for step in reversed(steps) if step["kept"]), before)
        tests = {name: self.steps.test(name, path) for name, path in (("baseline", self.work.path / BASELINE), ("final", final))}
        shown = ("macs", "params", "latency_ms", "speedup", "checksum", "blocks", "heldout")
        return {"baseline": {**{key: before[key] for key in shown}, "test": tests["baseline"]},
                "final": {**{key: last[key] for key in shown}, "test": tests["final"]},
                "steps": steps, "stopped_because": stopped, "output": str(final), "checksum": last["checksum"],
                "work_dir": str(self.work.path)}

    def _compressed(self, before: dict[str, Any]) -> tuple[list[dict[str, Any]], Path, str]:
        """Every step done, the last good model, and the sentence that says why it ended there and what was kept."""
        steps, stopped = self._drops(before)
        kept = [step for step in steps if step["kept"]]
        gone = [unit for step in kept for unit in listed(step["dropped"])]
        share = 0.0
        if self.settings.with_channel_pruning:
            step = self.steps.prune(len(steps) + 1, self._good(kept), kept[-1] if kept else before)
            fallen = self.rule.fallen([], step, before)
            step["kept"] = fallen is None
            # What drops alone did not reach, pruning may.
            stopped = f"{stopped}; {fallen}" if fallen else self.rule.fast_enough(step) or stopped
            share = 0.0 if fallen else step["pruned"]
            steps, kept = [*steps, step], kept if fallen else [*kept, step]
        return steps, self._good(kept), self.rule.sentence(stopped, gone, share)

    def _good(self, kept: list[dict[str, Any]]) -> Path:
        return Path(kept[-1]["path"]) if kept else self.work.path / BASELINE

    def _drops(self, before: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """Every drop done, and why there were no more."""
        steps: list[dict[str, Any]] = []
        stopped = self.rule.fast_enough(before)
        planned = [] if stopped else SCHEDULES[self.settings.schedule](self._count(before), self.budget.count, self.settings.align)
        for number, plan in enumerate(planned, 1):
            step, dropped = self.steps.drop(number, plan, self._good(steps))
            steps.append(step)
            fallen = self.rule.fallen(dropped, step, before)
            step["kept"] = fallen is None
            if stopped := fallen or self.rule.fast_enough(step):
                break
        return steps, stopped or self.rule.exhausted()

    def _count(self, before: dict[str, Any]) -> int:
        """How many units are to go. How many a latency takes is measured where steps depend on it; what goes does not matter for that."""
        settings = self.settings
        if self.budget.latency_ms is None or (settings.schedule == "progressive" and not settings.align.varies):
            return self.budget.count
        return self.work.stage("baseline/count", lambda: {"count": self._count_for(self.budget.latency_ms)})["count"]

    def _count_for(self, limit: float) -> int:
        smaller = copy.deepcopy(self.baseline.detector)
        for count, unit in enumerate(units(smaller.blocks.left, self.settings.unit)[:-1], 1):
            smaller.blocks.drop(unit)
            if self.steps.latency(replace(self.baseline, detector=smaller))["latency_ms"] <= limit:
                return count
        return self.budget.count
