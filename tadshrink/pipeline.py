"""``run``: the stage commands in a row (Progressive Block Drop), resumable after every stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from tadshrink.checkpoint.format import digest
from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.compress.alignment import AlignSettings
from tadshrink.compress.target import DropBudget, parse_target, plan_drops
from tadshrink.data.datasets import HELDOUT, Dataset, read_dataset_config
from tadshrink.data.synthetic import make_synthetic
from tadshrink.data.video import FrameStore
from tadshrink.errors import UserError
from tadshrink.files import atomic_path, write_json
from tadshrink.profiling.latency import measure_pair
from tadshrink.profiling.macs import MacsReport, count_macs, parameters
from tadshrink.profiling.profile import example_window
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.align import align_opened
from tadshrink.stages.common import DatasetChoice, Opened, open_dataset, open_detector
from tadshrink.stages.drop import drop
from tadshrink.stages.evaluate import evaluate_detector
from tadshrink.stages.merge import merge
from tadshrink.stages.select import select_opened
from tadshrink.work_dir import WorkDir

#: The dataset for which the package holds a trained baseline, and can make the data.
BUILTIN = "synthetic"
BASELINE = "baseline/model.pth"


class RunSettings(BaseModel):
    """Everything that decides the result of a run, beside its inputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    target: str = "25%"
    at_least: bool = False
    metric: str = "map"
    #: Average mAP, in points, that an aligned model may lose on the held-out videos.
    tolerance: float = Field(2.0, ge=0)
    #: False drops without alignment: the control that shows what alignment is worth.
    heal: bool = True
    align: AlignSettings = AlignSettings()
    latency_runs: int = Field(20, ge=1)


@dataclass(frozen=True)
class RunResult:
    """Baseline, every step, and the final model; plain data as in the ``--json`` contract."""

    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return self.data


def run(checkpoint: Path | None, dataset: DatasetChoice, work_dir: Path, settings: RunSettings | None = None, fresh: bool = False,
        device: str | None = None, reporter: Reporter = SILENT) -> RunResult:
    """Compress a detector: (select, drop, align, merge) until the target is met or accuracy does not come back.

    The same call continues an interrupted run; its result is the same, bit for bit. Selection and the stop rule see the
    held-out part of the training split; the test split is evaluated once, at the end.

    Raises:
        UserError: bad input, or a work dir of a run with other inputs or settings.
    """
    settings = settings or RunSettings()
    parse_target(settings.target)
    source = checkpoint or builtin_baseline(dataset)
    prepare_data(dataset, reporter)
    work = WorkDir(work_dir)
    plan = {"baseline": load_checkpoint(source).checksum, **dataset.arguments(), "annotations": _annotations_digest(dataset),
            "settings": settings.model_dump()}
    if work.begin(json.loads(json.dumps(plan)), fresh):
        reporter.note(f"going on with the run in {work_dir}")
    if not (work.path / BASELINE).exists():
        with atomic_path(work.file(BASELINE)) as temporary:
            temporary.write_bytes(source.read_bytes())
    result = _Run(work, dataset, settings, device, reporter).all()
    write_json(work.file("result.json"), result)
    return RunResult(result)


