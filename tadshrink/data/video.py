"""Video files as tensors: any container that FFmpeg reads, at any moment, resized to the model's size."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from av.video.reformatter import VideoReformatter

from tadshrink.data.frame_cache import FrameCache
from tadshrink.data.frame_stream import FrameStream
from tadshrink.data.picture import picture
from tadshrink.data.resizing import fit
from tadshrink.data.video_index import VideoIndex, index_video
from tadshrink.reporting import SILENT, Reporter


class FrameStore:
    """Frames of many videos, decoded when they are asked for and kept as in :class:`FrameCache`.

    Requests that go forwards through a video, overlapping or not, are served by one pass over it: no frame is decoded twice.

    Args:
        size: the shorter side of a frame is resized to it.
        crop: cut out the centre square; else frames keep their shape.

    Attributes:
        decoded: how many frames were decoded, by video.
        damaged: numbers of the frames that could not be decoded, or only with flaws, by video.
    """

    def __init__(self, size: int, max_bytes: int = 2 << 30, reporter: Reporter = SILENT, crop: bool = True) -> None:
        self.size, self.reporter, self.crop = size, reporter, crop
        self.cache = FrameCache(max_bytes)
        self.decoded: Counter[Path] = Counter()
        self.damaged: defaultdict[Path, set[int]] = defaultdict(set)
        self._indices: dict[Path, VideoIndex] = {}
        self._stream: FrameStream | None = None
        self._convert = VideoReformatter()
        self._lock = threading.RLock()

    def index(self, path: Path) -> VideoIndex:
        """:func:`index_video`, remembered.

        Raises:
            UserError: the file cannot be opened, or has no frames.
        """
        with self._lock:
            if path not in self._indices:
                self._indices[path] = index = index_video(path)
                if index.declared is not None:
                    self.reporter.note(f"{path}: its header says {index.declared:.2f} s, but its frames end at {index.duration:.2f} s: "
                                       "those that are there are used, by their own times")
            return self._indices[path]

    def uncropped(self, size: int) -> FrameStore:
        """A store like this one for whole frames of another size."""
        other = FrameStore(size, self.cache.max_bytes, self.reporter, crop=False)
        other._indices = self._indices
        return other

    def frames(self, path: Path, indices: np.ndarray, fps: float | None = None) -> torch.Tensor:
        """Frames of the regular grid ``i / fps``: for each index (clipped to the video) the frame that is shown nearest to it.

        Args:
            indices: ascending, repeats allowed, at least one.
            fps: by default the video's own.

        Returns:
            uint8 ``[len(indices), 3, h, w]``, RGB.

        Raises:
            UserError: the file cannot be opened or decoded.
        """
        with self._lock:
            index = self.index(path)
            numbers = index.nearest(np.clip(indices / (fps or index.fps), 0, (index.frames - 1) / index.fps)).tolist()
            held = self.cache.of(path)
            added = {number: self._read(index, number) for number in dict.fromkeys(numbers) if number not in held}
            clip = torch.stack([added[number] if number in added else held[number] for number in numbers])
            self.cache.put(path, added, set(numbers))
            if self._stream is not None and self._stream.ended:
                self._close()
        return clip

    def _read(self, index: VideoIndex, number: int) -> torch.Tensor:
        if self._stream is None or not self._stream.leads_to(index, number):
            self._close()
            self._stream = FrameStream(index, number, self.decoded)
        return fit(picture(self._stream.frame(number), self._convert), self.size, self.crop)

    def _close(self) -> None:
        """End the pass over a video, and tell what was wrong with it, once."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        stream.close()
        path, index = stream.index.path, stream.index
        if stream.damaged and path not in self.damaged:
            first = min(stream.damaged)
            self.reporter.note(f"{path}: {len(stream.damaged)} of {index.frames} frames cannot be decoded, or not without flaws; the first is "
                               f"frame {first}, at {index.times[first]:.2f} s. Where one is missing, the nearest other stands for it")
        if stream.damaged:
            self.damaged[path] |= stream.damaged
