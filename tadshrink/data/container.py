"""Opening a video file, and reading its packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from tadshrink.errors import UserError

#: Reading a damaged file goes on after so many failures in a row.
FAILURES = 16


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file at its first video stream.

    Raises:
        UserError: no such file, not a video, or one that cannot be decoded here.
    """
    try:
        # Absolute, since FFmpeg takes a relative name with a colon for the address of a network stream.
        # Titles and the like may be in any encoding, and are not needed.
        container = av.open(str(Path(path).absolute()), metadata_errors="replace")
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


def packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream from where the file stands on; the last one is empty. Damaged parts of the file are passed over."""
    failures = 0
    while failures < FAILURES:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        # Some demuxers give nonsense for the sizes or the stream of a damaged packet.
        except (av.error.FFmpegError, IndexError):
            failures += 1
