"""What the steps of a run do: select and drop, or prune; then align, merge and measure. Each stage is skipped where it is done."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from tadshrink.compress.prune_settings import PruneSettings
from tadshrink.compress.pruning import prunable
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.target import parse_share
from tadshrink.data.datasets import HELDOUT
from tadshrink.data.sources import open_source
from tadshrink.errors import UserError
from tadshrink.models.units import Unit
from tadshrink.profiling.latency import measure_pair
from tadshrink.profiling.macs import detector_macs, parameters
from tadshrink.profiling.running import AS_USUAL
from tadshrink.profiling.windows import example_window
from tadshrink.reporting import SILENT, Reporter
from tadshrink.run_inputs import RunInputs
from tadshrink.run_settings import RunSettings
from tadshrink.schedules import Step
from tadshrink.stages.align import align_opened
from tadshrink.stages.common import Opened, open_detector
from tadshrink.stages.drop import drop
from tadshrink.stages.evaluate import evaluate_detector
from tadshrink.stages.merge import merge
from tadshrink.stages.prune import prune_opened
from tadshrink.stages.select import select_opened
from tadshrink.work_dir import WorkDir


class RunSteps:
    """The steps of one run, and what they share. What each gives is as in the ``--json`` contract of ``run``."""

    def __init__(self, work: WorkDir, inputs: RunInputs, settings: RunSettings, device: str | None, reporter: Reporter) -> None:
        self.work, self.settings, self.device, self.reporter = work, settings, device, reporter
        self.baseline, self.choice, self.data = inputs.baseline, inputs.choice, inputs.data
        self.macs = {self.baseline.checksum: inputs.macs.total}
        self.source = open_source(self.data, self.baseline.detector.config.sampling, reporter)

    def drop(self, number: int, plan: Step, parent: Path) -> tuple[dict[str, Any], list[Unit]]:
        """Select and drop, then :meth:`_finish`. Each is skipped when an earlier call has done it. Also, what was dropped."""
        folder, quiet = f"step-{number}", _Labelled(self.reporter, f"drop {number}")
        selected, dropped = (self.work.file(f"{folder}/{name}.pth") for name in ("selected", "dropped"))
        stages = {"select": self.work.stage(f"{folder}/select", partial(self._select, plan, parent, selected, quiet), shared=True),
                  "drop": self.work.stage(f"{folder}/drop", lambda: drop(selected, dropped, **_how(plan)).to_json())}
        now = stages["drop"]["now"]
        return {"dropped": now[0] if len(now) == 1 else now, **self._finish(folder, plan.align, parent, dropped, stages, quiet)}, now

    def prune(self, number: int, parent: Path, before: dict[str, Any]) -> dict[str, Any]:
        """Prune what the drops have left, then :meth:`_finish`."""
        folder, quiet, base = f"step-{number}", _Labelled(self.reporter, "pruning"), self.macs[self.baseline.checksum]
        share = parse_share(self.settings.with_channel_pruning or "", "--with-channel-pruning") * base / before["macs"]
        pruned = self.work.file(f"{folder}/pruned.pth")
        stages = {"prune": self.work.stage(f"{folder}/prune", lambda: self._prune(parent, share, pruned, quiet))}
        finished = self._finish(folder, self.settings.align.after_pruning, parent, pruned, stages, quiet)
        return {"dropped": [], "pruned": (before["macs"] - finished["macs"]) / base, **finished}

    def measure(self, name: str, path: Path, reporter: Reporter | None = None) -> dict[str, Any]:
        """MACs, parameters, latency (in turn with the baseline, so that their ratio means something), held-out mAP."""
        def work() -> dict[str, Any]:
            opened = self._open(path)
            pair = self.latency(opened)
            heldout = evaluate_detector(opened, self.data, HELDOUT, self.source, reporter=reporter or self.reporter)
            return {"macs": self._macs(opened), "params": parameters(opened.detector), **pair, "checksum": opened.checksum,
                    "blocks": len(opened.detector.blocks.indices), "heldout": heldout.to_json()}

        return self.work.stage(name, work)

    def latency(self, opened: Opened) -> dict[str, float]:
        """Milliseconds of a window, and how many times as fast as the baseline, measured in turn with it."""
        inputs, masks = (tensor.to(opened.compute.device) for tensor in example_window(opened.detector.config))
        with torch.inference_mode(), opened.compute.autocast():
            pair = measure_pair(lambda: self.baseline.detector(inputs, masks), lambda: opened.detector(inputs, masks),
                                AS_USUAL.warmup, self.settings.latency_runs, opened.compute.device)
        return {"latency_ms": pair.b.median, "speedup": pair.speedup.median}

    def test(self, name: str, path: Path) -> dict[str, Any]:
        """Accuracy on the test videos."""
        labelled = _Labelled(self.reporter, name)

        def work() -> dict[str, Any]:
            return evaluate_detector(self._open(path), self.data, "test", self.source, reporter=labelled).to_json()

        return {key: value for key, value in self.work.stage(f"{name}/test", work).items() if key != "seconds"}

    def _prune(self, parent: Path, share: float, output: Path, reporter: Reporter) -> dict[str, Any]:
        """Take this share of a model's multiply-adds out of its blocks, or as much as there is: what is left by the drops was not known."""
        opened, select = self._open(parent), self.settings.select
        counted = detector_macs(opened.detector)
        most = sum(prunable(opened.detector, opened.checkpoint.state, counted).most.values()) / counted.total
        if not most:
            raise UserError("of the blocks that the drops left, nothing can be pruned", where=parent, fix="Run without --with-channel-pruning")
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
        stages["evaluate"] = measured = self.measure(f"{folder}/heldout", path, reporter)
        return {**measured, "path": str(path), "seconds": {name: stage["seconds"] for name, stage in stages.items()}}

    def _select(self, plan: Step, parent: Path, output: Path, reporter: Reporter) -> dict[str, Any]:
        settings = self.settings
        options = SelectOptions(**settings.select.model_dump(), unit=settings.unit, span=plan.span, top=plan.count)
        opened = self._open(parent)
        return select_opened(opened, self.data, self.choice, self.source, output, options, reporter=reporter).to_json()

    def _align(self, settings: AlignSettings, parent: Path, path: Path, output: Path, reporter: Reporter) -> dict[str, Any]:
        teacher = self.baseline if settings.teacher == "static" else self._open(parent)
        return align_opened(self._open(path), teacher, self.data, self.choice, self.source, output, settings, reporter).to_json()

    def _macs(self, opened: Opened) -> int:
        if opened.checksum not in self.macs:
            self.macs[opened.checksum] = detector_macs(opened.detector).total
        return self.macs[opened.checksum]

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
