"""Scoring 20,000 detections in 213 videos of 20 classes at five thresholds, beside plain loops over the same.

    python -m tests.benchmarks.mean_ap --rounds 7

The inputs are random, as many as on the test videos of THUMOS-14; the file of detections is read from disk every time. Both give the
same mAP. The median of the rounds counts, in seconds of the clock and of the processor. Prints a Markdown table and writes it,
with all figures as JSON, to tests/benchmarks/results/.
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
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tadshrink.evaluation.mean_ap import TIOU_THRESHOLDS
from tadshrink.evaluation.rules import RULES
from tadshrink.files import write_json, write_text
from tadshrink.stages.score import score_results
from tests.evaluation.plain import plain_map

RESULTS = Path(__file__).parent / "results"
VIDEOS, CLASSES, SEGMENTS, DETECTIONS = 213, 20, 3358, 20_000
MEASURED = ("activitynet", "thumos14")


def make(folder: Path) -> None:
    """truth.json and found.json: videos of 200 s, one or two classes in each, detections around segments and elsewhere."""
    random, names = np.random.default_rng(0), [f"class {number}" for number in range(CLASSES)]
    database: dict[str, Any] = {f"video {video}": {"subset": "testing", "annotations": [], "ambiguous": [[0.0, 5.0]] if video % 5 == 0 else []}
                                for video in range(VIDEOS)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in database}
    shares = random.dirichlet(np.ones(VIDEOS))
    for video, name in enumerate(database):
        own = random.choice(names, random.integers(1, 3), replace=False)
        for start in random.uniform(0, 190, max(1, round(SEGMENTS * shares[video]))):
            segment = [round(float(start), 1), round(float(start + random.uniform(1, 9)), 1)]
            database[name]["annotations"].append({"segment": segment, "label": str(random.choice(own))})
    for video in random.integers(0, VIDEOS, DETECTIONS):
        items = database[f"video {video}"]["annotations"]
        item = items[random.integers(len(items))]
        start, end = np.array(item["segment"]) + random.normal(0, 1.5, 2) + (random.random() < 0.3) * random.uniform(-100, 100)
        label = item["label"] if random.random() < 0.7 else str(random.choice(names))
        found[f"video {video}"].append({"segment": [round(float(start), 2), round(float(max(start, end)), 2)], "label": label,
                                        "score": round(float(random.random()), 4)})
    (folder / "truth.json").write_text(json.dumps({"database": database}))
    (folder / "found.json").write_text(json.dumps({"results": found}))


def by_loops(folder: Path, rule: str) -> float:
    """Average mAP by loops over one detection after the other."""
    database = json.loads((folder / "truth.json").read_text())["database"]
    results = json.loads((folder / "found.json").read_text())["results"]
    truth = {name: [(*item["segment"], item["label"]) for item in entry["annotations"]] for name, entry in database.items()}
    found = {name: [(*item["segment"], item["label"], item["score"]) for item in items] for name, items in results.items()}
    regions = {name: entry["ambiguous"] for name, entry in database.items()}
    classes = sorted({label for actions in truth.values() for *_, label in actions})
    return float(np.mean(list(plain_map(rule, truth, found, classes, TIOU_THRESHOLDS, regions).values())))


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - clock, time.process_time() - processor


def measure(folder: Path, rule: str, rounds: int) -> dict[str, Any]:
    """Median times of everything that eval --results tells, and one time of the loops (mAP alone)."""
    def ours() -> float:
        return score_results(folder / "found.json", folder / "truth.json", rule=RULES[rule]).average

    runs = [timed(ours) for _ in range(rounds)]
    expected, loop_clock, loop_processor = timed(lambda: by_loops(folder, rule))
    assert abs(runs[0][0] - expected) < 1e-9, (runs[0][0], expected)
    return {"rule": rule, "average_map": expected, "seconds": median(run[1] for run in runs), "processor": median(run[2] for run in runs),
            "all_seconds": [run[1] for run in runs], "loops": loop_clock, "loops_processor": loop_processor}


def command(folder: Path) -> float:
    """Seconds of the whole command, start-up included."""
    arguments = ["eval", "--results", folder / "found.json", "--annotations", folder / "truth.json", "--json"]
    done = timed(lambda: subprocess.run([sys.executable, "-m", "tadshrink", *map(str, arguments)], check=True, capture_output=True))
    return done[1]


def table(records: list[dict[str, Any]], whole: float) -> str:
    """Markdown."""
    lines = ["| rule | tadshrink: file, mAP, recall, errors, interval | processor time | plain loops: mAP only |", "|---|---|---|---|"]
    lines += [f"| {record['rule']} | {record['seconds']:.2f} s | {record['processor']:.2f} s | {record['loops']:.1f} s |" for record in records]
    return "\n".join(lines) + f"\n\nThe whole command, start-up included: {whole:.2f} s.\n"


def main() -> None:
    """Run, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        records = [measure(folder, rule, rounds) for rule in MEASURED]
        whole = median(command(folder) for _ in range(rounds))
    text = table(records, whole)
    write_json(RESULTS / "mean_ap.json", {
        "command": f"python -m tests.benchmarks.mean_ap --rounds {rounds}", "machine": platform.machine(), "cores": os.cpu_count(),
        "python": platform.python_version(), "numpy": np.__version__, "detections": DETECTIONS, "videos": VIDEOS, "classes": CLASSES,
        "thresholds": list(TIOU_THRESHOLDS), "records": records, "command_seconds": whole})
    write_text(RESULTS / "mean_ap.md", text)
    print(text)


if __name__ == "__main__":
    main()
