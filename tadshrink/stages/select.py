"""``select``: rank the blocks of a checkpoint by how well the model does without each."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.compress.selection import Ranking, check_metric, rank_blocks
from tadshrink.data.datasets import HELDOUT, Dataset
from tadshrink.data.sources import Source, open_source
from tadshrink.files import check_output
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, Written, open_pair, save_stage
from tadshrink.stages.inputs import check_files


@dataclass(frozen=True)
class Selected(Written):
    """A checkpoint that now holds a ranking of its blocks."""

    ranking: Ranking
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {"output": self.output, "checksum": self.checksum, **self.ranking.to_json(), "seconds": self.seconds}


def select(checkpoint: Path | ModelFile, dataset: DatasetChoice, output: Path, metric: str = "map", split: str = HELDOUT, batch_size: int = 8,
           device: str | None = None, reporter: Reporter = SILENT) -> Selected:
    """Score the model without each remaining block on ``split`` and store the ranking in a copy of the checkpoint."""
    check_output(output)
    check_metric(metric)
    opened, data = open_pair(checkpoint, dataset, device, reporter)
    check_files(data, split)
    source = open_source(data, opened.detector.config.sampling, reporter)
    return select_opened(opened, data, dataset, source, output, metric, split, batch_size, reporter)


def select_opened(opened: Opened, data: Dataset, dataset: DatasetChoice, source: Source, output: Path, metric: str = "map",
                  split: str = HELDOUT, batch_size: int = 8, reporter: Reporter = SILENT) -> Selected:
    """:func:`select` for a detector and data that are open already."""
    started = time.perf_counter()
    ranking = rank_blocks(opened.detector, data, split, metric, source, opened.compute, batch_size, reporter)
    seconds = time.perf_counter() - started
    ranked = replace(opened.checkpoint, ranking=ranking.to_json())
    arguments = {**dataset.arguments(), "metric": metric, "split": split}
    written = save_stage(output, ranked, "select", arguments, opened.checksum, {"best": ranking.candidates[0].block})
    return Selected(written.output, written.checksum, ranking, seconds)
