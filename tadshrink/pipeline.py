"""``run``: the stage commands in a row (Progressive Block Drop), resumable after every stage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.data.datasets import HELDOUT
from tadshrink.data.sources import open_source
from tadshrink.files import copy_file, write_json
from tadshrink.profiling.latency import measure_pair
from tadshrink.profiling.macs import count_macs, parameters
from tadshrink.profiling.profile import example_window
from tadshrink.reporting import SILENT, Reporter
from tadshrink.run_inputs import RunInputs, RunSettings, open_inputs
from tadshrink.stages.align import align_opened
from tadshrink.stages.common import DatasetChoice, Opened, open_detector
from tadshrink.stages.drop import drop
from tadshrink.stages.evaluate import evaluate_detector
from tadshrink.stages.merge import merge
from tadshrink.stages.select import select_opened
from tadshrink.work_dir import WorkDir

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
    held-out part of the training split; the test split is evaluated once, at the end.

    Raises:
        UserError: bad input, or a work dir of a run with other inputs or settings.
    """
    settings = settings or RunSettings()
    inputs = open_inputs(checkpoint, dataset, settings, device, reporter)
    reporter.note(f"target {settings.target}: {inputs.budget.reason}")
    work = WorkDir(work_dir)
    with work.locked():
        if work.begin(inputs.plan(settings), fresh):
            reporter.note(f"going on with the run in {work_dir}")
        if not (work.path / BASELINE).exists():
            save_checkpoint(work.file(BASELINE), inputs.baseline.checkpoint)
        result = _Run(work, inputs, settings, device, reporter).all()
        write_json(work.file("result.json"), result)
    return RunResult(result)


