"""``eval``: figures of a checkpoint on a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tadshrink.checkpoint.opening import ModelFile, path_of
from tadshrink.data.datasets import Dataset
from tadshrink.data.sources import Source, open_source
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import VideoScores, read_video_scores
from tadshrink.evaluation.inference import detect_videos, ground_truth, split_videos
from tadshrink.evaluation.mean_ap import MapResult, mean_average_precision
from tadshrink.evaluation.results import write_results
from tadshrink.evaluation.rules import RULES, Rule
from tadshrink.evaluation.scoring import Score, score
from tadshrink.evaluation.tables import flatten_detections, number_videos
from tadshrink.files import check_output
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, fitted
from tadshrink.stages.inputs import check_splits
from tadshrink.stages.opening import open_model
from tadshrink.stages.score import Reference, regions_of, score_against, tell


def evaluate(checkpoint: Path | ModelFile, dataset: DatasetChoice, split: str = "testing", batch_size: int = 8, device: str | None = None,
             reporter: Reporter = SILENT, class_scores: Path | None = None, rule: Rule | None = None,
             thresholds: Sequence[float] | None = None, output: Path | None = None, compiled: bool = False) -> Score:
    """Detect on a split and score the detections.

    Args:
        checkpoint: or an ONNX file of ``export``.
        class_scores: file of a video-level classifier that names the proposals of a model of one class; default: the dataset's.
        rule, thresholds: of the comparison; default: the dataset's.
        output: JSON file for the detections that were scored.
        compiled: see :func:`~tadshrink.stages.opening.open_model`.

    Raises:
        UserError: unreadable input, or a split without a single action.
    """
    check_output(output, path_of(checkpoint), class_scores)
    given = None if class_scores is None else read_video_scores(class_scores)
    opened = open_model(checkpoint, device, reporter, compiled)
    data = dataset.load(reporter)
    scores = given or _dataset_scores(opened, data, reporter)
    opened, data = fitted(opened, data, reporter, scores)
    check_splits(data, [split])
    if scores is not None:
        scores.require(record.name for record in data.split(split))
    source = open_source(data, opened.detector.config.sampling, reporter)
    found, classes = _detect(opened, data, split, source, batch_size, reporter, scores)
    if output is not None:
        write_results(output, found, classes)
    truth = ground_truth(data, split)
    rule = rule or RULES[data.config.rule]
    scored = score(truth, regions_of(data.split(split)), flatten_detections(found, number_videos(truth, found)), classes,
                   thresholds or data.config.tiou, rule)
    tell(scored, reporter)
    return scored


def evaluate_results(results: Path, dataset: DatasetChoice, split: str = "testing", rule: Rule | None = None,
                     thresholds: Sequence[float] | None = None, only_split: bool = False, reporter: Reporter = SILENT) -> Score:
    """Score a file of detections, by any tool, against a split of a dataset; its videos need not be here.

    Raises:
        UserError: unreadable input, a split without a single action, or detections that have nothing to do with it.
    """
    data = dataset.load(reporter)
    where = data.where
    reference = Reference(data.split(split), data.classes, where, frozenset(record.name for record in data.records))
    return score_against(reference, results, rule or RULES[data.config.rule], thresholds or data.config.tiou, only_split=only_split,
                         reporter=reporter)


def evaluate_detector(opened: Opened, dataset: Dataset, split: str, source: Source, batch_size: int = 8,
                      reporter: Reporter = SILENT, scores: VideoScores | None = None) -> MapResult:
    """mAP of a detector that is open already, by the dataset's rule; ``source`` keeps decoded frames between calls."""
    found, classes = _detect(opened, dataset, split, source, batch_size, reporter, scores)
    return mean_average_precision(ground_truth(dataset, split), found, classes, dataset.config.tiou, RULES[dataset.config.rule],
                                  regions_of(dataset.split(split)))


def _detect(opened: Opened, dataset: Dataset, split: str, source: Source, batch_size: int, reporter: Reporter,
            scores: VideoScores | None) -> tuple[dict[str, Detections], list[str]]:
    """Detections, and the class names that their labels stand for."""
    videos = split_videos(dataset, split)
    found = detect_videos(opened.detector, videos, source, opened.compute, batch_size, f"evaluate {split}", reporter, scores)
    return found, list(scores.classes if scores else dataset.classes)


def _dataset_scores(opened: Opened, data: Dataset, reporter: Reporter) -> VideoScores | None:
    """The classifier that the dataset names, for a model of one class on a dataset of several."""
    if data.config.class_scores is None or len(opened.detector.config.classes) > 1 or len(data.classes) == 1:
        return None
    path = data.root / data.config.class_scores
    if not path.is_file():
        reporter.note(f"{path}: no class scores here, which would name the proposals of this model of one class")
        return None
    reporter.note(f"class scores: {path}, as the dataset says")
    return read_video_scores(path)
