"""Video files as tensors: any container that FFmpeg reads, at any frame, resized and cropped to the model's size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from torch.nn import functional

from tadshrink.data.decoding import decode, open_video
from tadshrink.errors import UserError


@dataclass(frozen=True)
class VideoInfo:
    """Number of frames, mean frame rate and length in seconds, from the container."""

    frames: int
    fps: float

    @property
    def duration(self) -> float:
        return self.frames / self.fps


def probe(path: str | Path) -> VideoInfo:
    """Read a video's length and frame rate without decoding it.

    Raises:
        UserError: no such file, not a video, or no usable length.
    """
    with open_video(path) as (container, stream):
        fps = float(stream.average_rate or stream.base_rate or 0)
        seconds = float(stream.duration * stream.time_base) if stream.duration else float(container.duration or 0) / av.time_base
        frames = stream.frames or round(seconds * fps)
    if fps <= 0 or frames <= 0:
        raise UserError("the video has no frames, or no frame rate", where=path, fix="Re-encode the file, for example with ffmpeg")
    return VideoInfo(frames, fps)


def read_frames(path: str | Path, info: VideoInfo, first: int, count: int, size: int) -> torch.Tensor:
    """``count`` frames from ``first`` on; see :func:`read_indices`."""
    return read_indices(path, info, np.arange(first, first + count), size)


def read_indices(path: str | Path, info: VideoInfo, indices: np.ndarray, size: int) -> torch.Tensor:
    """Decode frames of the regular grid ``i / fps``: for each index, the frame nearest in time.

    Only the part of the file between the first and the last index is decoded, from the key frame before it on. The shorter
    side is resized to ``size`` (bilinear) and the centre cropped.

    Args:
        indices: ascending, repeats allowed, at least one.

    Returns:
        uint8 ``[len(indices), 3, size, size]``, RGB. After the end of the video its last frame is repeated.

    Raises:
        UserError: the file cannot be opened or decoded.
    """
    wanted = indices / info.fps
    out = torch.empty((len(wanted), 3, size, size), dtype=torch.uint8)
    convert = VideoReformatter()
    filled, previous, last_time = 0, None, 0.0
    for time, frame in decode(path, float(wanted[0]), info.fps):
        # Frames that nobody asked for are decoded, but not converted.
        if previous is not None and (nearest := int(np.searchsorted(wanted, (last_time + time) / 2))) > filled:
            out[filled:nearest] = _picture(previous, convert, size)
            filled = nearest
        if filled == len(wanted):
            return out
        previous, last_time = frame, time
    if previous is None:
        raise UserError("no frame could be decoded", where=path, fix="Check that the file plays")
    out[filled:] = _picture(previous, convert, size)
    return out


def _picture(frame: av.VideoFrame, convert: VideoReformatter, size: int) -> torch.Tensor:
    rgb = convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return fit(torch.from_numpy(rgb).permute(2, 0, 1), size)


def fit(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resize the shorter side of uint8 ``[3, H, W]`` to ``size`` (bilinear) and crop the centre square."""
    height, width = image.shape[1:]
    if (height, width) != (size, size):
        scale = size / min(height, width)
        target = (max(size, int(height * scale + 0.5)), max(size, int(width * scale + 0.5)))
        resized = functional.interpolate(image[None].float(), size=target, mode="bilinear", align_corners=False)
        top, left = (target[0] - size) // 2, (target[1] - size) // 2
        image = resized[0, :, top:top + size, left:left + size].round().clamp(0, 255).to(torch.uint8)
    return image


class FrameStore:
    """Decoded frames of many videos, kept up to a number of bytes (least recently used goes first).

    A video that would fill more than a quarter of the store is decoded window by window and not kept.
    """

    def __init__(self, size: int, max_bytes: int = 2 << 30) -> None:
        self.size, self.max_bytes = size, max_bytes
        self._videos: OrderedDict[Path, torch.Tensor] = OrderedDict()
        self._infos: dict[Path, VideoInfo] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def info(self, path: Path) -> VideoInfo:
        """:func:`probe`, remembered."""
        if path not in self._infos:
            self._infos[path] = probe(path)
        return self._infos[path]

    def frames(self, path: Path, indices: np.ndarray) -> torch.Tensor:
        """Frames at ``indices`` (ascending; clipped to the video), uint8 ``[len(indices), 3, size, size]``."""
        info = self.info(path)
        wanted = np.clip(indices, 0, info.frames - 1)
        if info.frames * 3 * self.size**2 > self.max_bytes // 4:
            return read_indices(path, info, wanted, self.size)
        return self._whole(path, info)[torch.from_numpy(wanted)]

    def _whole(self, path: Path, info: VideoInfo) -> torch.Tensor:
        with self._lock:
            if path in self._videos:
                self._videos.move_to_end(path)
                return self._videos[path]
        video = read_frames(path, info, 0, info.frames, self.size)
        with self._lock:
            if path not in self._videos:
                self._bytes += video.numel()
            self._videos[path] = video
            while self._bytes > self.max_bytes:
                self._bytes -= self._videos.popitem(last=False)[1].numel()
        return video
