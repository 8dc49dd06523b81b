"""``run``: the stage commands in a row (Progressive Block Drop), resumable after every stage."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.compress.prune_settings import PruneSettings
from tadshrink.compress.pruning import prunable
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.target import parse_share
from tadshrink.data.datasets import HELDOUT
from tadshrink.data.sources import open_source
from tadshrink.distributed import only_first
from tadshrink.files import copy_file, write_json
from tadshrink.models.units import Unit, listed, units
from tadshrink.profiling.latency import measure_pair
from tadshrink.profiling.macs import detector_macs, parameters
from tadshrink.profiling.running import AS_USUAL
from tadshrink.profiling.windows import example_window
from tadshrink.reporting import SILENT, Reporter
from tadshrink.run_inputs import RunInputs, open_inputs
from tadshrink.run_settings import RunSettings
from tadshrink.schedules import SCHEDULES, Step
from tadshrink.stages.align import align_opened
from tadshrink.stages.common import DatasetChoice, Opened, open_detector
from tadshrink.stages.drop import drop
from tadshrink.stages.evaluate import evaluate_detector
from tadshrink.stages.merge import merge
from tadshrink.stages.prune import prune_opened
from tadshrink.stages.select import select_opened
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
    """A run under way: what all its stages share."""

    def __init__(self, work: WorkDir, inputs: RunInputs, settings: RunSettings, device: str | None, reporter: Reporter) -> None:
        self.work, self.settings, self.device, self.reporter = work, settings, device, reporter
        self.baseline, self.choice, self.data, self.budget = inputs.baseline, inputs.choice, inputs.data, inputs.budget
        self.rule = StopRule(self.budget, settings)
        self.macs = {self.baseline.checksum: inputs.macs.total}
        self.source = open_source(self.data, self.baseline.detector.config.sampling, reporter)

    def all(self) -> dict[str, Any]:
        before = self._measure("baseline/heldout", self.work.path / BASELINE)
        steps, good, stopped = self._compressed(before)
        final = self.work.file("final/model.pth")
        only_first(lambda: copy_file(good, final))
        last = next((step for step in reversed(steps) if step["kept"]), before)
        tests = {name: self._test(name, path) for name, path in (("baseline", self.work.path / BASELINE), ("final", final))}
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
            step = self._pruning(len(steps) + 1, self._good(kept), kept[-1] if kept else before)
            fallen = self.rule.fallen([], step, before)
            step["kept"] = fallen is None
            stopped = f"{stopped}; {fallen}" if fallen else stopped
            share = 0.0 if fallen else step["pruned"]
            # What drops alone did not reach, pruning may.
            stopped = stopped if fallen else self.rule.fast_enough(step) or stopped
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
            step, dropped = self._step(number, plan, self._good(steps))
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
            if self._latency(replace(self.baseline, detector=smaller))["latency_ms"] <= limit:
                return count
        return self.budget.count

    def _step(self, number: int, plan: Step, parent: Path) -> tuple[dict[str, Any], list[Unit]]:
        """Select and drop, then :meth:`_finish`. Each is skipped when an earlier call has done it. Also, what was dropped."""
        folder, quiet = f"step-{number}", _Labelled(self.reporter, f"drop {number}")
        selected, dropped = (self.work.file(f"{folder}/{name}.pth") for name in ("selected", "dropped"))
        stages = {"select": self.work.stage(f"{folder}/select", partial(self._select, plan, parent, selected, quiet), shared=True),
                  "drop": self.work.stage(f"{folder}/drop", lambda: drop(selected, dropped, **_how(plan)).to_json())}
        now = stages["drop"]["now"]
        return {"dropped": now[0] if len(now) == 1 else now, **self._finish(folder, plan.align, parent, dropped, stages, quiet)}, now

    def _pruning(self, number: int, parent: Path, before: dict[str, Any]) -> dict[str, Any]:
        """Prune what the drops have left, then :meth:`_finish`."""
        folder, quiet, base = f"step-{number}", _Labelled(self.reporter, "pruning"), self.macs[self.baseline.checksum]
        share = parse_share(self.settings.with_channel_pruning or "", "--with-channel-pruning") * base / before["macs"]
        pruned = self.work.file(f"{folder}/pruned.pth")
        stages = {"prune": self.work.stage(f"{folder}/prune", lambda: self._prune(parent, share, pruned, quiet))}
        finished = self._finish(folder, self.settings.align.after_pruning, parent, pruned, stages, quiet)
        return {"dropped": [], "pruned": (before["macs"] - finished["macs"]) / base, **finished}

    def _prune(self, parent: Path, share: float, output: Path, reporter: Reporter) -> dict[str, Any]:
        """Take this share of a model's multiply-adds out of its blocks, or as much as there is: what is left by the drops was not known."""
        opened, select = self._open(parent), self.settings.select
        counted = detector_macs(opened.detector)
        most = sum(prunable(opened.detector, opened.checkpoint.state, counted).most.values()) / counted.total
        if share > most:
            reporter.note(f"{share:.1%} of what is left cannot be pruned: {most:.1%} go, which is all that may")
        settings = PruneSettings(target=f"{100 * min(share, most):.6f}%", importance=self.settings.importance or "magnitude",
                                 seed=select.seed, batch_size=select.batch_size)
        return prune_opened(opened, self.data, output, settings, self.choice, reporter).to_json()

    def _finish(self, folder: str, settings: AlignSettings, parent: Path, path: Path, stages: dict[str, dict[str, Any]],
                reporter: Reporter) -> dict[str, Any]:
        """Align and merge a model that has just lost something, and measure it."""
        aligned, merged = (self.work.file(f"{folder}/{name}.pth") for name in ("aligned", "merged"))
        if settings.heals:
            stages["align"] = self.work.stage(f"{folder}/align", partial(self._align, settings, parent, path, aligned, reporter), shared=True)
            path = aligned
            if stages["align"]["lora"]:
                stages["merge"] = self.work.stage(f"{folder}/merge", lambda: merge(aligned, merged, self.choice, device=self.device).to_json())
                path = merged
        stages["evaluate"] = measured = self._measure(f"{folder}/heldout", path, reporter)
        return {**measured, "path": str(path), "seconds": {name: stage["seconds"] for name, stage in stages.items()}}

    def _select(self, plan: Step, parent: Path, output: Path, reporter: Reporter) -> dict[str, Any]:
        settings = self.settings
        options = SelectOptions(**settings.select.model_dump(), unit=settings.unit, span=plan.span, top=plan.count)
        opened = self._open(parent)
        return select_opened(opened, self.data, self.choice, self.source, output, options, reporter=reporter).to_json()

    def _align(self, settings: AlignSettings, parent: Path, path: Path, output: Path, reporter: Reporter) -> dict[str, Any]:
        teacher = self.baseline if settings.teacher == "static" else self._open(parent)
        return align_opened(self._open(path), teacher, self.data, self.choice, self.source, output, settings, reporter).to_json()

    def _measure(self, name: str, path: Path, reporter: Reporter | None = None) -> dict[str, Any]:
        """MACs, parameters, latency (in turn with the baseline, so that their ratio means something), held-out mAP."""
        def work() -> dict[str, Any]:
            opened = self._open(path)
            pair = self._latency(opened)
            heldout = evaluate_detector(opened, self.data, HELDOUT, self.source, reporter=reporter or self.reporter)
            return {"macs": self._macs(opened), "params": parameters(opened.detector), **pair, "checksum": opened.checksum,
                    "blocks": len(opened.detector.blocks.indices), "heldout": heldout.to_json()}

        return self.work.stage(name, work)

    def _macs(self, opened: Opened) -> int:
        if opened.checksum not in self.macs:
            self.macs[opened.checksum] = detector_macs(opened.detector).total
        return self.macs[opened.checksum]

    def _latency(self, opened: Opened) -> dict[str, float]:
        inputs, masks = (tensor.to(opened.compute.device) for tensor in example_window(opened.detector.config))
        with torch.inference_mode(), opened.compute.autocast():
            pair = measure_pair(lambda: self.baseline.detector(inputs, masks), lambda: opened.detector(inputs, masks),
                                AS_USUAL.warmup, self.settings.latency_runs, opened.compute.device)
        return {"latency_ms": pair.b.median, "speedup": pair.speedup.median}

    def _test(self, name: str, path: Path) -> dict[str, Any]:
        labelled = _Labelled(self.reporter, name)

        def work() -> dict[str, Any]:
            return evaluate_detector(self._open(path), self.data, "test", self.source, reporter=labelled).to_json()

        return {key: value for key, value in self.work.stage(f"{name}/test", work).items() if key != "seconds"}

    def _open(self, path: Path) -> Opened:
        return open_detector(path, self.device, SILENT)


def _how(plan: Step) -> dict[str, int]:
    """What to drop of the ranking."""
    return {"count": plan.count} if plan.span == 1 else {"span": plan.span}


class _Labelled(Reporter):
    """Passes on progress with a prefix that says which part of the run it belongs to."""

    def __init__(self, inner: Reporter, prefix: str) -> None:
        self.inner, self.prefix = inner, prefix

    def note(self, text: str) -> None:
        self.inner.note(f"{self.prefix}: {text}")

    def track(self, description: str, total: int):  # type: ignore[no-untyped-def]
        return self.inner.track(f"{self.prefix}: {description}", total)
