"""Frames per second from file to detections, and the share of the machine's own matrix rate, by every way to compute.

    python -m tests.benchmarks.throughput --rounds 5

VideoMAE-S with random weights and 20 classes, windows of 256 frames of 160 x 160 pixels. In each round every way takes its turn: the
model on one window that is in memory, between two times of products of square matrices of its dtype (int8: of float32), from which the
machine's rate comes; and ``detect_videos`` on a rendered video (640 x 360, decoded while the model runs). The share is multiply-adds of
a window, in the full count, by its time, over the mean of the two rates. Scores and boundaries are compared with those of eager float32.
Ways that take more than half a minute for a window run in one round only. Prints a Markdown table and writes it, with all figures as
JSON, to tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

# Before torch is imported, as the command line does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import Tensor

from tadshrink.compiling import CompiledDetector
from tadshrink.data.sources import VideoSource
from tadshrink.data.synthetic import write_video
from tadshrink.data.timeline import Video
from tadshrink.device import Compute
from tadshrink.evaluation.candidates import scored
from tadshrink.evaluation.inference import Model, count_windows, detect_videos
from tadshrink.files import write_json, write_text
from tadshrink.models.detector import Detector
from tadshrink.models.presets import preset
from tadshrink.onnx_export.precision import quantise
from tadshrink.onnx_export.runtime import OnnxDetector
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.onnx_export.writing import write_onnx
from tadshrink.profiling.macs import detector_macs
from tadshrink.profiling.windows import example_window
from tadshrink.reporting import SILENT

RESULTS = Path(__file__).parent / "results"
FRAMES = 256
#: Side of the matrices whose product gives the rate, for how many seconds they are multiplied, and seconds of a window from which on one
#: round is enough.
SIDE, SUSTAINED, SLOW = 2048, 1.5, 30.0
FIRST = "eager float32"


@dataclass
class Way:
    """A way to compute, and what it took."""

    model: Model
    dtype: torch.dtype
    milliseconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    frames_per_second: list[float] = field(default_factory=list)
    scores: float = 0.0
    boundaries: float = 0.0

    @property
    def compute(self) -> Compute:
        return Compute(torch.device("cpu"), self.dtype, "benchmark")

    @torch.inference_mode()
    def __call__(self, window: tuple[Tensor, Tensor]) -> Any:
        with self.compute.autocast():
            return self.model(*window)


def detector() -> Detector:
    """With random weights."""
    config = preset("videomae-s", [f"class {number}" for number in range(20)])
    sampling = config.sampling.model_copy(update={"window": FRAMES // config.sampling.frames_per_cell, "snippet_stride": 1})
    torch.manual_seed(0)
    return Detector(config.model_copy(update={"sampling": sampling})).eval()


def ways(model: Detector, folder: Path, compiled: bool) -> dict[str, Way]:
    """All that are compared."""
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", "int8")}
    write_onnx(model, "", paths["fp32"], OnnxSettings(provider="cpu"), example_window(model.config))
    quantise(paths["fp32"], paths["int8"], model.config, None)
    found = {FIRST: Way(model, torch.float32), "eager bfloat16": Way(model, torch.bfloat16)}
    if compiled:
        # Each its own graph.
        found |= {f"compiled {name}": Way(CompiledDetector(model, SILENT), getattr(torch, name)) for name in ("float32", "bfloat16")}
    return found | {f"ONNX Runtime {name}": Way(OnnxDetector.open(path, "cpu"), torch.float32) for name, path in paths.items()}


def render(path: Path, windows: int) -> None:
    """So many windows of a picture of blocks that moves."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (110, 145, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = np.stack([picture[t % 400:, t % 400:][:360, :640] for t in range(FRAMES * windows)])
    write_video(path, frames, 30)


def timed(run: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


@torch.inference_mode()
def matrix_rate(dtype: torch.dtype) -> float:
    """Multiply-adds per second over a second of products, as long as no burst of the clock lasts."""
    one, other = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    torch.mm(one, other)
    started, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - started) < SUSTAINED:
        torch.mm(one, other)
        count += 1
    return SIDE**3 * count / taken