class _Run:
    """A run under way: what all its stages share."""

    def __init__(self, work: WorkDir, choice: DatasetChoice, settings: RunSettings, device: str | None, reporter: Reporter) -> None:
        self.work, self.choice, self.settings, self.device, self.reporter = work, choice, settings, device, reporter
        self.baseline = self._open(work.path / BASELINE, reporter)
        self.data: Dataset = open_dataset(choice, self.baseline.detector.config)
        self.store = FrameStore(self.data.config.frame_size)
        report = _macs(self.baseline)
        self.budget: DropBudget = plan_drops(parse_target(settings.target), report, settings.at_least)
        reporter.note(f"target {settings.target}: {self.budget.reason}")

    def all(self) -> dict[str, Any]:
        before = self._measure("baseline/heldout", self.work.path / BASELINE)
        steps, good, stopped = self._steps(before)
        final = self.work.file("final/model.pth")
        with atomic_path(final) as temporary:
            temporary.write_bytes(good.read_bytes())
        last = next((step for step in reversed(steps) if step["kept"]), before)
        tests = {name: self._test(name, path) for name, path in (("baseline", self.work.path / BASELINE), ("final", final))}
        shown = ("macs", "params", "latency_ms", "speedup", "checksum", "blocks", "heldout")
        return {"baseline": {**{key: before[key] for key in shown}, "test": tests["baseline"]},
                "final": {**{key: last[key] for key in shown}, "test": tests["final"]},
                "steps": steps, "stopped_because": stopped, "output": str(final), "checksum": last["checksum"],
                "work_dir": str(self.work.path)}

    def _steps(self, before: dict[str, Any]) -> tuple[list[dict[str, Any]], Path, str]:
        """Every step done, the last good model, and the sentence that says why it ended there."""
        floor = before["heldout"]["average_map"] - self.settings.tolerance
        good, steps = self.work.path / BASELINE, []
        limit = self.budget.latency_ms
        if limit is not None and before["latency_ms"] <= limit:
            return steps, good, f"the baseline already takes only {before['latency_ms']:.1f} ms"
        for number in range(1, self.budget.count + 1):
            step = self._step(number, good)
            step["kept"] = not self.settings.heal or step["heldout"]["average_map"] >= floor
            steps.append(step)
            if not step["kept"]:
                reached, wanted = step["heldout"]["average_map"], before["heldout"]["average_map"]
                return steps, good, (f"after drop {number} the held-out average mAP stays at {reached:.2f}, more than "
                                     f"{self.settings.tolerance:g} below the baseline's {wanted:.2f}; kept the model before it")
            good = Path(step["path"])
            if limit is not None and step["latency_ms"] <= limit:
                return steps, good, f"the latency target is met: {step['latency_ms']:.1f} ms"
        if limit is not None:
            return steps, good, f"the latency target of {limit:g} ms is out of reach: one block is left"
        return steps, good, f"the target is met: {self.budget.reason}"

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
            stages["merge"] = self.work.stage(f"{folder}/merge", lambda: merge(aligned, merged, device=self.device).to_json())
            path = merged
        measured = self._measure(f"{folder}/heldout", path, quiet)
        stages["evaluate"] = measured
        return {"dropped": stages["drop"]["dropped"][-1], **measured, "path": str(path),
                "seconds": {name: stage["seconds"] for name, stage in stages.items()}}

    def _select(self, parent: Path, output: Path, reporter: Reporter) -> dict[str, Any]:
        opened = self._open(parent)
        return select_opened(opened, self.data, self.choice, self.store, output, self.settings.metric, reporter=reporter).to_json()

    def _align(self, dropped: Path, output: Path, reporter: Reporter) -> dict[str, Any]:
        student, teacher = self._open(dropped), self._open(self.work.path / BASELINE)
        return align_opened(student, teacher, self.data, self.choice, self.store, output, self.settings.align, reporter).to_json()

    def _measure(self, name: str, path: Path, reporter: Reporter | None = None) -> dict[str, Any]:
        """MACs, parameters, latency (in turn with the baseline, so that their ratio means something), held-out mAP."""
        def work() -> dict[str, Any]:
            opened = self._open(path)
            pair = self._latency(opened)
            heldout = evaluate_detector(opened, self.data, HELDOUT, self.store, reporter=reporter or self.reporter)
            return {"macs": _macs(opened).total, "params": parameters(opened.detector), **pair, "checksum": opened.checksum,
                    "blocks": len(opened.detector.vit.block_indices), "heldout": heldout.to_json()}

        return self.work.stage(name, work)

    def _latency(self, opened: Opened) -> dict[str, float]:
        inputs, masks = (tensor.to(opened.compute.device) for tensor in example_window(opened.detector.config.sampling))
        with torch.inference_mode(), opened.compute.autocast():
            pair = measure_pair(lambda: self.baseline.detector(inputs, masks), lambda: opened.detector(inputs, masks), 3,
                                self.settings.latency_runs, opened.compute.device)
        return {"latency_ms": pair.b.median, "speedup": pair.speedup}

    def _test(self, name: str, path: Path) -> dict[str, Any]:
        labelled = _Labelled(self.reporter, name)

        def work() -> dict[str, Any]:
            return evaluate_detector(self._open(path), self.data, "test", self.store, reporter=labelled).to_json()

        return self.work.stage(f"{name}/test", work)

    def _open(self, path: Path, reporter: Reporter = SILENT) -> Opened:
        return open_detector(path, self.device, reporter)


class _Labelled(Reporter):
    """Passes on progress with a prefix that says which part of the run it belongs to."""

    def __init__(self, inner: Reporter, prefix: str) -> None:
        self.inner, self.prefix = inner, prefix

    def note(self, text: str) -> None:
        self.inner.note(f"{self.prefix}: {text}")

    def track(self, description: str, total: int):  # type: ignore[no-untyped-def]
        return self.inner.track(f"{self.prefix}: {description}", total)


def builtin_baseline(dataset: DatasetChoice) -> Path:
    """The baseline that comes with the package.

    Raises:
        UserError: there is none for this dataset.
    """
    if dataset.name != BUILTIN:
        raise UserError(f"no checkpoint given, and no baseline comes with the package for {dataset.name!r}",
                        fix=f"Train one first: tadshrink train --dataset {dataset.name} -o base.pth")
    return Path(str(package_files("tadshrink") / "assets" / "synthetic-nano.pth"))


def prepare_data(dataset: DatasetChoice, reporter: Reporter) -> None:
    """Make the built-in synthetic dataset if it is absent."""
    if dataset.name != BUILTIN:
        return
    config, folder = read_dataset_config(dataset.name, dataset.root)
    if not (folder / config.annotations).exists():
        reporter.note(f"making the synthetic dataset in {folder}")
        make_synthetic(folder, reporter=reporter)


def _annotations_digest(dataset: DatasetChoice) -> str:
    config, folder = read_dataset_config(dataset.name, dataset.root)
    try:
        return digest((folder / config.annotations).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError("no annotation file here", where=folder / config.annotations, fix="Correct the dataset YAML") from error


def _macs(opened: Opened) -> MacsReport:
    return count_macs(opened.detector, *example_window(opened.detector.config.sampling))
