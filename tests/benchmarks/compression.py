"""The proof: progressive block drop against its parts and its rivals, on real data, over several seeds.

    python -m tests.benchmarks.compression --dataset hapt --data DATA --seeds 3
    python -m tests.benchmarks.compression --dataset synthetic --seeds 3
    python -m tests.benchmarks.compression --dataset fir --data DATA --seeds 3

DATA holds the folders `hapt` and `fir`. For each seed: a baseline is trained (from scratch; those on pixels start from the package's
backbone), the baseline is trained for as many epochs more as the alignments take, and every variant is run down to 25 % and 50 % fewer
MACs. A progressive run passes the first target on its way to the second: its steps do not depend on how far it goes. No run stops early
(tolerance 100), so that each row has the MACs it claims. Held-out training videos steer every choice; the test videos are looked at
once for each row, and decide nothing.

Each job is a process of its own, whose peak memory is told; --processes of them run at a time. What a job found is kept in --work-dir and,
with all figures, in tests/benchmarks/results/: the same command goes on after an interruption, and where the work dir is gone, it trains
only those baselines again that jobs still need. Time is that of the seed that was quickest, as other work on the machine adds to the
others; the speed-up is that of the first seed's baseline without as many blocks, all timed in turn at the end. "Full fine-tuning" and
"trained longer" have the learning rate of LoRA; neither was tuned. Prints a Markdown table, which it writes beside the figures.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

# Before torch is imported, as the command line does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tadshrink.cli.console import ConsoleReporter
from tadshrink.compress.select_settings import SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.target import parse_target, plan_drops
from tadshrink.data.synthetic import make_synthetic
from tadshrink.files import read_json, write_json, write_text
from tadshrink.pipeline import run
from tadshrink.profiling.macs import detector_macs
from tadshrink.reporting import SILENT
from tadshrink.run_inputs import builtin_baseline, prepare_data
from tadshrink.run_settings import Recipe, run_settings
from tadshrink.stages.align import align
from tadshrink.stages.common import DatasetChoice, open_detector
from tadshrink.stages.drop import drop
from tadshrink.stages.evaluate import evaluate
from tadshrink.stages.train import train
from tadshrink.training.settings import TrainSettings
from tests.benchmarks.compression_table import table
from tests.benchmarks.speeds import speedups
from tests.benchmarks.work import Name, add_job_options, check_same, command_of, plain, recalled, run_jobs, slug

RESULTS = Path(__file__).parent / "results"
CONFIGS = Path(__file__).parents[2] / "sample_configs"
TARGETS = ("25%", "50%")
#: Of test videos that are rendered; the dataset's own have another.
TEST_SEED = 1
TASK_ONLY = {"feature_weight": 0, "cls_kd_weight": 0, "reg_kd_weight": 0}
#: What differs from the defaults, by section of a recipe.
VARIANTS: dict[str, Recipe] = {
    "progressive": {},
    "one-shot": {"run": {"schedule": "one-shot"}},
    "random blocks": {"select": {"metric": "random"}},
    "ranked by cosine": {"select": {"metric": "cosine"}},
    "no alignment": {"align": {"heal": "none"}},
    "ground truth only": {"align": TASK_ONLY},
    "no feature loss": {"align": {"feature_weight": 0}},
    "full fine-tuning": {"align": {"heal": "full"}},
    "linear start alone": {"align": {"init": "linear", "heal": "none"}},
    "linear start, alignment": {"align": {"init": "linear"}},
}
BASELINE, LONGER = "baseline", "baseline, trained longer"


@dataclass(frozen=True)
class Benchmark:
    """A dataset, how its baseline is trained, and what every alignment and selection of it takes."""

    config: str
    train: dict[str, Any]
    align: dict[str, Any] = field(default_factory=dict)
    select: dict[str, Any] = field(default_factory=dict)
    variants: tuple[str, ...] = tuple(VARIANTS)
    #: Videos that are rendered with a seed of their own to be tested on, in place of the dataset's own test videos.
    tests: int = 0

    def choice(self, data: Path | None) -> DatasetChoice:
        path = CONFIGS / f"{self.config}.yaml"
        return DatasetChoice(str(path), data / self.config) if path.exists() and data else DatasetChoice(self.config)


BENCHMARKS = {
    # The package's backbone is trained on, with a new head: it gains from that, which is not to be taken for a gain by compression. With 30
    # epochs it does not yet tell which way a sprite goes round (held-out average mAP 92.5, and 94.8 after 14 more); with 60 it does (99.5).
    # Pixels take time: selection is a race, and there are two epochs after each drop. The dataset's own 120 test videos leave half a point
    # of average mAP to chance, which is alike for all seeds.
    "synthetic": Benchmark("synthetic", {"arch": "videomae-nano", "epochs": 60, "init": builtin_baseline(DatasetChoice("synthetic"))},
                           {"epochs": 2}, {"race": True}, tests=400),
    "hapt": Benchmark("hapt", {"arch": "actionformer-nano", "epochs": 60, "lr": 1e-3}),
    # 11 short videos give 11 steps an epoch.
    "fir": Benchmark("fir", {"arch": CONFIGS / "fir_model.yaml", "epochs": 200, "init": builtin_baseline(DatasetChoice("synthetic"))},
                     {"epochs": 10}, variants=("progressive", "one-shot", "no alignment")),
}


@dataclass(frozen=True)
class Job:
    """One variant with one seed."""

    benchmark: Benchmark
    choice: DatasetChoice
    seed: int
    folder: Path

    @property
    def baseline(self) -> Path:
        return self.folder / f"baseline-{self.seed}.pth"

    def do(self, variant: str) -> list[dict[str, Any]]:
        """A row for each target."""
        ways = {BASELINE: self.train, LONGER: self.train_longer}
        return ways[variant]() if variant in ways else self.compress(variant)

    def found(self, variant: str) -> Path:
        """Where the result of a variant is kept."""
        return self.folder / f"{slug(variant)}-{self.seed}.json"

    def keep(self, variant: str) -> None:
        """Do a variant, and keep its rows with the most memory that this process has taken; unless another has done part of the work."""
        name = "longer" if variant == LONGER else slug(variant)
        begun = any(path.suffix != ".log" for path in self.folder.glob(f"{name}-{self.seed}[-.]*"))
        rows = self.do(variant)
        peak = None if begun else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        write_json(self.found(variant), {"variant": variant, "seed": self.seed, "peak_bytes": peak, "rows": rows})

    def train(self) -> list[dict[str, Any]]:
        settings, started = dict(self.benchmark.train), time.perf_counter()
        arch, init = settings.pop("arch"), settings.pop("init", None)
        train(self.choice, self.baseline, str(arch), TrainSettings(**settings, seed=self.seed), reporter=ConsoleReporter(), init=init)
        return [self.row("", self.baseline, time.perf_counter() - started)]

    def train_longer(self) -> list[dict[str, Any]]:
        """All weights, against the annotations, for as many epochs as the alignments up to each target take."""
        rows = []
        for target, count in self.counts().items():
            settings = AlignSettings(**{**self.benchmark.align, **TASK_ONLY, "heal": "full", "seed": self.seed})
            longer = settings.model_copy(update={"epochs": count * settings.epochs})
            path, started = self.folder / f"longer-{self.seed}-{count}.pth", time.perf_counter()
            align(self.baseline, self.baseline, self.choice, path, longer, reporter=ConsoleReporter())
            rows.append(self.row(target, path, time.perf_counter() - started))
        return rows

    def compress(self, variant: str) -> list[dict[str, Any]]:
        """A progressive run passes all targets; others, which have a schedule of their own, are run for each."""
        if VARIANTS[variant].get("run", {}).get("schedule"):
            return [row for target in TARGETS for row in self.compressed(variant, target, {target: 1})]
        return self.compressed(variant, TARGETS[-1], self.counts())

    def compressed(self, variant: str, target: str, steps: dict[str, int]) -> list[dict[str, Any]]:
        """Run to a target; a row for each number of steps."""
        done = self.steps(variant, target)
        return [self.row(name, Path(done[count - 1]["path"]), sum(sum(step["seconds"].values()) for step in done[:count]),
                         dropped=[step["dropped"] for step in done[:count]]) for name, count in steps.items()]

    def steps(self, variant: str, target: str) -> list[dict[str, Any]]:
        """Those of the run to a target; a run that was done before is read."""
        given = VARIANTS[variant]
        settings = run_settings({"run": {**given.get("run", {}), "target": target, "tolerance": 100},
                                 "select": self.select_settings(given), "align": {**self.align_settings, **given.get("align", {})}})
        work_dir = self.folder / f"{slug(variant)}-{self.seed}-{target.rstrip('%')}"
        return run(self.baseline, self.choice, work_dir, settings, reporter=ConsoleReporter()).to_json()["steps"]

    def select_settings(self, given: Recipe) -> dict[str, Any]:
        """Only mAP is raced for."""
        return {**given.get("select", self.benchmark.select), "seed": self.seed}

    @property
    def align_settings(self) -> dict[str, Any]:
        """Of every variant, but for what it changes."""
        return {**self.benchmark.align, "seed": self.seed}

    def counts(self) -> dict[str, int]:
        """Blocks to drop for each target."""
        detector = open_detector(self.baseline, None, SILENT).detector
        macs = detector_macs(detector)
        return {target: plan_drops(parse_target(target), macs, at_least=False).count for target in TARGETS}

    def test_choice(self) -> DatasetChoice:
        """Where the test videos are. What the benchmark needs of its own is made if it is absent."""
        prepare_data(self.choice, ConsoleReporter())
        if not self.benchmark.tests:
            return self.choice
        folder = self.folder / self.benchmark.config
        if not (folder / "annotations.json").exists():
            # Rendered elsewhere, so that what is there is whole.
            rendered = read_json(make_synthetic(self.folder / "rendered", TEST_SEED, self.benchmark.tests, ConsoleReporter()))
            for video in rendered["database"].values():
                video["subset"] = "testing"
            write_json(self.folder / "rendered/annotations.json", rendered)
            (self.folder / "rendered").rename(folder)
        return DatasetChoice(self.choice.name, self.folder)

    def row(self, target: str, path: Path, seconds: float, **more: Any) -> dict[str, Any]:
        """What a model is worth."""
        detector = open_detector(path, None, SILENT).detector
        splits = {split: evaluate(path, choice, split, reporter=ConsoleReporter()).to_json()
                  for split, choice in (("heldout", self.choice), ("testing", self.test_choice()))}
        return {"target": target, "seconds": seconds, "macs": detector_macs(detector).total,
                "blocks": len(detector.blocks.indices), **more,
                **{split: {"average_map": score["average_map"], "map": score["map"]} for split, score in splits.items()}}


def jobs(benchmark: Benchmark, seeds: int) -> list[Name]:
    """What is to be done, in this order: the first rows are complete before the last ones begin."""
    return [(variant, seed) for variant in (BASELINE, LONGER, *benchmark.variants) for seed in range(seeds)]


def do_all(given: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Each job that is not done yet, in its own process; the results of all, and the speed of the models."""
    todo, speeds = jobs(BENCHMARKS[given.dataset], given.seeds), recall(given)
    job(given, 0).test_choice()
    run_jobs("tests.benchmarks.compression", given.work_dir, given.processes, [one for one in todo if not is_done(given, *one, bool(speeds))],
             lambda one: [] if one[0] == BASELINE else [(BASELINE, one[1])], lambda: keep(given, found(given, todo), speeds))
    records = found(given, todo)
    speeds = speeds or measure_speeds(job(given, 0), records)
    keep(given, records, speeds)
    return records, speeds


