"""Batches for training and windows for inference, decoded ahead of the model by one thread.

Everything random depends on (seed, epoch, sample) alone, so an interrupted epoch can be drawn again exactly.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from tadshrink.data.annotations import VideoRecord
from tadshrink.data.augment import augment
from tadshrink.data.datasets import Dataset
from tadshrink.data.video import FrameStore
from tadshrink.data.windows import (
    KEPT_SHARE,
    Window,
    actions_on_grid,
    clip_to_window,
    frame_indices,
    grid_cells,
    random_window,
    sliding_windows,
    window_mask,
)
from tadshrink.models.config import SamplingConfig

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Windows with their actions: ``inputs`` uint8 ``[B, 1, 3, F, H, W]``, ``masks`` bool ``[B, T]``,
    and per window ``segments`` ``[n, 2]`` in grid cells and ``labels`` ``[n]``."""

    inputs: Tensor
    masks: Tensor
    segments: list[Tensor]
    labels: list[Tensor]


@dataclass(frozen=True)
class VideoWindow:
    """Where a window of inference comes from; ``start_frame`` in frames of the video."""

    video: str
    start_frame: int
    fps: float
    duration: float


class TrainingSet:
    """Random windows over the videos of a split; an epoch draws each video once per window length that it holds."""

    def __init__(self, dataset: Dataset, split: str, sampling: SamplingConfig, store: FrameStore) -> None:
        self.dataset, self.sampling, self.store = dataset, sampling, store
        self.labels = {label: index for index, label in enumerate(dataset.classes)}
        self.samples: list[VideoRecord] = []
        for record in dataset.split(split):
            cells = grid_cells(store.info(dataset.video_path(record)).frames, sampling)
            self.samples += [record] * max(1, round(cells / sampling.window))

    def batches_per_epoch(self, batch_size: int) -> int:
        """The last, smaller batch is left out, unless it is the only one."""
        return max(1, len(self.samples) // batch_size)

    def epoch(self, epoch: int, batch_size: int, seed: int, augmented: bool = True) -> Iterator[Batch]:
        """All batches of one epoch, in an order drawn from (seed, epoch)."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self.samples))
        chosen = (order[number * batch_size:(number + 1) * batch_size] for number in range(self.batches_per_epoch(batch_size)))
        return prefetch(self._batch([(int(index), np.random.default_rng([seed, epoch, int(index)])) for index in indices], augmented)
                        for indices in chosen)

    def _batch(self, drawn: list[tuple[int, np.random.Generator]], augmented: bool) -> Batch:
        items = [self._sample(self.samples[index], rng, augmented) for index, rng in drawn]
        inputs, masks, segments, labels = zip(*items, strict=True)
        return Batch(torch.stack(inputs)[:, None], torch.stack(masks), list(segments), list(labels))

    def _sample(self, record: VideoRecord, rng: np.random.Generator, augmented: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        path = self.dataset.video_path(record)
        frames = self.store.info(path).frames
        actions = actions_on_grid(record, frames, self.sampling)
        window = random_window(actions, grid_cells(frames, self.sampling), self.sampling.window, rng)
        clipped, share = clip_to_window(actions, window)
        kept = share >= KEPT_SHARE
        labels = np.array([self.labels[action.label] for action in record.actions], dtype=np.int64)
        clip = load_clip(self.store, path, window, self.sampling)
        return (augment(clip, rng) if augmented else clip, torch.from_numpy(window_mask(window, self.sampling)),
                torch.from_numpy(clipped[kept]), torch.from_numpy(labels[kept]))


def load_clip(store: FrameStore, path: Path, window: Window, sampling: SamplingConfig) -> Tensor:
    """Frames of one window, uint8 ``[3, F, H, W]``."""
    frames = store.frames(path, frame_indices(window, store.info(path).frames, sampling))
    return frames.permute(1, 0, 2, 3)


def inference_batches(videos: Iterable[tuple[str, Path, float | None]], sampling: SamplingConfig, store: FrameStore,
                      batch_size: int) -> Iterator[tuple[Tensor, Tensor, list[VideoWindow]]]:
    """Sliding windows over ``(name, path, duration in seconds or None)``, ``batch_size`` at a time.

    Yields:
        inputs uint8 ``[B, 1, 3, F, H, W]``, masks bool ``[B, T]`` and where each window comes from.
    """
    def windows() -> Iterator[tuple[Tensor, Tensor, VideoWindow]]:
        for name, path, duration in videos:
            info = store.info(path)
            seconds = info.duration if duration is None else duration
            for window in sliding_windows(info.frames, sampling):
                yield (load_clip(store, path, window, sampling), torch.from_numpy(window_mask(window, sampling)),
                       VideoWindow(name, window.first * sampling.snippet_stride, info.frames / seconds, seconds))

    return prefetch((torch.stack([item[0] for item in group])[:, None], torch.stack([item[1] for item in group]),
                     [item[2] for item in group]) for group in grouped(windows(), batch_size))


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
