"""``prune``: take attention heads and hidden units out of a checkpoint's blocks."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tadshrink.checkpoint.opening import ModelFile, build_model, check_merged
from tadshrink.compress.benches import BENCHES
from tadshrink.compress.judges import Bench
from tadshrink.compress.one_pass import loss_gradients
from tadshrink.compress.prune_settings import PruneSettings
from tadshrink.compress.pruning import (
    Places,
    Scores,
    at_random,
    by_magnitude,
    by_taylor,
    check_prunable,
    choose,
    cut,
    kept_sizes,
    places,
    silenced,
    unit_costs,
)
from tadshrink.compress.target import parse_share
from tadshrink.data.datasets import HELDOUT, Dataset
from tadshrink.data.sources import open_source
from tadshrink.errors import UserError
from tadshrink.evaluation.inference import window_batches
from tadshrink.files import check_output
from tadshrink.models.body import narrowed
from tadshrink.models.detector import Detector
from tadshrink.models.units import Left
from tadshrink.profiling.macs import detector_macs, parameters
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, Written, fitted, open_detector, save_stage
from tadshrink.stages.inputs import check_splits
from tadshrink.stages.merge import sampled_difference

#: Largest change of any output that taking out what is silenced may cause, see :func:`~tadshrink.stages.merge.largest_difference`.
TOLERANCE = 1e-4
WINDOWS = 2


@dataclass(frozen=True)
class Pruned(Written):
    """A checkpoint with narrower blocks.

    Attributes:
        macs, params: before and after.
        kept: heads and hidden units of every block, by its original index; those of what had been dropped are as they were.
        left: the halves that there are of each block that there is.
        max_difference: to the model before with what went set to zero, see :data:`TOLERANCE`.
    """

    macs: tuple[int, int]
    params: tuple[int, int]
    kept: list[tuple[int, int]]
    left: Left
    max_difference: float

    @property
    def saved(self) -> float:
        """Share of the multiply-adds that is gone."""
        return 1 - self.macs[1] / self.macs[0]

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"saved": self.saved, "left": {str(index): list(halves) for index, halves in self.left.items()}}


def prune(checkpoint: Path | ModelFile, output: Path, settings: PruneSettings | None = None, dataset: DatasetChoice | None = None,
          device: str | None = None, reporter: Reporter = SILENT) -> Pruned:
    """Take the least important heads and hidden units of all blocks away, down to a target, and write what is left.

    What comes out is compared with the model before, with what went set to zero; it is healed by ``align``, as after a drop.

    Args:
        dataset: for the importance "taylor", which looks at its held-out videos.

    Raises:
        UserError: a target out of reach, LoRA that is not merged, no dataset where one is needed, or outputs that differ.
    """
    settings = settings or PruneSettings()
    check_output(output)
    opened = open_detector(checkpoint, device, reporter)
    data = None
    if settings.importance == "taylor":
        if dataset is None:
            raise UserError("importance taylor is measured on videos", fix="Give --dataset")
        opened, data = fitted(opened, dataset.load(reporter), reporter)
    return prune_opened(opened, data, output, settings, dataset, reporter)


def prune_opened(opened: Opened, data: Dataset | None, output: Path, settings: PruneSettings, dataset: DatasetChoice | None = None,
                 reporter: Reporter = SILENT) -> Pruned:
    """:func:`prune` for a detector and data that are open already."""
    check_merged(opened.checkpoint, opened.path)
    share = parse_share(settings.target)
    detector, state = opened.detector, opened.checkpoint.state
    check_prunable(detector, opened.path)
    where = places(detector, state)
    report = detector_macs(detector)
    scores = _scores(opened, data, where, settings, reporter)
    plan = choose(scores, unit_costs(detector, where, report), report.total, share * report.total)
    kept = kept_sizes(detector, plan)
    narrow = narrowed(detector.body, detector.config, kept)
    made = replace(opened.checkpoint, architecture=narrow.model_dump(mode="json"), state=cut(state, where, plan), ranking=None)
    pruned = build_model(made, opened.path)
    difference = _check(opened, pruned, silenced(state, where, plan), dataset, reporter)
    after = detector_macs(pruned).total
    arguments = {**(dataset.arguments() if dataset else {}), **settings.model_dump(mode="json")}
    written = save_stage(output, made, "prune", arguments, opened.checksum, {"macs": after, "max_difference": difference})
    return Pruned(written.output, written.checksum, (report.total, after), (parameters(detector), parameters(pruned)), list(kept),
                  detector.blocks.left, difference)


def _scores(opened: Opened, data: Dataset | None, where: dict[tuple[int, str], Places], settings: PruneSettings,
            reporter: Reporter) -> Scores:
    if settings.importance == "random":
        return at_random(where, settings.seed)
    state = opened.checkpoint.state
    if settings.importance == "magnitude":
        return by_magnitude(where, state)
    assert data is not None
    return by_taylor(where, _products(opened, data, [item.prefix + one.name for item in where.values() for one in item.cuts],
                                             settings.batch_size, reporter))


def _products(opened: Opened, data: Dataset, names: list[str], batch_size: int, reporter: Reporter) -> dict[str, Tensor]:
    """|weight x gradient of the loss| of weights, summed over the batches of the held-out videos."""
    check_splits(data, [HELDOUT])
    model = copy.deepcopy(opened.detector).eval().requires_grad_(False)
    source, kind = open_source(data, model.config.sampling), BENCHES[type(data)]
    bench = Bench(model, data, HELDOUT, kind.actions(data, HELDOUT, source), opened.compute)
    weights = {name: model.get_parameter(name) for name in names}
    sums = {name: torch.zeros_like(value) for name, value in weights.items()}
    for batch in window_batches(kind.videos(data, HELDOUT), source, opened.compute, batch_size, "importance", reporter):
        for (name, weight), gradient in zip(weights.items(), loss_gradients(bench, model, batch, [*weights.values()]), strict=True):
            sums[name] += (weight.detach() * gradient).abs()
    return {name: value.cpu() for name, value in sums.items()}


def _check(opened: Opened, pruned: Detector, silent: dict[str, Tensor], dataset: DatasetChoice | None, reporter: Reporter) -> float:
    """Largest difference of the outputs of the pruned model, and of the one before with what went set to zero."""
    before = build_model(replace(opened.checkpoint, state=silent), opened.path)
    difference, samples = sampled_difference(opened, before, pruned, WINDOWS, dataset)
    reporter.note(f"pruned on a copy; outputs differ from those with the same set to zero by {difference:.1e} of the largest (limit "
                  f"{TOLERANCE:g}) on {samples.text}")
    if not difference <= TOLERANCE:
        raise UserError(f"the pruned model's outputs differ by {difference:.2e}, above {TOLERANCE:g}: nothing was written",
                        where=opened.path, fix="Report this, with the checkpoint")
    return difference