def is_done(given: argparse.Namespace, variant: str, seed: int, timed: bool) -> bool:
    """Whether there is a record, and of a baseline that other jobs or the timing still need, the checkpoint as well."""
    mine = job(given, seed)
    needed = (seed == 0 and not timed) or any(not mine.found(other).exists() for other in (LONGER, *mine.benchmark.variants))
    return mine.found(variant).exists() and (variant != BASELINE or not needed or mine.baseline.exists())


def found(given: argparse.Namespace, todo: Sequence[Name]) -> list[dict[str, Any]]:
    """What there is of these jobs, in their order."""
    paths = [job(given, seed).found(variant) for variant, seed in todo]
    return [read_json(path) for path in paths if path.exists()]


def recall(given: argparse.Namespace) -> dict[str, float]:
    """The speeds that an earlier call has found. Its records are put into the work dir, where they are missing."""
    earlier = recalled(RESULTS / f"compression_{given.dataset}.json", settings_of(given.dataset), given.fresh)
    for record in earlier.get("records", []):
        path = job(given, record["seed"]).found(record["variant"])
        if not path.exists():
            write_json(path, record)
    return earlier.get("speedups", {})


def measure_speeds(first: Job, records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How many times as fast as the first seed's baseline it is without some blocks, by the number that is left."""
    whole = len(open_detector(first.baseline, None, SILENT).detector.blocks.indices)
    counts = sorted({row["blocks"] for record in records for row in record["rows"]} - {whole}, reverse=True)
    paths = [first.folder / f"speed-{count}.pth" for count in counts]
    for count, path in zip(counts, paths, strict=True):
        drop(first.baseline, path, blocks=list(range(whole - count)))
    return {str(count): ratio["median"] for count, ratio in zip(counts, speedups(first.baseline, paths), strict=True)}


def job(given: argparse.Namespace, seed: int) -> Job:
    """What is asked for, with a seed."""
    benchmark = BENCHMARKS[given.dataset]
    return Job(benchmark, benchmark.choice(given.data), seed, given.work_dir)


def keep(given: argparse.Namespace, records: list[dict[str, Any]], speeds: dict[str, float]) -> None:
    """Write what there is."""
    command = command_of("compression", given)
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"compression_{given.dataset}.json",
               {"command": command, "settings": settings_of(given.dataset), "records": records, "speedups": speeds})
    write_text(RESULTS / f"compression_{given.dataset}.md", table(records, speeds))


def settings_of(dataset: str) -> Any:
    """Everything that decides its results, defaults included, as JSON reads it again."""
    defaults = {settings.__name__: settings().model_dump(mode="json") for settings in (TrainSettings, AlignSettings, SelectSettings)}
    return plain({"benchmark": asdict(replace(BENCHMARKS[dataset], variants=())), "variants": VARIANTS, "targets": TARGETS, **defaults})


def check_folder(folder: Path, dataset: str) -> None:
    """Make sure that its results are of the settings of now; see :func:`check_same`."""
    check_same(folder, settings_of(dataset))


def main() -> None:
    """Run, print, and keep the figures; or one job, as a child process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=BENCHMARKS, required=True)
    parser.add_argument("--data", type=Path, help="folder of the real datasets")
    add_job_options(parser)
    given = parser.parse_args()
    given.work_dir = given.work_dir or Path("tadshrink-runs/compression") / given.dataset
    check_folder(given.work_dir, given.dataset)
    if given.job:
        job(given, int(given.job[1])).keep(given.job[0])
    else:
        print(table(*do_all(given)))


if __name__ == "__main__":
    main()
