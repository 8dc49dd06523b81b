"""``sfc eval``: accuracy of a recogniser on a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.recognition.accuracy import Accuracy
from tadshrink.recognition.records import SPLITS, TESTING, TRAINING
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.recognisers import RecognitionChoice, fitted, judge, open_model, views_of


@dataclass(frozen=True)
class Judged:
    """Accuracy with some views on a split."""

    views: str
    split: str
    accuracy: Accuracy

    def to_json(self) -> dict[str, Any]:
        return {"views": self.views, "split": self.split, **self.accuracy.to_json()}


def evaluate_recogniser(checkpoint: Path | ModelFile, dataset: RecognitionChoice, views: str = "10x3", split: str = TESTING,
                        batch_size: int = 16, device: str | None = None, reporter: Reporter = SILENT) -> Judged:
    """Classify every video of a split and compare with the labels.

    Args:
        views: clips x crops whose probabilities are averaged, such as "10x3"; or "sfc": one pass with the module.
        batch_size: clips at a time.

    Raises:
        UserError: unreadable input, other classes than the recogniser's, or "sfc" without a module.
    """
    opened = open_model(checkpoint, device, reporter)
    wanted = views_of(views, opened.recogniser, opened.path)
    data = dataset.load(reporter)
    records = data.split(split)
    opened = fitted(opened, data, reporter)
    if SPLITS.get(split) == TRAINING:
        reporter.note("these videos are for training: accuracy on them says little about others")
    return Judged(views, split, judge(opened, records, wanted, opened.source_once(reporter), batch_size, f"evaluate {split}", reporter))
