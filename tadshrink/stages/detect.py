"""``detect``: what happens in video files (or in files of features), and when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.opening import ModelFile, path_of
from tadshrink.data.sources import file_source, model_kind
from tadshrink.data.timeline import Video
from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections, to_json
from tadshrink.evaluation.fusion import VideoScores, read_video_scores
from tadshrink.evaluation.inference import detect_videos
from tadshrink.files import check_output, write_json
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import Opened
from tadshrink.stages.inputs import check_scores
from tadshrink.stages.opening import open_model


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
           device: str | None = None, reporter: Reporter = SILENT, fps: float | None = None, class_scores: Path | None = None,
           compiled: bool = False) -> Detected:
    """Detections in each video (or file of features), and an ActivityNet-style JSON at ``output``. A broken file does not stop the others.

    Args:
        top: most detections per video.
        checkpoint: or an ONNX file of ``export``.
        fps: frames per second of the videos that features come from; of a model on videos, those that it counts in (default: of its
            training videos, if it knows them, else each video's own).
        class_scores: file of a video-level classifier that names the proposals of a model of one class.
        compiled: see :func:`~tadshrink.stages.opening.open_model`.

    Raises:
        UserError: the checkpoint cannot be read, or two videos have the same name.
    """
    names = _names(videos)
    check_output(output, path_of(checkpoint), class_scores, *names.values())
    scores = None if class_scores is None else read_video_scores(class_scores)
    opened = open_model(checkpoint, device, reporter, compiled)
    config = opened.detector.config
    check_scores(config, scores)
    if model_kind(config) == "videos" and config.sampling.mode != "resize" and not (fps or config.sampling.fps):
        reporter.note("the model does not know the frame rate of its training videos: each video is taken in its own frames (--fps)")
    found: dict[str, Detections] = {}
    durations: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, path in names.items():
        try:
            durations[name], everything = _detect_one(opened, Video(name, path, fps=fps), scores, reporter, fps)
            found[name] = _best(everything, top, score_threshold)
        except UserError as error:
            failed[str(path)] = str(error)
    result = Detected(scores.classes if scores else config.classes, found, durations, failed)
    # Where not one video could be read there is nothing to tell, and an older file may hold something.
    if output is not None and found:
        write_json(output, result.to_json())
    return result


def _detect_one(opened: Opened, video: Video, scores: VideoScores | None, reporter: Reporter, fps: float | None) -> tuple[float, Detections]:
    """Length in seconds, and all detections."""
    started = time.perf_counter()
    source = file_source(opened.detector.config, video.path, reporter, fps)
    found = detect_videos(opened.detector, [video], source, opened.compute, name=video.name, reporter=reporter, scores=scores)
    duration, took = source.timeline(video).duration, time.perf_counter() - started
    reporter.note(f"{video.path}: {duration:.1f} s in {took:.1f} s, {duration / took:.3g}x real time")
    return duration, found[video.name]


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
