"""When each frame of a video file is shown, found by reading its packets without decoding them.

What a header says of length, frame count and frame rate may be wrong, rounded or missing; the times of the packets are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tadshrink.data.container import open_video, packets
from tadshrink.errors import UserError

#: Containers whose header says how long the video is; of others FFmpeg guesses it from the file's size.
HEADED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv"}
#: Part of a frame by which times may be off a frame rate that still holds: containers round them to their clock.
JITTER = 0.1
#: A video that ends this much before the end in its header (as a share of it, and in seconds) was cut off.
CUT_SHARE, CUT_SECONDS = 0.05, 0.25
#: Times that go back by more seconds than this start anew, as in files that were joined end to end.
RESTART = 1.0
#: Packets of a codec that are decoded, but give no picture.
HIDDEN: dict[str, Callable[[av.Packet], bool]] = {"vp8": lambda packet: not memoryview(packet)[0] & 0x10}


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a file in the order in which they are shown.

    Attributes:
        fps: frames per second, on the average.
        times: seconds from frame 0 to each frame, ascending, float64 ``[frames]``.
        ticks: the same on the container's clock, int64; ``None`` where it does not tell: frames are then counted.
        keys: numbers of the frames at which decoding can start, ascending, and 0.
        declared: seconds that the header promises, where that is more than there is; else ``None``.
    """

    path: Path
    fps: float
    times: np.ndarray
    ticks: np.ndarray | None
    keys: np.ndarray
    declared: float | None

    @property
    def frames(self) -> int:
        return len(self.times)

    @property
    def duration(self) -> float:
        """Seconds to the end of the last frame."""
        return self.frames / self.fps

    @cached_property
    def _middles(self) -> np.ndarray:
        return (self.times[1:] + self.times[:-1]) / 2

    def nearest(self, seconds: np.ndarray) -> np.ndarray:
        """Numbers of the frames that are shown nearest to some moments; in the middle between two, the later one."""
        return np.searchsorted(self._middles, seconds, side="right")

    def number(self, tick: int) -> int:
        """The frame that has a time of the container, or the one nearest to it."""
        assert self.ticks is not None
        after = min(int(np.searchsorted(self.ticks, tick)), self.frames - 1)
        before = max(after - 1, 0)
        return after if abs(self.ticks[after] - tick) <= abs(self.ticks[before] - tick) else before

    def starts(self, first: int) -> list[int]:
        """Where to start decoding for frame ``first``: the key frame before it, and if that fails one further back, then 0."""
        place = int(np.searchsorted(self.keys, first, side="right")) - 1
        return list(dict.fromkeys([int(self.keys[place]), int(self.keys[max(place - 1, 0)]), 0]))


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    dts: int | None
    length: int
    key: bool
    shown: bool


def index_video(path: str | Path) -> VideoIndex:
    """Read all packets of a file once.

    Raises:
        UserError: no such file, not a video, or one without frames or without a frame rate.
    """
    with open_video(path) as (container, stream):
        found = list(_found(container, stream))
        shown = [packet for packet in found if packet.shown]
        # AVI has no time of showing: with reordered frames, only counting from the beginning tells it.
        counted = container.format.name == "avi" and stream.codec_context.has_b_frames
        base = float(stream.time_base)
        ticks = None if counted else _ticks(shown, base)
        header = [float(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        promised = _promised(container, stream, header) if container.format.name in HEADED else 0.0
    frames = len(shown) if ticks is None else len(ticks)
    fps = _counted_rate(header) if ticks is None else _rate(ticks, base, header, {packet.pts: packet.length for packet in shown})
    if fps <= 0 or frames == 0:
        raise UserError("the video has no frames, or no frame rate", where=path, fix="Re-encode the file, for example with ffmpeg")
    times = np.arange(frames) / fps if ticks is None else (ticks - ticks[0]) * base
    there = len(found) / fps
    return VideoIndex(Path(path), fps, times, ticks, _keys(shown, ticks), promised if _cut(promised, there) else None)


def _found(container: InputContainer, stream: VideoStream) -> Iterator[_Packet]:
    hidden = HIDDEN.get(stream.codec_context.name, lambda packet: False)
    for packet in packets(container, stream):
        if packet.size:
            yield _Packet(packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, not packet.is_discard and not hidden(packet))


def _ticks(packets: list[_Packet], base: float) -> np.ndarray | None:
    """Times of showing in ascending order; ``None`` if some are missing, or if they start anew within the file."""
    order = [packet.dts for packet in packets if packet.dts is not None]
    if any(packet.pts is None for packet in packets) or any(after < before - RESTART / base for before, after in pairwise(order)):
        return None
    # Of two frames of one time, none but the last is ever seen.
    return np.unique(np.array([packet.pts for packet in packets], dtype=np.int64))


def _keys(packets: list[_Packet], ticks: np.ndarray | None) -> np.ndarray:
    if ticks is None:
        return np.zeros(1, dtype=np.int64)
    keys = np.searchsorted(ticks, np.unique([packet.pts for packet in packets if packet.key]).astype(np.int64))
    return np.union1d(keys, [0])


def _counted_rate(header: list[float]) -> float:
    return header[0] if header else 0.0


def _rate(ticks: np.ndarray, base: float, header: list[float], lengths: dict[int | None, int]) -> float:
    """The header's frame rate if all frames keep to it; else the mean."""
    times = (ticks - ticks[0]) * base if len(ticks) else np.zeros(0)
    for rate in header:
        if len(times) and np.abs(times - np.arange(len(times)) / rate).max() <= max(base, JITTER / rate):
            return rate
    if len(times) < 2:
        return _counted_rate(header)
    last = lengths[int(ticks[-1])] * base or times[-1] / (len(times) - 1)
    return float(len(times) / (times[-1] + last))


def _promised(container: InputContainer, stream: VideoStream, header: list[float]) -> float:
    """The longest of what the header says in its several places, in seconds."""
    whole = float(container.duration or 0) / av.time_base - float((stream.start_time or 0) * stream.time_base)
    own = float(stream.duration * stream.time_base) if stream.duration else whole
    return max(own, stream.frames / header[0] if header else 0.0)


def _cut(promised: float, there: float) -> bool:
    return promised - there > max(CUT_SECONDS, CUT_SHARE * promised)