class _Run:
    """A run under way: what all its stages share."""

    def __init__(self, work: WorkDir, inputs: RunInputs, settings: RunSettings, device: str | None, reporter: Reporter) -> None:
        self.work, self.settings, self.device, self.reporter = work, settings, device, reporter
        self.baseline, self.choice, self.data, self.budget = inputs.baseline, inputs.choice, inputs.data, inputs.budget
        self.source = open_source(self.data, self.baseline.detector.config.sampling, reporter)

    def all(self) -> dict[str, Any]:
        before = self._measure("baseline/heldout", self.work.path / BASELINE)
        steps, good, stopped = self._steps(before)
        final = self.work.file("final/model.pth")
        copy_file(good, final)
        last = next((step for step in reversed(steps) if step["kept"]), before)
        tests = {name: self._test(name, path) for name, path in (("baseline", self.work.path / BASELINE), ("final", final))}
        shown = ("macs", "params", "latency_ms", "speedup", "checksum", "blocks", "heldout")
        return {"baseline": {**{key: before[key] for key in shown}, "test": tests["baseline"]},
                "final": {**{key: last[key] for key in shown}, "test": tests["final"]},
                "steps": steps, "stopped_because": stopped, "output": str(final), "checksum": last["checksum"],
                "work_dir": str(self.work.path)}

    def _steps(self, before: dict[str, Any]) -> tuple[list[dict[str, Any]], Path, str]:
        """Every step done, the last good model, and the sentence that says why it ended there."""
        good, steps = self.work.path / BASELINE, []
        stopped = self._fast_enough(before)
        while stopped is None and len(steps) < self.budget.count:
            step = self._step(len(steps) + 1, good)
            steps.append(step)
            stopped = self._fallen(step, before)
            step["kept"] = stopped is None
            if stopped is None:
                good, stopped = Path(step["path"]), self._fast_enough(step)
        return steps, good, stopped or self._exhausted()

    def _fast_enough(self, model: dict[str, Any]) -> str | None:
        limit = self.budget.latency_ms
        if limit is None or model["latency_ms"] > limit:
            return None
        return f"the target is met: a window takes {model['latency_ms']:.1f} ms with {model['blocks']} blocks"

    def _fallen(self, step: dict[str, Any], before: dict[str, Any]) -> str | None:
        reached, wanted = (model["heldout"]["average_map"] for model in (step, before))
        if not self.settings.heal or reached >= wanted - self.settings.tolerance:
            return None
        return (f"without block {step['dropped']} the held-out average mAP stays at {reached:.2f}, more than "
                f"{self.settings.tolerance:g} below the baseline's {wanted:.2f}: the model before that drop was kept")

    def _exhausted(self) -> str:
        if self.budget.latency_ms is not None:
            return f"the latency target of {self.budget.latency_ms:g} ms is out of reach: one block is left"
        return f"the target is met: {self.budget.reason}"

    def _step(self, number: int, parent: Path) -> dict[str, Any]:
        """Select, drop, align, merge; then measure. Each is skipped when an earlier call has done it."""
        folder = f"step-{number}"
        quiet = _Labelled(self.reporter, f"drop {number}")
        selected, dropped, aligned, merged = (self.work.file(f"{folder}/{name}.pth") for name in ("selected", "dropped", "aligned", "merged"))
        stages = {"select": self.work.stage(f"{folder}/select", partial(self._select, parent, selected, quiet)),
                  "drop": self.work.stage(f"{folder}/drop", lambda: drop(selected, dropped).to_json())}
        path = dropped
        if self.settings.heal:
            stages["align"] = self.work.stage(f"{folder}/align", partial(self._align, dropped, aligned, quiet))
            stages["merge"] = self.work.stage(f"{folder}/merge", lambda: merge(aligned, merged, self.choice, device=self.device).to_json())
            path = merged
        measured = self._measure(f"{folder}/heldout", path, quiet)
        stages["evaluate"] = measured
        return {"dropped": stages["drop"]["dropped"][-1], **measured, "path": str(path),
                "seconds": {name: stage["seconds"] for name, stage in stages.items()}}

    def _select(self, parent: Path, output: Path, reporter: Reporter) -> dict[str, Any]:
        opened = self._open(parent)
        return select_opened(opened, self.data, self.choice, self.source, output, self.settings.metric, reporter=reporter).to_json()

    def _align(self, dropped: Path, output: Path, reporter: Reporter) -> dict[str, Any]:
        student = self._open(dropped)
        return align_opened(student, self.baseline, self.data, self.choice, self.source, output, self.settings.align, reporter).to_json()

    def _measure(self, name: str, path: Path, reporter: Reporter | None = None) -> dict[str, Any]:
        """MACs, parameters, latency (in turn with the baseline, so that their ratio means something), held-out mAP."""
        def work() -> dict[str, Any]:
            opened = self._open(path)
            pair = self._latency(opened)
            heldout = evaluate_detector(opened, self.data, HELDOUT, self.source, reporter=reporter or self.reporter)
            macs = count_macs(opened.detector, *example_window(opened.detector.config))
            return {"macs": macs.total, "params": parameters(opened.detector), **pair, "checksum": opened.checksum,
                    "blocks": len(opened.detector.blocks.indices), "heldout": heldout.to_json()}

        return self.work.stage(name, work)

    def _latency(self, opened: Opened) -> dict[str, float]:
        inputs, masks = (tensor.to(opened.compute.device) for tensor in example_window(opened.detector.config))
        with torch.inference_mode(), opened.compute.autocast():
            pair = measure_pair(lambda: self.baseline.detector(inputs, masks), lambda: opened.detector(inputs, masks), 3,
                                self.settings.latency_runs, opened.compute.device)
        return {"latency_ms": pair.b.median, "speedup": pair.speedup}

    def _test(self, name: str, path: Path) -> dict[str, Any]:
        labelled = _Labelled(self.reporter, name)

        def work() -> dict[str, Any]:
            return evaluate_detector(self._open(path), self.data, "test", self.source, reporter=labelled).to_json()

        return {key: value for key, value in self.work.stage(f"{name}/test", work).items() if key != "seconds"}

    def _open(self, path: Path) -> Opened:
        return open_detector(path, self.device, SILENT)


class _Labelled(Reporter):
    """Passes on progress with a prefix that says which part of the run it belongs to."""

    def __init__(self, inner: Reporter, prefix: str) -> None:
        self.inner, self.prefix = inner, prefix

    def note(self, text: str) -> None:
        self.inner.note(f"{self.prefix}: {text}")

    def track(self, description: str, total: int):  # type: ignore[no-untyped-def]
        return self.inner.track(f"{self.prefix}: {description}", total)
