"""From video files to detections in seconds: windows, model, decoding of its outputs, NMS over each whole video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tadshrink.data.datasets import Dataset
from tadshrink.data.loader import VideoWindow, inference_batches
from tadshrink.data.video import FrameStore
from tadshrink.data.windows import sliding_windows
from tadshrink.device import Compute
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.mean_ap import GroundTruth
from tadshrink.evaluation.postprocess import decode, merge_videos, to_seconds
from tadshrink.models.config import DetectorConfig, SamplingConfig
from tadshrink.models.detector import Detector, DetectorOutput
from tadshrink.reporting import SILENT, Reporter

#: (name, file, length in seconds or None for the container's own).
Video = tuple[str, Path, float | None]


class Collector:
    """Gathers the detections of windows and joins them by video."""

    def __init__(self, config: DetectorConfig) -> None:
        self.config = config
        self._windows: dict[str, list[Detections]] = {}

    def add(self, output: DetectorOutput, windows: Sequence[VideoWindow]) -> None:
        """Decode the outputs of a batch of windows."""
        decoded = decode(output.cls_logits, output.offsets, output.masks, output.strides, self.config.postprocess)
        for detections, window in zip(decoded, windows, strict=True):
            seconds = to_seconds(detections, window.start_frame, self.config.sampling, window.fps, window.duration)
            self._windows.setdefault(window.video, []).append(seconds)

    def finish(self) -> dict[str, Detections]:
        """NMS over all windows of each video."""
        merged = merge_videos(list(self._windows.values()), self.config.postprocess)
        return dict(zip(self._windows, merged, strict=True))


def split_videos(dataset: Dataset, split: str) -> list[Video]:
    """The videos of a split as inference takes them."""
    return [(record.name, dataset.video_path(record), record.duration) for record in dataset.split(split)]


def ground_truth(dataset: Dataset, split: str) -> GroundTruth:
    """The actions of every video of a split."""
    return {record.name: [(action.start, action.end, action.label) for action in record.actions] for record in dataset.split(split)}


def count_windows(videos: Iterable[Video], sampling: SamplingConfig, store: FrameStore) -> int:
    """Windows that inference over these videos will see."""
    return sum(len(sliding_windows(store.info(path).frames, sampling)) for _, path, _ in videos)


def window_batches(videos: Sequence[Video], sampling: SamplingConfig, store: FrameStore, compute: Compute, batch_size: int,
                   name: str, reporter: Reporter) -> Iterator[tuple[Tensor, Tensor, list[VideoWindow]]]:
    """:func:`inference_batches` on the device, with progress."""
    with reporter.track(name, count_windows(videos, sampling, store)) as advance:
        for inputs, masks, windows in inference_batches(videos, sampling, store, batch_size):
            yield inputs.to(compute.device), masks.to(compute.device), windows
            advance(len(windows), windows[-1].video)


@torch.inference_mode()
def detect_videos(detector: Detector, videos: Sequence[Video], store: FrameStore, compute: Compute, batch_size: int = 8,
                  name: str = "detect", reporter: Reporter = SILENT) -> dict[str, Detections]:
    """Detections of each video, in seconds, best first. Memory does not grow with the length of the videos."""
    collector = Collector(detector.config)
    detector.eval()
    for inputs, masks, windows in window_batches(videos, detector.config.sampling, store, compute, batch_size, name, reporter):
        with compute.autocast():
            output = detector(inputs, masks)
        collector.add(output, windows)
    return collector.finish()
