"""Batches for training and windows for inference, decoded ahead of the model by one thread.

Everything random depends on (seed, epoch, sample) alone, so an interrupted epoch can be drawn again exactly.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from tadshrink.data.actions import ActionGrid
from tadshrink.data.datasets import Dataset
from tadshrink.data.grids import GRIDS
from tadshrink.data.sources import Source
from tadshrink.data.timeline import Video
from tadshrink.data.windows import Window

Item = TypeVar("Item")
#: A batch of inference holds no more windows than fit in so many bytes, so that long windows go one by one.
BATCH_BYTES = 256 << 20


@dataclass(frozen=True)
class Batch:
    """Windows with their actions: ``inputs`` uint8 frames ``[B, 1, 3, F, H, W]`` or float32 features ``[B, C, T]``, ``masks``
    bool ``[B, T]``, and per window ``segments`` ``[n, 2]`` in grid cells and ``labels`` ``[n]``."""

    inputs: Tensor
    masks: Tensor
    segments: list[Tensor]
    labels: list[Tensor]


@dataclass(frozen=True)
class VideoWindow:
    """Where a window of inference comes from; ``start_frame`` in frames of the video, ``duration`` in seconds."""

    video: str
    window: Window
    start_frame: int
    fps: float
    duration: float


class TrainingSet:
    """Random windows over the videos of a split; an epoch draws each video once per window length that it holds."""

    def __init__(self, dataset: Dataset, split: str, source: Source) -> None:
        self.source, self.grid = source, GRIDS[source.sampling.mode]
        self.actions = ActionGrid(dataset, split, source)
        self.samples: list[Video] = []
        for record in dataset.split(split):
            video = dataset.video(record)
            self.samples += [video] * max(1, round(source.timeline(video).cells / source.sampling.window))

    def batch(self, indices: Iterable[int], epoch: int, seed: int, augmented: bool = True) -> Batch:
        """These of the :attr:`samples`, as they are drawn in an epoch."""
        items = [self._sample(self.samples[index], np.random.default_rng([seed, epoch, int(index)]), augmented) for index in indices]
        inputs, masks, segments, labels = zip(*items, strict=True)
        return Batch(torch.stack(inputs), torch.stack(masks), list(segments), list(labels))

    def _sample(self, video: Video, rng: np.random.Generator, augmented: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        source = self.source
        segments, _ = self.actions.of(video.name)
        window = self.grid.draw(segments, source.timeline(video), source.sampling, source.kept_share, rng)
        inputs, mask = source.draw(video, window, rng) if augmented else source.load(video, window)
        return inputs, mask, *self.actions.inside(video.name, window, source.kept_share)


def inference_batches(videos: Iterable[Video], source: Source, batch_size: int) -> Iterator[tuple[Tensor, Tensor, list[VideoWindow]]]:
    """All windows of some videos, at most ``batch_size`` at a time; windows of different lengths do not share a batch.

    Yields:
        inputs (uint8 frames ``[B, 1, 3, F, H, W]`` or float32 features ``[B, C, T]``), masks bool ``[B, T]`` and where each
        window comes from.
    """
    def windows() -> Iterator[tuple[Tensor, Tensor, VideoWindow]]:
        for video in videos:
            line = source.timeline(video)
            for window in source.windows(video):
                start = window.first * source.sampling.snippet_stride
                yield *source.load(video, window), VideoWindow(video.name, window, start, line.fps, line.duration)

    return prefetch((torch.stack([item[0] for item in group]), torch.stack([item[1] for item in group]), [item[2] for item in group])
                    for same in _alike(windows()) for group in _batched(same, batch_size))


def _alike(items: Iterable[tuple[Tensor, Tensor, VideoWindow]]) -> Iterator[Iterator[tuple[Tensor, Tensor, VideoWindow]]]:
    """Neighbouring items whose masks are of one length."""
    return (same for _, same in groupby(items, key=lambda item: len(item[1])))


def _batched(items: Iterator[tuple[Tensor, Tensor, VideoWindow]], size: int) -> Iterator[list[tuple[Tensor, Tensor, VideoWindow]]]:
    first = next(items)
    return grouped(chain([first], items), min(size, max(1, BATCH_BYTES // first[0].nbytes)))


def grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items; the last may be shorter."""
    group: list[Item] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def with_last(items: Iterable[Item]) -> Iterator[tuple[Item, bool]]:
    """Each item, and whether it is the last."""
    there = iter(items)
    for ahead in there:
        for item in there:
            yield ahead, False
            ahead = item
        yield ahead, True


def prefetch(items: Iterable[Item], depth: int = 3) -> Iterator[Item]:
    """Produce ``items`` in a thread, up to ``depth`` ahead; an error there is raised here.

    Leaving early stops the thread, at the latest when the item that it works on is done.
    """
    ready: queue.Queue[tuple[str, object]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, value: object) -> bool:
        while not stop.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    # A daemon, so that a generator that nobody closes cannot keep the process from ending.
    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        # A thread that is still inside FFmpeg or torch when the interpreter goes away can crash it.
        if thread is not threading.current_thread():
            thread.join()
