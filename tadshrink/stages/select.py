"""``select``: rank the units of a checkpoint by how well the model does without each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.compress.candidates import Ranking, kendall_tau
from tadshrink.compress.journal import Journal
from tadshrink.compress.select_settings import METRICS, NEED_ACTIONS, SelectOptions
from tadshrink.compress.selection import rank_units
from tadshrink.data.datasets import HELDOUT, Dataset
from tadshrink.data.sources import Source
from tadshrink.distributed import only_first, world
from tadshrink.errors import UserError
from tadshrink.files import UNFINISHED, check_output
from tadshrink.recognition.data import RecognitionDataset
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, Written, save_stage
from tadshrink.stages.sides import open_both, side_of


@dataclass(frozen=True)
class Selected(Written):
    """A checkpoint that now holds a ranking of its units.

    Attributes:
        others: rankings by other metrics, for comparison.
    """

    ranking: Ranking
    others: list[Ranking] = field(default_factory=list)

    def agreement(self) -> list[tuple[str, str, float | None]]:
        """Kendall's tau of every two rankings."""
        all_ = [self.ranking, *self.others]
        return [(first.metric, second.metric, kendall_tau(first.merits(), second.merits()))
                for place, first in enumerate(all_) for second in all_[place + 1 :]]

    def to_json(self) -> dict[str, Any]:
        basic = {"output": self.output, "checksum": self.checksum, **self.ranking.to_json(), "seconds": self.ranking.seconds}
        if not self.others:
            return basic
        others = {ranking.metric: {**ranking.to_json(), "seconds": ranking.seconds} for ranking in self.others}
        return basic | {"others": others, "kendall_tau": [list(row) for row in self.agreement()]}


def select(checkpoint: Path | ModelFile, dataset: DatasetChoice, output: Path, options: SelectOptions | None = None, split: str = HELDOUT,
           device: str | None = None, reporter: Reporter = SILENT) -> Selected:
    """Judge the model without each unit that is left on ``split`` and store the ranking in a copy of the checkpoint.

    What is known is kept beside the output until that is written, so that the same call goes on after an interruption.

    Raises:
        UserError: unreadable input, or a split that models are judged on.
    """
    check_output(output)
    opened, data = open_both(checkpoint, dataset, device, reporter)
    side = side_of(opened.checkpoint)
    if data.is_for_figures(split):
        raise UserError(f"split {split!r} is what models are judged on: after a selection by it, its accuracy proves nothing",
                        where=data.where, fix=f"Use --split {HELDOUT}")
    options = options or SelectOptions()
    side.check(data, [split], any(metric in NEED_ACTIONS for metric in (options.metric, *options.compare)))
    source = side.source(data, opened.detector.config, reporter)
    return select_opened(opened, data, dataset, source, output, options, split, reporter)


def select_opened(opened: Opened, data: Dataset | RecognitionDataset, dataset: DatasetChoice, source: Source, output: Path,
                  options: SelectOptions, split: str = HELDOUT, reporter: Reporter = SILENT) -> Selected:
    """:func:`select` for a detector and data that are open and checked already.

    Every process that torchrun started calls this. The first one writes.
    """
    def rank(options: SelectOptions, journal: Journal) -> Ranking:
        return rank_units(opened.detector, data, split, options, source, opened.compute, journal, reporter)

    model, compute = opened.checkpoint, opened.compute
    fixed = {"command": "select", "model": opened.checksum, "architecture": model.architecture, "dropped": model.dropped, "split": split,
             "data": side_of(model).state(data), "device": compute.kind}
    # In a race the others are not stopped: their agreement with the winner's metric is what one wants to know.
    runs = [options] + [options.model_copy(update={"metric": name, "race": False}) for name in options.compare if name != options.metric]
    journals = [Journal(_unfinished(output, run.metric), fixed | run.model_dump(exclude={"compare"}))
                for run in runs]
    ranking, *others = (rank(run, journal) for run, journal in zip(runs, journals, strict=True))
    if (ties := ranking.ties) > 1:
        reporter.note(f"{ties} candidates share the best score: the first of them in the model goes first")
    ranked = replace(opened.checkpoint, ranking=ranking.to_json())
    arguments = {**dataset.arguments(), "split": split, **options.model_dump(mode="json")}
    metrics = {"best": ranking.candidates[0].block}
    written = only_first(lambda: save_stage(output, ranked, "select", arguments, opened.checksum, metrics))
    if world().rank == 0:
        # Those of other metrics, too, which an earlier call may have left.
        for metric in METRICS:
            _unfinished(output, metric).unlink(missing_ok=True)
    return Selected(written.output, written.checksum, ranking, others)


def _unfinished(output: Path, metric: str) -> Path:
    """Where what was found by a metric is kept until the ranking is there."""
    return output.with_name(f"{output.name}.{metric}{UNFINISHED}")
