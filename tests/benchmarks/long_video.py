"""Detection in one long video: peak memory of the process, and how much faster than the video it is.

    python -m tests.benchmarks.long_video --minutes 60

Renders a synthetic video at low resolution (in pieces, so that it need not fit into memory), runs ``tadshrink detect`` on it in a process
of its own, and fails if that took more than 1.5 GB. Prints the figures and writes them as JSON to tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np

import tadshrink
from tadshrink.files import write_json

RESULTS = Path(__file__).parent / "results"
BASELINE = Path(tadshrink.__file__).parent / "assets" / "synthetic-nano.pth"
LIMIT = 1.5e9
WIDTH, HEIGHT, FPS = 64, 48, 30


def render(path: Path, minutes: float) -> None:
    """A square that wanders over a textured ground."""
    ground = np.random.default_rng(0).integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": "250"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(round(minutes * 60 * FPS)):
            image = ground.copy()
            left, top = (int((size - 14) * (0.5 + 0.5 * np.sin(number / period))) for size, period in ((WIDTH, 23), (HEIGHT, 31)))
            image[top:top + 14, left:left + 14] = (230, 200, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def detect(model: Path, video: Path) -> dict[str, Any]:
    """Run the command; its highest resident memory is that of the process alone."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen([sys.executable, "-m", "tadshrink", "detect", str(model), str(video), "--json"], stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        out.seek(0)
        found = json.load(out)["results"][video.stem]
    scale = 1 if sys.platform == "darwin" else 1024
    return {"seconds": time.perf_counter() - started, "processor_seconds": usage.ru_utime + usage.ru_stime,
            "peak_bytes": usage.ru_maxrss * scale,
            "detections": len(found)}


def main() -> None:
    """Run, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--model", type=Path, default=BASELINE, help="checkpoint or .onnx file; default: the one in the package")
    parser.add_argument("--no-results", action="store_true", help="print only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.mp4"
        render(video, given.minutes)
        figures = {"minutes": given.minutes, "model": given.model.name, "file_bytes": video.stat().st_size, **detect(given.model, video)}
    figures["real_time_factor"] = 60 * given.minutes / figures["seconds"]
    print(f"{given.minutes:g} minutes of video in {figures['seconds']:.0f} s ({figures['real_time_factor']:.0f}x real time), "
          f"at most {figures['peak_bytes'] / 1e6:.0f} MB")
    if not given.no_results:
        write_json(RESULTS / "long_video.json", {"command": f"python -m tests.benchmarks.long_video --minutes {given.minutes:g}",
                                                 "machine": platform.machine(), **figures})
    if figures["peak_bytes"] > LIMIT:
        sys.exit(f"more than {LIMIT / 1e9} GB")


if __name__ == "__main__":
    main()
