"""From videos (or their features) to detections in seconds: windows, model, decoding of its outputs, NMS over each whole video."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from tadshrink.data.datasets import Dataset
from tadshrink.data.loader import VideoWindow, inference_batches
from tadshrink.data.sources import Source
from tadshrink.data.timeline import Video
from tadshrink.device import Compute
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import VideoScores
from tadshrink.evaluation.mean_ap import GroundTruth
from tadshrink.evaluation.postprocess import Output, merge_videos, window_detections
from tadshrink.models.config import DetectorConfig
from tadshrink.reporting import SILENT, Reporter

#: Bytes of video files from which on it takes seconds to read how long they are.
MUCH = 1 << 30


class Model(Protocol):
    """What detects in windows: a detector, or one that was exported."""

    config: DetectorConfig

    def eval(self) -> object:
        """Go into the mode that detects."""

    def __call__(self, inputs: Tensor, masks: Tensor) -> Output:
        """See :meth:`~tadshrink.models.detector.Detector.forward`."""


class Pace:
    """How much of the videos is done, in seconds of video and per second of time."""

    def __init__(self, source: Source) -> None:
        self._sampling, self._started = source.sampling, time.perf_counter()
        self._done: dict[str, float] = {}

    def add(self, windows: Sequence[VideoWindow]) -> str:
        """Count windows that are done; the pace so far, in words."""
        for place in windows:
            end = (place.window.first + place.window.cells) * self._sampling.snippet_stride / place.fps
            whole = self._sampling.mode == "resize"
            self._done[place.video] = place.duration if whole else min(end, place.duration)
        factor = sum(self._done.values()) / max(time.perf_counter() - self._started, 1e-9)
        return f"{factor:.3g}x real time"


class Collector:
    """Gathers the detections of windows and joins them by video.

    Args:
        scores: name the proposals of a detector of one class; labels are then indices into ``scores.classes``.
    """

    def __init__(self, config: DetectorConfig, scores: VideoScores | None = None) -> None:
        self.config, self.scores = config, scores
        self.windows: dict[str, list[Detections]] = {}

    def add(self, output: Output, windows: Sequence[VideoWindow]) -> None:
        """Decode the outputs of a batch of windows."""
        for detections, window in zip(window_detections(output, windows, self.config, self.scores), windows, strict=True):
            self.windows.setdefault(window.video, []).append(detections)

    def finish(self) -> dict[str, Detections]:
        """NMS over all windows of each video."""
        return finish_together([self])[0]


def finish_together(collectors: Sequence[Collector]) -> list[dict[str, Detections]]:
    """What each collector's :meth:`~Collector.finish` gives, much faster than one by one; all are of one configuration."""
    videos = [windows for collector in collectors for windows in collector.windows.values()]
    merged = iter(merge_videos(videos, collectors[0].config)) if collectors else iter(())
    return [{video: next(merged) for video in collector.windows} for collector in collectors]


def split_videos(dataset: Dataset, split: str) -> list[Video]:
    """The videos of a split as inference takes them."""
    return [dataset.video(record) for record in dataset.split(split)]


def ground_truth(dataset: Dataset, split: str) -> GroundTruth:
    """The actions of every video of a split."""
    return {record.name: [(action.start, action.end, action.label) for action in record.actions] for record in dataset.split(split)}


def count_windows(videos: Iterable[Video], source: Source) -> int:
    """Windows that inference over these videos will see."""
    return sum(len(source.windows(video)) for video in videos)


def read_lengths(videos: Sequence[Video], source: Source, name: str, reporter: Reporter) -> None:
    """Look at every file, so that its length is known afterwards; with progress where that takes a while."""
    size = sum(video.path.stat().st_size for video in videos if video.path.is_file())
    with (reporter if size > MUCH else SILENT).track(f"{name}: lengths", len(videos)) as advance:
        for video in videos:
            source.timeline(video)
            advance(1, video.name)


def window_batches(videos: Sequence[Video], source: Source, compute: Compute, batch_size: int, name: str,
                   reporter: Reporter) -> Iterator[tuple[Tensor, Tensor, list[VideoWindow]]]:
    """:func:`inference_batches` on the device, with progress."""
    read_lengths(videos, source, name, reporter)
    with reporter.track(name, count_windows(videos, source)) as advance:
        pace = Pace(source)
        for inputs, masks, windows in inference_batches(videos, source, batch_size):
            yield inputs.to(compute.device), masks.to(compute.device), windows
            advance(len(windows), f"{windows[-1].video}, {pace.add(windows)}")


@torch.inference_mode()
def detect_videos(detector: Model, videos: Sequence[Video], source: Source, compute: Compute, batch_size: int = 8,
                  name: str = "detect", reporter: Reporter = SILENT, scores: VideoScores | None = None) -> dict[str, Detections]:
    """Detections of each video, in seconds. Memory does not grow with the length of the videos.

    ``scores`` as in :class:`Collector`.
    """
    collector = Collector(detector.config, scores)
    detector.eval()
    for inputs, masks, windows in window_batches(videos, source, compute, batch_size, name, reporter):
        with compute.autocast():
            output = detector(inputs, masks)
        collector.add(output, windows)
    return collector.finish()
