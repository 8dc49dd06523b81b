"""Soft-NMS: detections per second, beside a numpy loop and a C++ loop (where g++ is) that take the classes one by one.

    python -m tests.benchmarks.nms --rounds 7

All contenders get the same random segments, in turn, and must give the same detections; the median of the rounds counts.
Prints a Markdown table and writes it, with all figures as JSON, to tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.nms import nms_many
from tadshrink.files import write_json, write_text
from tadshrink.models.config import PostprocessConfig

RESULTS = Path(__file__).parent / "results"
CLASSES = 20
Contender = Callable[[list[Detections], PostprocessConfig], list[Detections]]
#: (start, end, score) of one class, changed in place to the order in which they are kept -> how many are.
Loop = Callable[[np.ndarray, np.ndarray, np.ndarray, PostprocessConfig], int]

CPP = """
#include <algorithm>
#include <cmath>
#include <vector>
extern "C" int soft_nms(float *start, float *end, float *score, int n, float sigma, float low) {
    std::vector<float> size(n);
    for (int i = 0; i < n; ++i) size[i] = end[i] - start[i] + 1e-6f;
    auto swap = [&](int a, int b) {
        std::swap(start[a], start[b]); std::swap(end[a], end[b]); std::swap(score[a], score[b]); std::swap(size[a], size[b]);
    };
    for (int i = 0; i < n; ++i) {
        int best = i;
        for (int j = i + 1; j < n; ++j) if (score[j] > score[best]) best = j;
        swap(i, best);
        for (int j = i + 1; j < n;) {
            float shared = std::max(0.f, std::min(end[i], end[j]) - std::max(start[i], start[j]));
            float overlap = shared / (size[i] + size[j] - shared);
            score[j] *= std::exp(-(overlap * overlap) / sigma);
            if (score[j] < low) swap(j, --n); else ++j;
        }
    }
    return n;
}
"""


@dataclass(frozen=True)
class Setting:
    """What is measured: segments per class, videos, and how many detections are kept of a video."""

    per_class: int
    videos: int
    limit: int
    min_score: float = 0.0

    @property
    def detections(self) -> int:
        return self.per_class * CLASSES * self.videos

    def title(self) -> str:
        kept = "all kept" if self.limit >= self.per_class * CLASSES else f"best {self.limit:,} kept"
        low = f", scores >= {self.min_score}" if self.min_score else ""
        return f"{self.per_class:,} segments x {CLASSES} classes, {self.videos} video{'s' * (self.videos > 1)}, {kept}{low}"

    def inputs(self) -> list[Detections]:
        """Actions of about 10 s in videos of 1,000 s."""
        random, count = np.random.default_rng(0), self.per_class * CLASSES
        videos = []
        for _ in range(self.videos):
            start = random.uniform(0, 1000, count)
            segments = np.stack([start, start + random.exponential(10, count)], 1)
            videos.append(Detections(segments, random.random(count), random.permutation(count) % CLASSES))
        return videos


SETTINGS = (
    Setting(2000, 1, 2000),
    Setting(2000, 1, 2000, 0.001),
    Setting(2000, 1, 40_000),
    Setting(2000, 1, 40_000, 0.001),
    Setting(100, 1, 2000),
    Setting(100, 32, 2000),
)


def numpy_loop(start: np.ndarray, end: np.ndarray, score: np.ndarray, config: PostprocessConfig) -> int:
    """One step after the other, each on all that is left of the class."""
    size, sigma, count = end - start + np.float32(1e-6), np.float32(config.nms_sigma), len(score)
    place = 0
    while place < count:
        best = place + score[place:count].argmax()
        for column in (start, end, score, size):
            column[place], column[best] = column[best], column[place]
        rest = slice(place + 1, count)
        shared = np.maximum(np.minimum(end[rest], end[place]) - np.maximum(start[rest], start[place]), np.float32(0))
        overlap = shared / (size[place] + size[rest] - shared)
        score[rest] *= np.exp(-(overlap * overlap) / sigma)
        alive = np.flatnonzero(score[rest] >= config.nms_min_score) + place + 1
        for column in (start, end, score, size):
            column[place + 1 : place + 1 + len(alive)] = column[alive]
        place, count = place + 1, place + 1 + len(alive)
    return count


def cpp_loop(folder: Path) -> Loop | None:
    """The same compiled, or None without a compiler."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    source, library = folder / "nms.cpp", folder / "nms.so"
    source.write_text(CPP)
    subprocess.run([compiler, "-O3", "-shared", "-fPIC", "-o", library, source], check=True)
    compiled, pointer = ctypes.CDLL(str(library)).soft_nms, ctypes.POINTER(ctypes.c_float)
    compiled.argtypes = [pointer, pointer, pointer, ctypes.c_int, ctypes.c_float, ctypes.c_float]

    def loop(start: np.ndarray, end: np.ndarray, score: np.ndarray, config: PostprocessConfig) -> int:
        columns = (column.ctypes.data_as(pointer) for column in (start, end, score))
        return compiled(*columns, len(score), config.nms_sigma, config.nms_min_score)

    return loop


