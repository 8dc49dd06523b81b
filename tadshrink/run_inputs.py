"""Everything that a run starts from, opened and checked before anything is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.format import trained_here
from tadshrink.checkpoint.opening import ModelFile, check_merged
from tadshrink.compress.pruning import check_prunable, prunable
from tadshrink.compress.student import check_pruned, check_settings
from tadshrink.compress.target import DropBudget, parse_share, parse_target, plan_drops
from tadshrink.data.datasets import HELDOUT, Dataset, read_dataset_config
from tadshrink.data.synthetic import make_synthetic
from tadshrink.distributed import only_first, start
from tadshrink.errors import UserError, check_unused
from tadshrink.models.units import units
from tadshrink.profiling.macs import MacsReport, detector_macs
from tadshrink.reporting import Reporter
from tadshrink.run_settings import RunSettings
from tadshrink.stages.common import DatasetChoice, Opened, fitted, open_detector
from tadshrink.stages.inputs import check_splits, data_state

#: The dataset for which the package holds a trained baseline, and can make the data.
BUILTIN = "synthetic"
#: What a run trains on, steers by, and ends with.
SPLITS = ("train", HELDOUT, "test")


@dataclass(frozen=True)
class RunModel:
    """The model to compress, how many units may go, and what it costs."""

    baseline: Opened
    budget: DropBudget
    macs: MacsReport


@dataclass(frozen=True)
class RunInputs(RunModel):
    """The same, with the data."""

    choice: DatasetChoice
    data: Dataset

    def plan(self, settings: RunSettings) -> dict[str, Any]:
        """All that the result depends on, as JSON: a run goes on only while none of it changes."""
        model, compute = self.baseline.checkpoint, self.baseline.compute
        plan = {"baseline": self.baseline.checksum[:16], "architecture": model.architecture, "dropped": model.dropped,
                **self.choice.arguments(), "data": data_state(self.data), "settings": settings.model_dump(mode="json"),
                "device": f"{compute.device} {compute.dtype_name}"}
        return json.loads(json.dumps(plan))


def open_inputs(checkpoint: Path | ModelFile | None, choice: DatasetChoice, settings: RunSettings, device: str | None,
                reporter: Reporter) -> RunInputs:
    """Open the model and the data. The built-in dataset is made if it is absent.

    Raises:
        UserError: whatever of this would stop the run later.
    """
    model = open_baseline(checkpoint, choice, settings, device, reporter)
    only_first(lambda: prepare_data(choice, reporter))
    return with_data(model, choice, reporter)


def open_baseline(checkpoint: Path | ModelFile | None, choice: DatasetChoice, settings: RunSettings, device: str | None,
                  reporter: Reporter) -> RunModel:
    """Open the model, and find out how many of its units may go.

    Raises:
        UserError: an unreadable checkpoint, LoRA that is not merged yet, or settings that it does not take.
    """
    target = parse_target(settings.target)
    source = checkpoint or builtin_baseline(choice)
    baseline = open_detector(source, device, reporter)
    check_merged(baseline.checkpoint, source)
    macs = detector_macs(baseline.detector)
    budget = plan_drops(target, macs, settings.at_least, settings.unit)
    start(baseline.compute.device)
    check_settings(baseline.detector, settings.align)
    _check_pruning(baseline, settings, budget, macs)
    return RunModel(baseline, budget, macs)


def with_data(model: RunModel, choice: DatasetChoice, reporter: Reporter) -> RunInputs:
    """Open the data, for a model that is open already.

    Raises:
        UserError: the data cannot be used, or is not for this model.
    """
    baseline, data = fitted(model.baseline, choice.load(reporter), reporter)
    check_splits(data, SPLITS)
    if not trained_here(baseline.checkpoint.history):
        reporter.note("whether this model was trained on the held-out videos is not known; if so, they show too little of what a drop costs")
    return RunInputs(baseline, model.budget, model.macs, choice, data)


def _check_pruning(baseline: Opened, settings: RunSettings, budget: DropBudget, macs: MacsReport) -> None:
    """Refuse a share that the blocks that will be left do not have, taken as alike; a latency may leave any number of them."""
    if settings.with_channel_pruning is None:
        return check_unused({"--importance": settings.importance}, "without --with-channel-pruning", fix="Give both, or neither")
    share = parse_share(settings.with_channel_pruning, "--with-channel-pruning")
    detector = baseline.detector
    check_prunable(detector, baseline.path)
    there = len(units(detector.blocks.left, settings.unit))
    left = 1 - (budget.count / there if budget.latency_ms is None else 0)
    there_is = prunable(detector, baseline.checkpoint.state, macs)
    # Of a block both halves go, of a half that is dropped the other one stays.
    most = sum(value * (left if settings.unit in ("block", half) else 1) for half, value in there_is.most.items()) / macs.total
    if share > most:
        raise UserError(f"--with-channel-pruning {settings.with_channel_pruning}: about {most:.1%} of the MACs can be pruned from the blocks "
                        "that will be left", fix="Lower it, or --target")
    if share < there_is.least / 2 / macs.total:
        raise UserError(f"--with-channel-pruning {settings.with_channel_pruning}: the least that can go are "
                        f"{there_is.least / macs.total:.3%} of the MACs", fix="Raise it")
    check_pruned(detector, settings.align)


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
    if folder := folder_to_make(dataset):
        reporter.note(f"making the synthetic dataset in {folder}")
        make_synthetic(folder, reporter=reporter)


def folder_to_make(dataset: DatasetChoice) -> Path | None:
    """Where the built-in dataset is to be made; ``None`` where it is there, or for another dataset."""
    if dataset.name != BUILTIN:
        return None
    config, folder = read_dataset_config(dataset.name, dataset.root)
    return None if (folder / config.annotations).exists() else folder
