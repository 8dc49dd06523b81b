"""``eval``: mAP of a checkpoint on a split."""

from __future__ import annotations

from pathlib import Path

from tadshrink.data.datasets import Dataset
from tadshrink.data.video import FrameStore
from tadshrink.evaluation.inference import detect_videos, ground_truth, split_videos
from tadshrink.evaluation.mean_ap import MapResult, mean_average_precision
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, open_dataset, open_detector
from tadshrink.stages.inputs import check_splits


def evaluate(checkpoint: Path, dataset: DatasetChoice, split: str = "testing", batch_size: int = 8, device: str | None = None,
             reporter: Reporter = SILENT) -> MapResult:
    """mAP of a checkpoint on a split, over tIoU 0.3 to 0.7, in percent.

    Raises:
        UserError: unreadable input, or a split without a single action.
    """
    opened = open_detector(checkpoint, device, reporter)
    data = open_dataset(dataset, opened.detector.config)
    check_splits(data, [split])
    store = FrameStore(data.config.frame_size)
    return evaluate_detector(opened, data, split, store, batch_size, reporter)


def evaluate_detector(opened: Opened, dataset: Dataset, split: str, store: FrameStore, batch_size: int = 8,
                      reporter: Reporter = SILENT) -> MapResult:
    """:func:`evaluate` for a detector that is open already; ``store`` keeps decoded frames between calls."""
    found = detect_videos(opened.detector, split_videos(dataset, split), store, opened.compute, batch_size, f"evaluate {split}", reporter)
    return mean_average_precision(ground_truth(dataset, split), found, list(dataset.classes))