def class_by_class(loop: Loop) -> Contender:
    """Every class of every video on its own; then sort and cap."""

    def one_class(part: Detections, config: PostprocessConfig) -> Detections:
        columns = [*np.ascontiguousarray(part.segments.T), part.scores.copy()]
        count = loop(*columns, config)
        start, end, score = (column[:count] for column in columns)
        return Detections(np.stack([start, end], 1), score, part.labels[:count])

    def one_video(video: Detections, config: PostprocessConfig) -> Detections:
        joined = Detections.concatenate([one_class(video.take(video.labels == label), config) for label in range(CLASSES)])
        return joined.take(np.argsort(-joined.scores, kind="stable")[: config.max_detections])

    return lambda videos, config: [one_video(video, config) for video in videos]


def check(found: list[Detections], expected: list[Detections]) -> None:
    """The same but for rounding of exponentials."""
    for a, b in zip(found, expected, strict=True):
        count = min(len(a), len(b))
        assert abs(len(a) - len(b)) <= 2
        np.testing.assert_allclose(a.scores[:count], b.scores[:count], rtol=1e-3, atol=1e-30)


def measure(contenders: dict[str, Contender], setting: Setting, rounds: int) -> dict[str, Any]:
    """Median seconds and detections per second of each contender, taken in turn."""
    config = PostprocessConfig(nms_sigma=0.5, nms_min_score=setting.min_score, max_detections=setting.limit)
    videos, seconds = setting.inputs(), {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            started = time.perf_counter()
            found = contender(videos, config)
            seconds[name].append(time.perf_counter() - started)
            check(found, nms_many(videos, config))
    figures = {name: {"seconds": median(times), "detections_per_second": setting.detections / median(times), "all_seconds": times}
               for name, times in seconds.items()}
    return {"setting": setting.title(), "detections": setting.detections, "contenders": figures}


def table(records: list[dict[str, Any]], names: list[str]) -> str:
    """Detections per second (in thousands) and milliseconds, as Markdown."""
    lines = ["| setting | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for record in records:
        cells = (record["contenders"][name] for name in names)
        figures = (f"{cell['detections_per_second'] / 1000:,.0f} k/s ({1000 * cell['seconds']:,.1f} ms)" for cell in cells)
        lines.append(f"| {record['setting']} | " + " | ".join(figures) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        compiled = cpp_loop(Path(folder))
        contenders: dict[str, Contender] = {"tadshrink": nms_many, "numpy loop": class_by_class(numpy_loop)}
        if compiled:
            contenders["C++ loop (g++ -O3)"] = class_by_class(compiled)
        records = [measure(contenders, setting, rounds) for setting in SETTINGS]
    write_json(RESULTS / "nms.json", {"command": f"python -m tests.benchmarks.nms --rounds {rounds}", "machine": platform.machine(),
                                      "python": platform.python_version(), "numpy": np.__version__, "records": records})
    write_text(RESULTS / "nms.md", table(records, list(contenders)))
    print(table(records, list(contenders)))


if __name__ == "__main__":
    main()
