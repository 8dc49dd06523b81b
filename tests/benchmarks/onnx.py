"""ONNX Runtime beside torch on the CPU: how long one window takes, and what became of the graph.

    python -m tests.benchmarks.onnx --rounds 6

Contenders: torch eagerly in float32 and in bfloat16 (autocast), ONNX Runtime in fp32 and in int8 (dynamic, and static with ranges
measured on noise: speed does not depend on them). All take the same window of noise, in one process with the same number of threads,
in turn and in another order each time; the ratio is that of medians, its spread the 5 % and 95 % quantile of the ratios turn by turn.
Counts the operators that ONNX Runtime runs after its own fusions. Prints a Markdown table and writes it, with all figures as JSON, to
tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from tadshrink.files import write_json, write_text
from tadshrink.models.detector import Detector
from tadshrink.models.presets import preset
from tadshrink.onnx_export.precision import quantise
from tadshrink.onnx_export.runtime import open_session
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.onnx_export.tracing import input_name
from tadshrink.onnx_export.writing import write_onnx
from tadshrink.profiling.windows import example_window

RESULTS = Path(__file__).parent / "results"
FIRST = "torch fp32"
#: Name -> preset, and frames of a window (None: the preset's own).
MODELS: dict[str, tuple[str, int | None]] = {
    "nano, 128 frames of 32 pixels": ("videomae-nano", None),
    "VideoMAE-S, 64 frames of 160 pixels": ("videomae-s", 64),
    "VideoMAE-S, 128 frames of 160 pixels": ("videomae-s", 128),
    "VideoMAE-S, 256 frames of 160 pixels": ("videomae-s", 256),
}
#: Operators that tell whether attention, GELU and LayerNorm were fused, or quantised.
TELLING = ("Attention", "Softmax", "Gelu", "BiasGelu", "Erf", "LayerNormalization", "SkipLayerNormalization", "MatMul", "FusedMatMul", "Gemm",
           "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul")
Run = Callable[[], object]


def detector_of(name: str, frames: int | None) -> Detector:
    """A preset with random weights for 20 classes."""
    config = preset(name, [f"class {number}" for number in range(20)])
    if frames:
        config = config.model_copy(update={"sampling": config.sampling.model_copy(update={"window": frames})})
    torch.manual_seed(0)
    return Detector(config).eval()


def graphs(detector: Detector, folder: Path) -> dict[str, Path]:
    """An ONNX file of each kind."""
    windows = example_window(detector.config)
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", "int8 dynamic", "int8 static")}
    write_onnx(detector, "", paths["fp32"], OnnxSettings(provider="cpu"), windows)
    quantise(paths["fp32"], paths["int8 dynamic"], detector.config, None)
    quantise(paths["fp32"], paths["int8 static"], detector.config, windows)
    return paths


def contenders(detector: Detector, paths: dict[str, Path]) -> dict[str, Run]:
    """Calls with one window."""
    inputs, masks = example_window(detector.config)
    feed = {input_name(detector.config): inputs.numpy(), "masks": masks.numpy()}

    def bfloat16() -> object:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return detector(inputs, masks)

    sessions = {f"ONNX Runtime {name}": open_session(path, "cpu") for name, path in paths.items()}
    runs: dict[str, Run] = {FIRST: lambda: detector(inputs, masks), "torch bf16": bfloat16}
    return runs | {name: lambda session=session: session.run(None, feed) for name, session in sessions.items()}


def operators(path: Path, folder: Path) -> dict[str, int]:
    """What ONNX Runtime runs, by kind of operator."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimised.onnx"), 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return dict(Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node).most_common())


@torch.inference_mode()
def measure(runs: dict[str, Run], rounds: int) -> dict[str, Any]:
    """Median milliseconds of each, and how much faster than the first it is."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(2):
        for run in runs.values():
            run()
    # In another order each time: who comes after the slowest one finds colder caches and a slower clock.
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for name in rng.permutation(list(runs)).tolist():
            started = time.perf_counter()
            runs[name]()
            times[name].append(1000 * (time.perf_counter() - started))
    first = np.array(times[FIRST])
    figures = {}
    for name, taken in times.items():
        low, high = np.quantile(first / np.array(taken), [0.05, 0.95]).tolist()
        figures[name] = {"median_ms": median(taken), "ratio": median(times[FIRST]) / median(taken), "low": low, "high": high, "all_ms": taken}
    return figures


def record(title: str, name: str, frames: int | None, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    detector = detector_of(name, frames)
    with tempfile.TemporaryDirectory() as folder:
        paths = graphs(detector, Path(folder))
        sizes = {kind: path.stat().st_size for kind, path in paths.items()}
        found = {kind: operators(path, Path(folder)) for kind, path in paths.items()}
        return {"model": title, "contenders": measure(contenders(detector, paths), rounds), "operators": found, "bytes": sizes}


def table(records: list[dict[str, Any]]) -> str:
    """Milliseconds and ratios, and the operators that tell what was fused, as Markdown."""
    names = list(records[0]["contenders"])
    lines = ["| model | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for one in records:
        cells = (one["contenders"][name] for name in names)
        figures = (f"{cell['median_ms']:,.1f} ms, {cell['ratio']:.2f}x ({cell['low']:.2f} to {cell['high']:.2f})" for cell in cells)
        lines.append(f"| {one['model']} | " + " | ".join(figures) + " |")
    lines += ["", "Operators that run, of " + records[0]["model"] + ":", ""]
    for kind, found in records[0]["operators"].items():
        lines.append(f"- {kind}: " + ", ".join(f"{name} {found[name]}" for name in TELLING if name in found))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--models", type=int, default=len(MODELS), help="only the first few")
    parser.add_argument("--no-results", action="store_true", help="print only")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    records = [record(title, *model, given.rounds) for title, model in list(MODELS.items())[: given.models]]
    if not given.no_results:
        versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
        write_json(RESULTS / "onnx.json", {"command": f"python -m tests.benchmarks.onnx --rounds {given.rounds} --threads {given.threads}",
                                           "machine": platform.machine(), "threads": given.threads, **versions, "records": records})
        write_text(RESULTS / "onnx.md", table(records))
    print(table(records))


if __name__ == "__main__":
    main()
