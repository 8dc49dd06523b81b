"""``eval``: mAP of a checkpoint on a split."""

from __future__ import annotations

from pathlib import Path

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.data.datasets import Dataset
from tadshrink.data.sources import Source, open_source
from tadshrink.evaluation.fusion import VideoScores, read_video_scores
from tadshrink.evaluation.inference import detect_videos, ground_truth, split_videos
from tadshrink.evaluation.mean_ap import MapResult, mean_average_precision
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, open_pair
from tadshrink.stages.inputs import check_splits


def evaluate(checkpoint: Path | ModelFile, dataset: DatasetChoice, split: str = "testing", batch_size: int = 8, device: str | None = None,
             reporter: Reporter = SILENT, class_scores: Path | None = None) -> MapResult:
    """mAP of a checkpoint on a split, over tIoU 0.3 to 0.7, in percent.

    Args:
        class_scores: file of a video-level classifier that names the proposals of a model of one class.

    Raises:
        UserError: unreadable input, or a split without a single action.
    """
    scores = None if class_scores is None else read_video_scores(class_scores)
    opened, data = open_pair(checkpoint, dataset, device, reporter, scores)
    check_splits(data, [split])
    if scores is not None:
        scores.require(record.name for record in data.split(split))
    source = open_source(data, opened.detector.config.sampling)
    return evaluate_detector(opened, data, split, source, batch_size, reporter, scores)


def evaluate_detector(opened: Opened, dataset: Dataset, split: str, source: Source, batch_size: int = 8,
                      reporter: Reporter = SILENT, scores: VideoScores | None = None) -> MapResult:
    """:func:`evaluate` for a detector that is open already; ``source`` keeps decoded frames between calls."""
    videos = split_videos(dataset, split)
    found = detect_videos(opened.detector, videos, source, opened.compute, batch_size, f"evaluate {split}", reporter, scores)
    return mean_average_precision(ground_truth(dataset, split), found, list(scores.classes if scores else dataset.classes))
