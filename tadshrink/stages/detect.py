"""``detect``: what happens in video files, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadshrink.data.video import FrameStore, probe
from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections, to_json
from tadshrink.evaluation.inference import detect_videos
from tadshrink.files import check_output, write_json
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import Opened, open_detector


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


def detect(checkpoint: Path, videos: Sequence[Path], output: Path | None = None, top: int = 100, score_threshold: float = 0.0,
           device: str | None = None, reporter: Reporter = SILENT) -> Detected:
    """Detections in each video, and an ActivityNet-style JSON at ``output``. A broken file does not stop the others.

    Args:
        top: most detections per video.

    Raises:
        UserError: the checkpoint cannot be read, or two videos have the same name.
    """
    check_output(output)
    names = _names(videos)
    opened = open_detector(checkpoint, device, reporter)
    found: dict[str, Detections] = {}
    durations: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, path in names.items():
        try:
            durations[name] = probe(path).duration
            found[name] = _best(_detect_one(opened, name, path, reporter), top, score_threshold)
        except UserError as error:
            failed[str(path)] = str(error)
    result = Detected(opened.detector.config.classes, found, durations, failed)
    # Where not one video could be read there is nothing to tell, and an older file may hold something.
    if output is not None and found:
        write_json(output, result.to_json())
    return result


def _detect_one(opened: Opened, name: str, path: Path, reporter: Reporter) -> Detections:
    # A store too small to keep anything: frames are decoded window by window, so a long video needs no more memory.
    store = FrameStore(opened.detector.config.sampling.frame_size, max_bytes=0)
    return detect_videos(opened.detector, [(name, path, None)], store, opened.compute, name=name, reporter=reporter)[name]


def _best(detections: Detections, top: int, threshold: float) -> Detections:
    kept = (detections.scores >= threshold).nonzero()[0][:top]
    return detections.take(kept)


def _names(videos: Sequence[Path]) -> dict[str, Path]:
    names: dict[str, Path] = {}
    for path in videos:
        if path.stem in names:
            raise UserError(f"two videos are named {path.stem!r}", where=path, fix="Detect them in two calls")
        names[path.stem] = path
    return names
