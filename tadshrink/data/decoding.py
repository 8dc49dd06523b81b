"""Frames of a video file in the order in which they are shown, with their times, from any moment on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from tadshrink.errors import UserError

#: Below this many pixels a frame is decoded faster by one thread than by several.
SMALL_FRAME = 160 * 160
#: Seconds before the wanted moment at which to look for a key frame, one after the other. Some containers are indexed by
#: decoding order, so that the key frame found for a moment may be shown only after it.
SEEK_BACK = (0.0, 1.0, 10.0)

#: Seconds since the stream's start, and the frame.
TimedFrame = tuple[float, av.VideoFrame]


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file at its first video stream.

    Raises:
        UserError: no such file, not a video, or one that cannot be decoded here.
    """
    try:
        # Absolute, since FFmpeg takes a relative name with a colon for the address of a network stream.
        container = av.open(str(Path(path).absolute()))
    except FileNotFoundError as error:
        raise UserError("no such video", where=path, fix="Check the path") from error
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"not a readable video ({error.strerror})", where=path, fix="Check that the file plays") from error
    with container:
        # FFmpeg renders text files as pictures ("tty"), and shows the cover picture of a piece of music as a video.
        streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not streams or container.format.name == "tty":
            raise UserError("the file has no video stream", where=path, fix="Check the path")
        if streams[0].codec_context is None:
            raise UserError("its codec is not known here", where=path, fix="Re-encode the file, for example as H.264")
        yield container, streams[0]


def decode(path: str | Path, start: float, fps: float) -> Iterator[TimedFrame]:
    """All frames from a key frame at or before ``start`` (seconds) on, times never decreasing.

    Raises:
        UserError: the file cannot be opened or decoded.
    """
    try:
        yield from _sought(path, start, fps) or _decode(path, None, fps)
    except av.error.FFmpegError as error:
        raise UserError(f"cannot be decoded ({error.strerror})", where=path, fix="Check that the file plays") from error


def _sought(path: str | Path, start: float, fps: float) -> Iterator[TimedFrame] | None:
    """Frames from the nearest point before ``start`` that a seek reaches; ``None`` if none does, or it is the beginning."""
    for back in SEEK_BACK:
        if start <= back:
            break
        frames = _decode(path, start - back, fps)
        with suppress(av.error.FFmpegError):
            head = next(frames, None)
            # Times are rounded to the container's clock.
            if head is not None and head[0] <= start + 0.1 / fps:
                return chain([head], frames)
    return None


def _decode(path: str | Path, seek: float | None, fps: float) -> Iterator[TimedFrame]:
    """Decode after a seek to a moment, or from the beginning. Yields nothing where times after a seek are unknown."""
    with open_video(path) as (container, stream):
        # AVI has no time of showing: with reordered frames, only counting from the beginning tells it.
        counted = container.format.name == "avi" and stream.codec_context.has_b_frames
        if seek is not None and counted:
            return
        small = stream.width * stream.height < SMALL_FRAME
        stream.thread_type, stream.codec_context.thread_count = ("SLICE", 1) if small else ("AUTO", 0)
        origin, base = stream.start_time or 0, stream.time_base
        if seek is not None:
            container.seek(math.floor(seek / base) + origin, stream=stream, backward=True)
        time = -1 / fps if seek is None else -math.inf
        for frame in container.decode(stream):
            if not counted and frame.pts is not None:
                time = max(time, float((frame.pts - origin) * base))
            elif math.isinf(time):
                return
            else:
                time += 1 / fps
            yield time, frame
