"""Files whose header lies, or that are damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np

from tests.data.conftest import LEVELS


def longer_mp4(source: Path, target: Path, factor: float = 3.0) -> Path:
    """All durations in the header times a factor; the times of the frames stay."""
    data = bytearray(source.read_bytes())
    for name, place in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = data.find(name) + place
        data[at:at + 4] = struct.pack(">I", round(struct.unpack(">I", data[at:at + 4])[0] * factor))
    target.write_bytes(data)
    return target


def longer_mkv(source: Path, target: Path, factor: float = 3.0) -> Path:
    """The duration in the header times a factor."""
    data = bytearray(source.read_bytes())
    at = data.find(b"\x44\x89\x88") + 3
    data[at:at + 8] = struct.pack(">d", struct.unpack(">d", data[at:at + 8])[0] * factor)
    target.write_bytes(data)
    return target


def other_count_avi(source: Path, target: Path, factor: float = 0.5) -> Path:
    """The number of frames in both places of the header times a factor."""
    data = bytearray(source.read_bytes())
    for name, place in ((b"avih", 24), (b"strh", 40)):
        at = data.find(name) + place
        data[at:at + 4] = struct.pack("<I", round(struct.unpack("<I", data[at:at + 4])[0] * factor))
    target.write_bytes(data)
    return target


def cut(source: Path, target: Path, share: float) -> Path:
    """The first part of a file."""
    data = source.read_bytes()
    target.write_bytes(data[:int(len(data) * share)])
    return target


def damaged(source: Path, target: Path, frame: int, length: int = 60) -> Path:
    """The packet that comes as number ``frame`` in the file, spoilt."""
    with av.open(str(source)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][frame]
        place, size = packet.pos, min(packet.size, length)
    data = bytearray(source.read_bytes())
    data[place:place + size] = bytes(byte ^ 0x5A for byte in data[place:place + size])
    target.write_bytes(data)
    return target


def write_table_first(path: Path, frames: int = 48, fps: int = 25) -> Path:
    """An mp4 whose table of contents stands before its frames, so that it plays even when it is cut off; noisy, so that each
    frame takes bytes."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "12", "bf": "2", "threads": "1", "crf": "10"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            image = LEVELS[number] + rng.integers(-5, 6, (64, 64, 1)).repeat(3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.clip(image, 0, 255).astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path
