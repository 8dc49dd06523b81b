"""``detect``: what happens in video files (or in files of features), and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.data.sources import file_source
from tadshrink.data.timeline import Video
from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections, to_json
from tadshrink.evaluation.fusion import VideoScores, read_video_scores
from tadshrink.evaluation.inference import detect_videos
from tadshrink.files import check_output, write_json
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import Opened, open_detector
from tadshrink.stages.inputs import check_scores


@dataclass(frozen=True)
class Detected:
    """Detections by video, best first, and the files that could not be read with the reason for each."""

    classes: tuple[str, ...]
    detections: dict[str, Detections]
    durations: dict[str, float]
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """ActivityNet-style: ``{"version", "results": {video: [{"segment", "label", "score"}]}}``, seconds."""
        return to_json(self.detections, self.classes)


def detect(checkpoint: Path | ModelFile, videos: Sequence[Path], output: Path | None = None, top: int = 100, score_threshold: float = 0.0,
           device: str | None = None, reporter: Reporter = SILENT, fps: float | None = None, class_scores: Path | None = None) -> Detected:
    """Detections in each video (or file of features), and an ActivityNet-style JSON at ``output``. A broken file does not stop the others.

    Args:
        top: most detections per video.
        fps: frames per second of the videos that features come from.
        class_scores: file of a video-level classifier that names the proposals of a model of one class.

    Raises:
        UserError: the checkpoint cannot be read, or two videos have the same name.
    """
    check_output(output)
    names = _names(videos)
    scores = None if class_scores is None else read_video_scores(class_scores)
    opened = open_detector(checkpoint, device, reporter)
    check_scores(opened.detector.config, scores)
    found: dict[str, Detections] = {}
    durations: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, path in names.items():
        try:
            durations[name], everything = _detect_one(opened, Video(name, path, fps=fps), scores, reporter)
            found[name] = _best(everything, top, score_threshold)
        except UserError as error:
            failed[str(path)] = str(error)
    result = Detected(scores.classes if scores else opened.detector.config.classes, found, durations, failed)
    # Where not one video could be read there is nothing to tell, and an older file may hold something.
    if output is not None and found:
        write_json(output, result.to_json())
    return result


def _detect_one(opened: Opened, video: Video, scores: VideoScores | None, reporter: Reporter) -> tuple[float, Detections]:
    """Length in seconds, and all detections."""
    source = file_source(opened.detector.config, video.path, reporter)
    found = detect_videos(opened.detector, [video], source, opened.compute, name=video.name, reporter=reporter, scores=scores)
    return source.timeline(video).duration, found[video.name]


def _best(detections: Detections, top: int, threshold: float) -> Detections:
    order = (-detections.scores).argsort(kind="stable")
    return detections.take(order[detections.scores[order] >= threshold][:top])


def _names(videos: Sequence[Path]) -> dict[str, Path]:
    names: dict[str, Path] = {}
    for path in videos:
        if path.stem in names:
            raise UserError(f"two videos are named {path.stem!r}", where=path, fix="Detect them in two calls")
        names[path.stem] = path
    return names
