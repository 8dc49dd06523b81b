"""Block selection by mAP: seconds of the naive way, of shared work, and of a race.

    python -m tests.benchmarks.selection --seeds 10 --videos 32

Naive: the whole model, and the model without each block, are evaluated one after the other on all videos, each decoding them
anew. Shared: ``select``. Race: ``select --race``, with the orders of videos drawn by several seeds; the mean counts. The scores of
the shared way must be those of the naive one, number for number; how often the race has the same winner is told.

Two models: the trained nano detector of the package on the held-out videos of the synthetic dataset, and one of VideoMAE-S's size
with random weights on rendered videos (640 x 360, 30 frames per second, one short window each), whose own best detections are the
annotations. Prints a Markdown table and writes it, with all figures as JSON, to tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

# Before torch is imported, as the command line does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
import yaml

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.compress.candidates import WHOLE, Key, Ranking
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.compress.selection import rank_units
from tadshrink.data.datasets import HELDOUT, Dataset
from tadshrink.data.sources import open_source
from tadshrink.data.synthetic import write_video
from tadshrink.evaluation.detections import to_json
from tadshrink.evaluation.inference import detect_videos, split_videos
from tadshrink.files import write_json, write_text
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector, build_detector
from tadshrink.models.presets import preset
from tadshrink.models.units import Unit
from tadshrink.reporting import SILENT
from tadshrink.run_inputs import builtin_baseline, prepare_data
from tadshrink.stages.common import DatasetChoice, Opened, open_pair
from tadshrink.stages.evaluate import evaluate_detector

RESULTS = Path(__file__).parent / "results"
T = TypeVar("T")
CLASSES = ("a", "b", "c")
#: Of each video of the larger model, so many of its own detections are taken for true.
ACTIONS = 3
SPLIT = "testing"


@dataclass(frozen=True)
class Case:
    """A model and the videos on which its blocks are judged."""

    name: str
    opened: Opened
    data: Dataset
    split: str

    def naive(self) -> dict[Key, float]:
        """mAP of the whole model and of the model without each block."""
        detector = self.opened.detector
        models: list[Key] = [WHOLE, *((block,) for block in detector.blocks.indices)]
        return {key: evaluate_detector(replace(self.opened, detector=without(detector, key)), self.data, self.split, self.source()).average
                for key in models}

    def ranking(self, **options: Any) -> Ranking:
        return rank_units(self.opened.detector, self.data, self.split, SelectOptions(**options), self.source(), self.opened.compute)

    def source(self):  # type: ignore[no-untyped-def]
        """Nothing is decoded yet."""
        return open_source(self.data, self.opened.detector.config.sampling)


def without(detector: Detector, units: tuple[Unit, ...]) -> Detector:
    """A detector that was built without these blocks."""
    small = Detector(detector.config, units)
    state = {name: value for name, value in detector.state_dict().items() if name in small.state_dict()}
    return build_detector(detector.config, state, units, "benchmark")


def nano(folder: Path) -> Case:
    """The package's own."""
    choice = DatasetChoice("synthetic")
    prepare_data(choice, SILENT)
    return Case("videomae-nano, trained", *open_pair(builtin_baseline(choice), choice, "cpu", SILENT), HELDOUT)


def small(folder: Path, videos: int) -> Case:
    """Of VideoMAE-S's size."""
    config = preset("videomae-s", CLASSES)
    head = config.head.model_copy(update={"width": 128, "levels": 4, "regression_ranges": ((0, 4), (4, 8), (8, 16), (16, 10000))})
    sampling = config.sampling.model_copy(update={"window": 16, "frames_per_cell": 1, "snippet_stride": 4, "frame_size": 112})
    config = config.model_copy(update={"head": head, "sampling": sampling})
    names = [f"video_{number:03}" for number in range(videos)]
    for number, name in enumerate(names):
        write_video(folder / "videos" / f"{name}.mp4", scene(number), 30)
    settings = {"name": "rendered", "annotations": "annotations.json", "videos": "videos", "classes": list(CLASSES), "window": 16,
                "frames_per_cell": 1, "snippet_stride": 4, "frame_size": 112}
    (folder / "data.yaml").write_text(yaml.safe_dump(settings))
    annotate(folder, {name: [{"segment": [0.0, 1.0], "label": "a"}] for name in names})
    save_checkpoint(folder / "base.pth", checkpoint(config))
    opened, data = open_pair(folder / "base.pth", DatasetChoice(str(folder / "data.yaml")), "cpu", SILENT)
    found = detect_videos(opened.detector, split_videos(data, SPLIT), open_source(data, config.sampling), opened.compute)
    best = {name: items[:ACTIONS] for name, items in to_json(found, CLASSES)["results"].items()}
    annotate(folder, {name: [{key: item[key] for key in ("segment", "label")} for item in items] for name, items in best.items()})
    return Case("videomae-s, random", *open_pair(folder / "base.pth", DatasetChoice(str(folder / "data.yaml")), "cpu", SILENT), SPLIT)


