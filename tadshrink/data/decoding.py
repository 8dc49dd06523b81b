"""Frames of a video file by their number in the order in which they are shown, from any one on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from tadshrink.data.container import open_video, packets
from tadshrink.data.video_index import VideoIndex
from tadshrink.errors import UserError

#: Below this many pixels a frame is decoded faster by one thread than by several.
SMALL_FRAME = 160 * 160
#: Seconds before a key frame to seek to, one after the other. Some containers are indexed by decoding order, so that a seek
#: to the time at which the key frame is shown may end behind it.
SEEK_BACK = (0.0, 1.0, 10.0)

#: The number of a frame, and the frame.
Numbered = tuple[int, av.VideoFrame]


def decode(index: VideoIndex, first: int = 0) -> Iterator[Numbered]:
    """All frames from a key frame at or before frame ``first`` on; numbers never go down.

    What cannot be decoded is left out, so numbers may be missing.

    Raises:
        UserError: the file cannot be opened, or not one of its frames can be decoded.
    """
    for start in index.starts(first):
        frames = _from(index, start)
        head = next(frames, None)
        if head is not None and (head[0] <= first or start == 0):
            yield from chain([head], frames)
            return
    raise UserError("no frame can be decoded", where=index.path, fix="Check that the file plays")


def _from(index: VideoIndex, start: int) -> Iterator[Numbered]:
    """Decode from a key frame on; nothing if no seek finds it."""
    with open_video(index.path) as (container, stream):
        small = stream.width * stream.height < SMALL_FRAME
        stream.thread_type, stream.codec_context.thread_count = ("SLICE", 1) if small else ("AUTO", 0)
        number = -1
        for packet in _packets_from(container, stream, index, start):
            for frame in _frames(packet):
                counted = index.ticks is None or frame.pts is None
                number = number + 1 if counted else max(number, index.number(frame.pts))
                yield min(number, index.frames - 1), frame


def _frames(packet: av.Packet) -> list[av.VideoFrame]:
    with suppress(av.error.FFmpegError):
        return packet.decode()  # type: ignore[return-value]
    return []


def _packets_from(container: InputContainer, stream: VideoStream, index: VideoIndex, start: int) -> Iterator[av.Packet]:
    """Packets from that of key frame ``start`` on; none if no seek finds it."""
    if start == 0:
        return packets(container, stream)
    assert index.ticks is not None
    tick = int(index.ticks[start])
    for back in SEEK_BACK:
        with suppress(av.error.FFmpegError):
            container.seek(tick - round(back / stream.time_base), stream=stream, backward=True)
            rest = packets(container, stream)
            for packet in rest:
                if packet.is_keyframe and packet.pts == tick:
                    return chain([packet], rest)
                if packet.pts is None or (packet.is_keyframe and packet.pts > tick):
                    break
    return iter(())
