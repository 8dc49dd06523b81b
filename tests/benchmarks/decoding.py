"""Decoding: frames per second of the video that pass, for windows in order, windows in random order, and each on its own.

    python -m tests.benchmarks.decoding --rounds 3

Renders H.264 clips of a moving picture (30 frames per second, B-frames, a key frame every 250 frames at least) and reads
overlapping windows of one frame in four, resized to squares of 160 pixels, as inference does. The median of the rounds counts.
Prints a Markdown table and writes it, with all figures as JSON, to tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

from tadshrink.data.decoding import decode
from tadshrink.data.sources import VideoSource
from tadshrink.data.timeline import Video
from tadshrink.data.video import FrameStore
from tadshrink.data.video_index import index_video
from tadshrink.data.windows import sliding_windows
from tadshrink.files import write_json, write_text
from tadshrink.models.config import SamplingConfig

RESULTS = Path(__file__).parent / "results"
FPS = 30
#: A window is 96 cells of one frame in four: 12.8 s; the next one starts after half of it.
SAMPLING = SamplingConfig(window=96, snippet_stride=4, frame_size=160)
#: What is measured: it gets a clip, and says how many frames were decoded.
Task = Callable[[Path], int]


@dataclass(frozen=True)
class Clip:
    """What is rendered: width, height and length in seconds."""

    width: int
    height: int
    seconds: int

    def title(self) -> str:
        return f"{self.width} x {self.height}, {self.seconds} s"

    def render(self, folder: Path) -> Path:
        path = folder / f"{self.width}.mp4"
        blocks = np.random.default_rng(0).integers(0, 256, (self.height // 8 + 1, self.width // 8 + 65, 3), dtype=np.uint8)
        scene = blocks.repeat(8, 0).repeat(8, 1)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
            for number in range(self.seconds * FPS):
                left = number % 512
                image = np.ascontiguousarray(scene[:self.height, left:left + self.width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return path


CLIPS = (Clip(320, 240, 60), Clip(1280, 720, 30))


def packets_only(path: Path) -> int:
    """The index: all packets are read, and none is decoded."""
    index_video(path)
    return 0


def frames_only(path: Path) -> int:
    """Every frame is decoded, and none converted."""
    return sum(1 for _ in decode(index_video(path)))


def in_order(path: Path) -> int:
    """As inference reads a long video: nothing is kept but what windows share."""
    return _windows(path, lambda count: range(count), max_bytes=0)


def at_random(path: Path) -> int:
    """As training reads videos that do not fit into memory."""
    return _windows(path, lambda count: np.random.default_rng(0).permutation(count).tolist(), max_bytes=0)


def at_random_kept(path: Path) -> int:
    """As training reads videos that do."""
    return _windows(path, lambda count: np.random.default_rng(0).permutation(count).tolist(), max_bytes=8 << 30)


def one_by_one(path: Path) -> int:
    """Each window as if it were the only one."""
    return sum(_windows(path, lambda count, number=number: [number], max_bytes=0) for number in range(len(_grid(path))))


TASKS: dict[str, Task] = {"index": packets_only, "decode only": frames_only, "windows in order": in_order,
                          "windows at random, kept": at_random_kept, "windows at random": at_random, "windows one by one": one_by_one}


def _grid(path: Path) -> list[Any]:
    return sliding_windows(-(-index_video(path).frames // SAMPLING.snippet_stride), SAMPLING)


def _windows(path: Path, order: Callable[[int], Any], max_bytes: int) -> int:
    source, windows = VideoSource(SAMPLING, FrameStore(SAMPLING.frame_size, max_bytes)), _grid(path)
    for number in order(len(windows)):
        source.load(Video("clip", path), windows[number])
    return source.frames.decoded[path]


def measure(path: Path, clip: Clip, rounds: int) -> dict[str, Any]:
    """Median seconds of each task, frames of the clip per second, and how often each frame was decoded on the average."""
    frames, seconds, decoded = index_video(path).frames, {name: [] for name in TASKS}, {}
    for _ in range(rounds):
        for name, task in TASKS.items():
            started = time.perf_counter()
            decoded[name] = task(path)
            seconds[name].append(time.perf_counter() - started)
    figures = {name: {"seconds": median(times), "frames_per_second": frames / median(times), "decoded_per_frame": decoded[name] / frames,
                      "all_seconds": times} for name, times in seconds.items()}
    return {"clip": clip.title(), "frames": frames, "windows": len(_grid(path)), "bytes": path.stat().st_size, "tasks": figures}


def table(records: list[dict[str, Any]]) -> str:
    """Frames per second and how often each was decoded, as Markdown."""
    lines = ["| clip | " + " | ".join(TASKS) + " |", "|---" * (len(TASKS) + 1) + "|"]
    for record in records:
        cells = (record["tasks"][name] for name in TASKS)
        figures = (f"{cell['frames_per_second']:,.0f} frames/s" + (f" ({cell['decoded_per_frame']:.2f} x)" if cell["decoded_per_frame"] else "")
                   for cell in cells)
        lines.append(f"| {record['clip']}, {record['windows']} windows | " + " | ".join(figures) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        records = [measure(clip.render(Path(folder)), clip, rounds) for clip in CLIPS]
    write_json(RESULTS / "decoding.json", {"command": f"python -m tests.benchmarks.decoding --rounds {rounds}", "machine": platform.machine(),
                                           "cores": os.cpu_count(), "python": platform.python_version(), "av": av.__version__,
                                           "records": records})
    write_text(RESULTS / "decoding.md", table(records))
    print(table(records))


if __name__ == "__main__":
    main()