def compare(found: dict[str, Way], window: tuple[Tensor, Tensor]) -> None:
    """What each says differs so much from what the first one says, at most; warms all of them up."""
    expected = scored(found[FIRST](window))
    for way in found.values():
        output = way(window)
        output = output if isinstance(way.model, OnnxDetector) else scored(output)
        way.scores = (output.scores.float() - expected.scores).abs().max().item()
        way.boundaries = (output.segments.float() - expected.segments).abs().max().item()


def measure(found: dict[str, Way], video: Video, model: Detector, rounds: int) -> None:
    """Time all in turn. Each window lies between two measurements of the machine's rate, which is not the same at all times."""
    window, source = example_window(model.config), VideoSource(model.config.sampling)
    frames = count_windows([video], source) * FRAMES
    compare(found, window)
    for number in range(rounds):
        for way in found.values():
            if number and way.milliseconds[0] > 1000 * SLOW:
                continue
            before = matrix_rate(way.dtype)
            way.milliseconds.append(1000 * timed(lambda way=way: way(window)))
            way.rates.append((before + matrix_rate(way.dtype)) / 2)
            way.frames_per_second.append(frames / timed(lambda way=way: detect_videos(way.model, [video], source, way.compute, 1)))


def table(record: dict[str, Any]) -> str:
    """A row for each way, as Markdown."""
    rates = ", ".join(f"{name} {rate / 1e9:.0f} G/s" for name, rate in record["rates"].items())
    lines = [f"{record['macs'] / 1e9:.1f} GMACs in a window; the machine multiplies matrices at {rates} MACs, {record['threads']} threads.", "",
             "| way | a window | share of the matrix rate | frames/s, file to detections | against eager float32 | scores differ by | "
             "boundaries (cells) |", "|---" * 7 + "|"]
    for name, way in record["ways"].items():
        lines.append(f"| {name} | {way['ms'] / 1000:.2f} s | {way['share']:.0%} of {way['rate_of']} | {way['frames_per_second']:.1f} | "
                     f"{way['speedup']:.2f}x | {way['scores']:.1e} | {way['boundaries']:.1e} |")
    return "\n".join(lines) + "\n"


def summary(found: dict[str, Way], macs: int) -> dict[str, Any]:
    """Medians; a share is that of the rates right before and after the window."""
    first = median(found[FIRST].frames_per_second)
    rows = {}
    for name, way in found.items():
        kind, ms = str(way.dtype).removeprefix("torch."), median(way.milliseconds)
        shares = [macs / (each / 1000) / rate for each, rate in zip(way.milliseconds, way.rates, strict=True)]
        rows[name] = {"ms": ms, "share": median(shares), "shares": shares, "rate_of": kind, "frames_per_second": median(way.frames_per_second),
                      "speedup": median(way.frames_per_second) / first, "scores": way.scores, "boundaries": way.boundaries,
                      "all_ms": way.milliseconds, "all_rates": way.rates, "all_frames_per_second": way.frames_per_second}
    rates = {name: median(rate for way in found.values() if way.dtype == getattr(torch, name) for rate in way.rates)
             for name in ("float32", "bfloat16")}
    return {"macs": macs, "rates": rates, "threads": torch.get_num_threads(), "ways": rows}


def main() -> None:
    """Run, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=4, help="that the video is long")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--eager", action="store_true", help="nothing is compiled")
    parser.add_argument("--no-results", action="store_true", help="print only")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = detector()
    with tempfile.TemporaryDirectory() as folder:
        found = ways(model, Path(folder), not given.eager)
        render(Path(folder) / "video.mp4", given.windows)
        video = Video("video", Path(folder) / "video.mp4")
        measure(found, video, model, given.rounds)
        record = summary(found, detector_macs(model).total)
    print(table(record))
    if not given.no_results:
        command = f"python -m tests.benchmarks.throughput --rounds {given.rounds} --windows {given.windows} --threads {given.threads}"
        write_json(RESULTS / "throughput.json", {"command": command, "machine": platform.machine(), "torch": torch.__version__, **record})
        write_text(RESULTS / "throughput.md", table(record))


if __name__ == "__main__":
    main()
