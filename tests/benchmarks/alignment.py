"""Peak memory and step time of alignment against full fine-tuning, at the size of VideoMAE-S.

    python -m tests.benchmarks.alignment --frames 128

Each variant runs in processes of its own, on windows of noise. Prints a Markdown table and writes it, with all figures as JSON, to
tests/benchmarks/results/. A step is that of `tadshrink align`: teacher, student, backward pass, optimizer, EMA. Peak memory is the largest
resident set (on a GPU: what torch allocated) above what was there before the models were built, in a process whose allocator gives
freed tensors back at once. The variants are timed in turn, and the fastest round of each counts. On a CPU the time of a step is
processor time, which other programs on the machine change little; the elapsed time is in the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

# Before torch is imported, as the command line does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RESULTS = Path(__file__).parent / "results"
#: What is compared: settings of the alignment ("again": computed again in the backward pass). The first is the measure of the others.
VARIANTS: dict[str, dict[str, Any]] = {
    "full fine-tuning": {"heal": "full"},
    "full fine-tuning, blocks again": {"heal": "full", "checkpointing": "blocks"},
    "LoRA": {},
    "LoRA, MLP again": {"checkpointing": "mlp"},
    "LoRA, blocks again": {"checkpointing": "blocks"},
    "LoRA after the cut": {"lora_blocks": "after-cut"},
    "LoRA after the cut, MLP again": {"lora_blocks": "after-cut", "checkpointing": "mlp"},
    "LoRA after the cut, blocks again": {"lora_blocks": "after-cut", "checkpointing": "blocks"},
}


def measure(variant: str, given: argparse.Namespace) -> dict[str, Any]:
    """Peak memory in bytes and seconds per step of one variant, in this process."""
    import torch

    from tadshrink.compress.alignment import AlignmentLosses
    from tadshrink.compress.settings import AlignSettings
    from tadshrink.compress.student import first_trained, make_student
    from tadshrink.data.loader import Batch
    from tadshrink.device import choose_compute
    from tadshrink.models.detector import Detector
    from tadshrink.models.presets import preset
    from tadshrink.training.loop import Task, fit

    classes = [str(number) for number in range(20)]
    config = preset("videomae-s", classes)
    config = config.model_copy(update={"sampling": config.sampling.model_copy(update={"window": given.frames, "frames_per_cell": 1})})
    compute = choose_compute(given.device, config.compute_width)
    _warm_up(compute.device)
    before = _memory(compute.device)
    torch.manual_seed(0)
    teacher = Detector(config).to(compute.device).eval()
    student = Detector(config, given.dropped).to(compute.device)
    student.load_state_dict({name: value for name, value in teacher.state_dict().items() if name in student.state_dict()})
    settings = AlignSettings(epochs=1, **VARIANTS[variant])
    first = first_trained(student, settings, [])
    make_student(student, settings, first)
    losses = AlignmentLosses(student, teacher, settings, first)
    size = config.sampling.frame_size
    frames = torch.randint(0, 256, (given.batch, 1, 3, given.frames, size, size), dtype=torch.uint8)
    segments = [torch.tensor([[4.0, 20.0], [30.0, 60.0]])] * given.batch
    batch = Batch(frames, torch.ones(given.batch, given.frames, dtype=torch.bool), segments, [torch.tensor([0, 1])] * given.batch)
    clock = time.process_time if compute.device.type == "cpu" else time.perf_counter
    ticks: list[tuple[float, float]] = []

    def lessons(epoch: int) -> Any:
        for _ in range(given.steps + 2):
            if compute.device.type == "cuda":
                torch.cuda.synchronize()
            ticks.append((clock(), time.perf_counter()))
            with compute.autocast():
                lesson = losses.lesson(batch)
            yield lesson

    fit(Task(student, losses, lessons, given.steps + 2), settings, compute)
    # The first step sets things up, and the end of the last one is not seen.
    seconds, elapsed = ([later[kind] - earlier[kind] for earlier, later in pairwise(ticks[1:])] for kind in range(2))
    if given.memory:
        return {"peak_bytes": _peak(compute.device) - before}
    trained = sum(value.numel() for value in student.parameters() if value.requires_grad)
    return {"variant": variant, "settings": VARIANTS[variant], "step_seconds": median(seconds), "elapsed_seconds": median(elapsed),
            "trained": trained, "first_trained": first, "device": str(compute.device), "dtype": compute.dtype_name,
            "threads": torch.get_num_threads()}


def _warm_up(device: Any) -> None:
    """What torch and peft set up once is no memory of a variant."""
    import peft  # noqa: F401
    import torch

    layer = torch.nn.Linear(8, 8).to(device)
    layer(torch.ones(2, 8, device=device)).sum().backward()
    torch.optim.AdamW(layer.parameters(), fused=True).step()


def _memory(device: Any) -> int:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _peak(device: Any) -> int:
    import resource

    import torch

    return torch.cuda.max_memory_allocated() if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(records: list[dict[str, Any]]) -> str:
    """All variants against the first one, as Markdown."""
    base = records[0]
    lines = ["| variant | trained weights | peak memory | of full | s per step | of full |", "|---|---|---|---|---|---|"]
    for item in records:
        memory, seconds = item["peak_bytes"], item["step_seconds"]
        lines.append(f"| {item['variant']} | {item['trained'] / 1e6:.1f} M | {memory / 1e9:.2f} GB | {memory / base['peak_bytes']:.0%} "
                     f"| {seconds:.2f} | {seconds / base['step_seconds']:.0%} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every variant, or in a child process one of them; print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=128, help="frames of a window, of 160 x 160 pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2, help="of all variants in turn; the fastest of each counts")
    parser.add_argument("--dropped", type=int, nargs="+", default=[4, 9], help="blocks that the student lacks")
    parser.add_argument("--device", default=None)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.variant:
        print(json.dumps(measure(given.variant, given)))
        return
    rounds = [[_timed(variant) for variant in VARIANTS] for _ in range(given.rounds)]
    fastest = [min(records, key=lambda record: record["step_seconds"]) for records in zip(*rounds, strict=True)]
    records = [record | _in_a_process(record["variant"], "--memory", "--steps", "1", MALLOC_MMAP_THRESHOLD_="1000000") for record in fastest]
    shown = table(records)
    RESULTS.mkdir(exist_ok=True)
    command = " ".join(["python -m tests.benchmarks.alignment", *sys.argv[1:]])
    (RESULTS / "alignment.json").write_text(json.dumps({"command": command, "arguments": vars(given), "records": records}, indent=1) + "\n")
    (RESULTS / "alignment.md").write_text(shown)
    print(shown)


def _timed(variant: str) -> dict[str, Any]:
    record = _in_a_process(variant)
    print(f"{variant}: {record['step_seconds']:.2f} s per step", file=sys.stderr, flush=True)
    return record


def _in_a_process(variant: str, *options: str, **environment: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.alignment", *sys.argv[1:], "--variant", variant, *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment).stdout)


if __name__ == "__main__":
    main()