def scene(seed: int) -> np.ndarray:
    """64 frames of a picture of blocks that moves: uint8 [64, 360, 640, 3]."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (46 + 64, 81 + 64, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    speed = rng.integers(1, 8, 2)
    return np.stack([picture[speed[0] * t:, speed[1] * t:][:360, :640] for t in range(64)])


def checkpoint(config: DetectorConfig) -> Checkpoint:
    torch.manual_seed(0)
    detector = Detector(config)
    # Random weights alone give actions without any length.
    torch.nn.init.ones_(detector.rpn_head.reg_head.bias)
    return Checkpoint(config.model_dump(mode="json"), detector.state_dict(), list(config.classes))


def annotate(folder: Path, actions: dict[str, list[dict[str, Any]]]) -> None:
    duration = 64 / 30
    inside = {name: [{**item, "segment": [max(0.0, item["segment"][0]), min(duration, item["segment"][1])]} for item in items]
              for name, items in actions.items()}
    database = {name: {"subset": SPLIT, "duration": duration, "annotations": items} for name, items in inside.items()}
    (folder / "annotations.json").write_text(json.dumps({"database": database}))


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it gives, and its seconds by the clock and of the processor."""
    started, used = time.perf_counter(), time.process_time()
    return work(), time.perf_counter() - started, time.process_time() - used


def measure(case: Case, seeds: int) -> dict[str, Any]:
    """Seconds of all three, and whether they agree."""
    naive, *seconds = timed(case.naive)
    full, *shared = timed(case.ranking)
    assert full.baseline == naive[WHOLE]
    assert {item.units: item.score for item in full.candidates} == {key: score for key, score in naive.items() if key != WHOLE}
    races = [timed(lambda seed=seed: case.ranking(race=True, seed=seed)) for seed in range(seeds)]
    same = sum(ranking.candidates[0].units == full.candidates[0].units for ranking, *_ in races)
    raced = [mean(times) for times in zip(*(rest for _, *rest in races), strict=True)]
    return {"model": case.name, "videos": full.videos, "scores": {str(key): score for key, score in naive.items()},
            "naive": seconds, "shared": shared, "race": raced, "all_races": [rest for _, *rest in races], "seeds": seeds, "same_winner": same,
            "stopped": [[(item.block, item.videos, item.stopped) for item in ranking.candidates] for ranking, *_ in races]}


def table(records: list[dict[str, Any]]) -> str:
    """Seconds by the clock and their ratios, and the ratios of processor time, as Markdown."""
    lines = ["| model | videos | naive | shared | race | shared / naive | race / naive | by processor time | same winner |", "|---" * 9 + "|"]
    for record in records:
        naive, shared, race = (record[way] for way in ("naive", "shared", "race"))
        lines.append(f"| {record['model']} | {record['videos']} | {naive[0]:.1f} s | {shared[0]:.1f} s | {race[0]:.1f} s | "
                     f"{shared[0] / naive[0]:.2f} | {race[0] / naive[0]:.2f} | {shared[1] / naive[1]:.2f}, {race[1] / naive[1]:.2f} | "
                     f"{record['same_winner']} of {record['seeds']} races |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--videos", type=int, default=32, help="for the larger model")
    given = parser.parse_args()
    records = []
    for make in (nano, lambda folder: small(folder, given.videos)):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "videos").mkdir()
            records.append(measure(make(Path(folder)), given.seeds))
            print(table(records), flush=True)
    command = f"python -m tests.benchmarks.selection --seeds {given.seeds} --videos {given.videos}"
    write_json(RESULTS / "selection.json", {"command": command, "machine": platform.machine(), "torch": torch.__version__, "records": records})
    write_text(RESULTS / "selection.md", table(records))


if __name__ == "__main__":
    main()
