"""Progressive block drop with and without alignment, over several seeds, on the built-in synthetic dataset.

    python -m tests.benchmarks.block_drop --seeds 3 --work-dir /tmp/bench

Prints a Markdown table and writes it, with all figures as JSON, to tests/benchmarks/results/. Runs are resumable: repeat
the command after an interruption. The seed decides the alignment (order of the data, augmentation, LoRA's start);
dropping without alignment has nothing random in it, so its figure is the same for every seed and is measured once.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from statistics import mean
from typing import Any

# Before torch is imported, as the command line does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tadshrink.cli.console import ConsoleReporter
from tadshrink.compress.alignment import AlignSettings
from tadshrink.files import write_json, write_text
from tadshrink.pipeline import run
from tadshrink.run_settings import RunSettings
from tadshrink.stages.common import DatasetChoice
from tests.benchmarks.seeds import cells

RESULTS = Path(__file__).parent / "results"


def measure(seeds: int, target: str, work_dir: Path) -> list[dict[str, Any]]:
    """One record per run: seed, whether it was aligned, and what `tadshrink run` returned."""
    runs = [(seed, True) for seed in range(seeds)] + [(0, False)]
    records = []
    for seed, heal in runs:
        settings = RunSettings(target=target, align=AlignSettings(seed=seed, heal="lora" if heal else "none"))
        folder = work_dir / (f"seed-{seed}" if heal else "control")
        result = run(None, DatasetChoice("synthetic"), folder, settings, reporter=ConsoleReporter()).to_json()
        records.append({"seed": seed, "aligned": heal, **result})
    return records


def table(records: list[dict[str, Any]]) -> str:
    """Average mAP on the test split, as Markdown."""
    base = records[0]["baseline"]
    lines = ["| model | blocks | MACs | speed-up | test average mAP, per seed | mean | spread |", "|---|---|---|---|---|---|---|",
             f"| baseline | {base['blocks']} | 100 % | 1.00x | {base['test']['average_map']:.2f} | {base['test']['average_map']:.2f} | |"]
    for aligned, name in ((True, "aligned after each drop"), (False, "dropped, not aligned")):
        finals = [record["final"] for record in records if record["aligned"] == aligned]
        scores = [final["test"]["average_map"] for final in finals]
        speedup = mean(final["speedup"] for final in finals)
        lines.append(f"| {name} | {finals[0]['blocks']} | {finals[0]['macs'] / base['macs']:.1%} | {speedup:.2f}x "
                     f"| {' | '.join(cells(scores))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", default="25%")
    parser.add_argument("--work-dir", type=Path, default=Path("tadshrink-runs/block-drop"))
    given = parser.parse_args()
    records = measure(given.seeds, given.target, given.work_dir)
    write_json(RESULTS / "block_drop.json", {"command": f"python -m tests.benchmarks.block_drop --seeds {given.seeds} --target {given.target}",
                                             "records": [{key: value for key, value in record.items() if key not in ("work_dir", "output")}
                                                         for record in records]})
    write_text(RESULTS / "block_drop.md", table(records))
    print(table(records))


if __name__ == "__main__":
    main()
