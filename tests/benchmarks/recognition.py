"""Recognition of trimmed videos: thirty views, fewer of them, and one compressed pass (SFC), also after dropping blocks.

    python -m tests.benchmarks.recognition --dataset synthetic-clips --seeds 3
    python -m tests.benchmarks.recognition --dataset fir --data DATA --seeds 3

DATA holds the folder `fir`. One recogniser is trained; modules are fitted into it at several ratios, and into one that has lost three of
its twelve blocks, one by one, healed after each. Seeds are those of the modules: what needs no module has one figure. What is chosen is
chosen on held-out training videos; the test videos decide nothing. 10x1 views stand beside 10x3, as three of the thirty-fold come from
leaving out crops; and 10x1of3, which has the crops that the clips of the one pass have.

There is one recogniser, so that the figures say nothing about how much others would differ; how far a way is from 30 views is told with a 95 %
interval, from test videos drawn anew (those of one file together), of the mean over the seeds.

Time and memory are those of the model on one video, all ways in turn in one process, with the modules of seed 0. Dense views are timed with as
many in a call as are fastest. Decoding is left out, as it takes as long for 10 clips whichever way they are classified; the time to load a
video's views is told beside it, and what the speed-up is with it. Memory is told twice: with all views of a video in one call, as dense
testing does on a GPU, and with two at a time, which is how many clips the one pass has at a time: that alone saves dense testing most of it.

Jobs are processes of their own, --processes at a time. What is done is kept in --work-dir and in tests/benchmarks/results/: the same command
goes on after an interruption. Prints a Markdown table and writes it, with all figures as JSON, to tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

# Before torch is imported, as the command line does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tadshrink.cli.console import ConsoleReporter
from tadshrink.compress.settings import AlignSettings
from tadshrink.device import choose_compute
from tadshrink.files import read_json, write_json, write_text
from tadshrink.profiling.running import Measure
from tadshrink.recognition.config import ONE_PASS, ClipConfig, SfcConfig
from tadshrink.recognition.opening import open_recogniser, read_recogniser
from tadshrink.recognition.profile import profile_recogniser, time_ways
from tadshrink.recognition.records import TESTING
from tadshrink.recognition.settings import ClipTrainSettings, ModuleTrainSettings
from tadshrink.recognition.synthetic import make_synthetic_clips
from tadshrink.recognition.views import UNIFORM, ClipSource, Views, module_views, parse_views
from tadshrink.reporting import SILENT
from tadshrink.run_inputs import builtin_baseline
from tadshrink.stages.align import align
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.drop import drop
from tadshrink.stages.merge import merge
from tadshrink.stages.recognisers import RecognitionChoice
from tadshrink.stages.select import select
from tadshrink.stages.sfc_base import train_base
from tadshrink.stages.sfc_eval import evaluate_recogniser
from tadshrink.stages.sfc_train import train_module
from tests.benchmarks.seeds import cells
from tests.benchmarks.work import Name, add_job_options, check_same, command_of, plain, recalled, run_jobs, slug

RESULTS = Path(__file__).parent / "results"
VIEWS = {"30 views (10x3)": "10x3", "10 views (10x1)": "10x1", "10 views, crops in turn (10x1of3)": "10x1of3",
         "one clip, in the middle": "1x1", "one clip, spread over the video": UNIFORM}
RATIOS = {"1/2": 1 / 2, "1/4": 1 / 4, "1/8": 1 / 8, "1/10": 1 / 10}
#: Blocks that are dropped before a module is fitted, out of twelve.
DROPPED = 3
#: Test videos that are loaded to know how long it takes, and sets of test videos that are drawn for an interval.
LOADED, RESAMPLES = 20, 10_000
#: Turns in which all ways are timed: many, as other work on a shared machine slows short calls down more than long ones.
TURNS = 100
FIRST, SFC, LESS = next(iter(VIEWS)), "SFC at ", f", {DROPPED} of 12 blocks dropped"
BASE, SMALLER = "base", "blocks dropped"


@dataclass(frozen=True)
class Benchmark:
    """A dataset, how a recogniser of it is trained, split and healed, and ratios of modules for it without some of its blocks."""

    arch: str
    train: dict[str, Any]
    split: str = "block:1"
    clip: dict[str, int] = field(default_factory=dict)
    module: dict[str, Any] = field(default_factory=dict)
    align: dict[str, Any] = field(default_factory=dict)
    less: tuple[str, ...] = ("1/10",)

    @property
    def ways(self) -> list[str]:
        """The rows of the tables."""
        return [*VIEWS, *(f"{SFC}{ratio}" for ratio in RATIOS), *(f"{SFC}{ratio}{LESS}" for ratio in self.less)]


#: Both start from the backbone of the package's detector, and see frames so large that the arithmetic takes the time. Of FIR, three things
#: were chosen on thirds of its training files (188 clips judged, each by models that had not seen its file; top-1): frames six apart, not three
#: (30 views 46.3 beside 43.6), modules that learn from clips drawn anew in every epoch (at 1/5 47.9 beside 46.3), and that half of their
#: loss compares with the clips one by one (at 1/10, with frames three apart, 43.1 beside 41.8).
BENCHMARKS = {
    "synthetic-clips": Benchmark("recogniser-nano", {"epochs": 30}, clip={"size": 64}, align={"epochs": 2}),
    "fir": Benchmark("recogniser-nano", {"epochs": 40, "clips_per_video": 4}, clip={"size": 64, "stride": 6},
                     module={"dense_weight": 0.5, "augment": True}, align={"epochs": 10}, less=("1/2", "1/4", "1/10")),
}
CONFIGS = Path(__file__).parents[2] / "sample_configs"


@dataclass(frozen=True)
class Job:
    """One seed."""

    benchmark: Benchmark
    choice: RecognitionChoice
    seed: int
    folder: Path

    def file(self, name: str, seed: int | None = None) -> Path:
        """Of something that depends on the seed of this job, or on this one."""
        return self.folder / f"{slug(name)}-{self.seed if seed is None else seed}.pth"

    @property
    def base(self) -> Path:
        """Trained once."""
        path = self.file("base", 0)
        if not path.exists():
            train_base(self.choice, path, self.benchmark.arch, ClipTrainSettings(**self.benchmark.train, seed=0),
                       reporter=ConsoleReporter(), clip=self.benchmark.clip, init=builtin_baseline(DatasetChoice("synthetic")))
        return path

    def module(self, start: Path, ratio: float, name: str) -> Path:
        """A module of this ratio, fitted into a recogniser."""
        path = self.file(name)
        if not path.exists():
            settings = ModuleTrainSettings(**self.benchmark.module, seed=self.seed)
            train_module(start, self.choice, path, SfcConfig(split=self.benchmark.split, ratio=ratio), settings, reporter=ConsoleReporter())
        return path

    @property
    def smaller(self) -> Path:
        """The base without some blocks, healed after each drop; made once."""
        now, choice = self.base, DatasetChoice(self.choice.name, self.choice.root)
        for number in range(1, DROPPED + 1):
            done, reporter = self.file(f"dropped-{number}", 0), ConsoleReporter()
            if not done.exists():
                ranked, dropped, aligned = (self.file(f"{step}-{number}", 0) for step in ("ranked", "without", "aligned"))
                select(now, choice, ranked, reporter=reporter)
                drop(ranked, dropped)
                align(dropped, self.base, choice, aligned, AlignSettings(**self.benchmark.align, seed=0), reporter=reporter)
                merge(aligned, done, reporter=reporter)
            now = done
        return now

    def subject(self, name: str) -> tuple[Path, str]:
        """The checkpoint and the views of a way; a module is fitted if need be."""
        if name in VIEWS:
            return self.base, VIEWS[name]
        text = name.removeprefix(SFC).removesuffix(LESS)
        start, kind = (self.smaller, "sfc dropped") if name.endswith(LESS) else (self.base, "sfc")
        return self.module(start, RATIOS[text], f"{kind} {text}"), ONE_PASS

    def judged(self, name: str) -> Path:
        """Where the accuracy of a way is kept."""
        return self.folder / f"{slug(name)}-{self.seed}.json"

    def judge(self, name: str) -> None:
        """Find out how accurate a way is on the test videos, and which of them it names rightly."""
        checkpoint, views = self.subject(name)
        found = evaluate_recogniser(checkpoint, self.choice, views, reporter=ConsoleReporter())
        write_json(self.judged(name), found.to_json() | {"hits": [int(rank == 0) for rank in found.accuracy.ranks]})

    def costs(self) -> dict[str, dict[str, Any]]:
        """Multiply-adds, time and memory of each way, and how long its views take to load."""
        subjects, loading = [], []
        for checkpoint, views in map(self.subject, self.benchmark.ways):
            recogniser = open_recogniser(read_recogniser(checkpoint), checkpoint)
            counted = "1x1" if views == UNIFORM else views
            ways = profile_recogniser(recogniser, None, ways=[counted] if views != ONE_PASS else ["1x1"]).ways
            subjects.append((recogniser, next(way for way in ways if way.name == counted)))
            loading.append(module_views(recogniser.config) if views == ONE_PASS else parse_views(views))
        compute = choose_compute("cpu", subjects[0][0].config.compute_width)
        found = time_ways(subjects, Measure(runs=TURNS), compute, ConsoleReporter())
        loaded = self.loading(loading, subjects[0][0].config.clip)
        return {name: way.to_json() | {"loading": ms} for name, way, ms in zip(self.benchmark.ways, found, loaded, strict=True)}

    def loading(self, ways: Sequence[Views], clip: ClipConfig) -> list[float]:
        """Median milliseconds to decode and cut out the views of a test video, in turn; every time from the file."""
        records = self.choice.load(ConsoleReporter()).split(TESTING)[:LOADED]
        times: list[list[float]] = [[] for _ in ways]
        for record in records:
            for views, own in zip(ways, times, strict=True):
                source, start = ClipSource(clip), time.perf_counter()
                source.views(record, views)
                own.append(1000 * (time.perf_counter() - start))
        return [median(own) for own in times]

    def files(self) -> list[str]:
        """Which file each test video is, or is a part of."""
        return [record.key for record in self.choice.load(SILENT).split(TESTING)]


def table(found: dict[str, list[dict[str, Any]]], costs: dict[str, dict[str, Any]], files: Sequence[str]) -> str:
    """Two tables with a row for each way, as Markdown: how accurate it is, and what it costs."""
    whole = costs[FIRST]["loading"] + costs[FIRST]["latency"]["median"]
    lines = [f"| way | top-1, per seed | mean | spread | beside {FIRST} |", "|---|---|---|---|---|"]
    for name in costs:
        scores = [score["top1"] for score in found[name]]
        beside = "" if name == FIRST else "{:+.2f} ({:+.2f} to {:+.2f})".format(*difference(found[name], found[FIRST], files))
        lines.append(f"| {' | '.join((name, *cells(scores), beside))} |")
    lines += ["", "| way | GMACs a video | ms a video | speed-up | ms to load | speed-up with it | memory | less | two at a time | less |",
              "|---|---|---|---|---|---|---|---|---|---|"]
    for name, way in costs.items():
        at_once = f", {way['at_once']} at a time" if way["at_once"] > 1 else ""
        speed = "{median:.2f}x ({low:.2f} to {high:.2f})".format(**way["faster"])
        memory, few = (f"{way[key]['bytes'] / 2**20:.0f} MiB" for key in ("memory", "memory_few"))
        lines.append(f"| {name} | {way['macs'] / 1e9:.2f} | {way['latency']['median']:.1f}{at_once} | {speed} | {way['loading']:.1f} | "
                     f"{whole / (way['loading'] + way['latency']['median']):.2f}x | {memory} | {way['leaner']:.1f}x | {few} | "
                     f"{way['leaner_few']:.1f}x |")
    return "\n".join(lines) + "\n"


def difference(ones: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], files: Sequence[str]) -> tuple[float, float, float]:
    """How much higher the top-1 of some is, in points, and a 95 % interval of it: bootstrap over files, the mean over seeds of each."""
    apart = 100 * (np.mean([one["hits"] for one in ones], axis=0) - np.mean([other["hits"] for other in others], axis=0))
    names, places = np.unique(files, return_inverse=True)
    sums, counts = np.bincount(places, apart), np.bincount(places)
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return float(apart.mean()), float(low), float(high)


def dataset(name: str, data: Path | None, folder: Path) -> RecognitionChoice:
    """The dataset; the synthetic one is rendered, not as the tests have it."""
    if data is not None:
        return RecognitionChoice(str(CONFIGS / f"{name}_recognition.yaml"), data / name)
    if not (folder / name / "clips.csv").exists():
        make_synthetic_clips(folder / name, seed=7, videos=1000, reporter=ConsoleReporter())
    return RecognitionChoice(name, folder)


def main() -> None:
    """Run, print, and keep the figures; or one job, as a child process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=BENCHMARKS, required=True)
    parser.add_argument("--data", type=Path)
    add_job_options(parser)
    given = parser.parse_args()
    given.work_dir = given.work_dir or Path("tadshrink-runs/recognition") / given.dataset
    check_same(given.work_dir, settings_of(given.dataset))
    if given.job:
        do(job(given, int(given.job[1])), given.job[0])
    else:
        print(compare(given))


def settings_of(name: str) -> dict[str, Any]:
    """Everything that decides the results of a dataset, defaults included."""
    defaults = {one.__name__: one().model_dump(mode="json") for one in (ClipTrainSettings, ModuleTrainSettings, AlignSettings)}
    return {"benchmark": asdict(BENCHMARKS[name]), "module": SfcConfig(split=BENCHMARKS[name].split).model_dump(mode="json"), **defaults}


def do(one: Job, name: str) -> None:
    """One job."""
    if name == BASE:
        assert one.base
    elif name == SMALLER:
        assert one.smaller
    else:
        one.judge(name)


def compare(given: argparse.Namespace) -> str:
    """Each job that is not done yet, in its own process; the table of all, which is kept."""
    costs = recall(given)
    dataset(given.dataset, given.data, given.work_dir)
    ways = [(name, seed) for seed in range(given.seeds) for name in BENCHMARKS[given.dataset].ways if seed == 0 or name not in VIEWS]
    missing = [(name, seed) for name, seed in ways if not job(given, seed).judged(name).exists()]
    run_jobs("tests.benchmarks.recognition", given.work_dir, given.processes, [(BASE, 0), (SMALLER, 0), *missing] if missing else [], needs,
             lambda: keep(given, ways, costs))
    costs = costs or plain(job(given, 0).costs())
    text = table(keep(given, ways, costs), costs, job(given, 0).files())
    write_text(RESULTS / f"recognition_{given.dataset}.md", text)
    return text


def needs(one: Name) -> list[Name]:
    """What must be there before a job."""
    if one[0] == BASE:
        return []
    return [(SMALLER, 0)] if one[0].endswith(LESS) else [(BASE, 0)]


def job(given: argparse.Namespace, seed: int) -> Job:
    """What is asked for, with a seed."""
    return Job(BENCHMARKS[given.dataset], dataset(given.dataset, given.data, given.work_dir), seed, given.work_dir)


def keep(given: argparse.Namespace, ways: Sequence[Name], costs: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Write what there is; accuracy by way, a figure for each seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, seed in ways:
        if (path := job(given, seed).judged(name)).exists():
            found.setdefault(name, []).append({"seed": seed, **read_json(path)})
    write_json(RESULTS / f"recognition_{given.dataset}.json", {
        "command": command_of("recognition", given),
        "settings": plain(settings_of(given.dataset)), "accuracy": found, "costs": costs})
    return found


def recall(given: argparse.Namespace) -> dict[str, Any]:
    """The costs that an earlier call has found. Its accuracies are put into the work dir, where they are missing; but those of the first
    seed only with the costs, for which its models are needed."""
    earlier = recalled(RESULTS / f"recognition_{given.dataset}.json", settings_of(given.dataset), given.fresh)
    costs = earlier.get("costs", {})
    for name, scores in earlier.get("accuracy", {}).items():
        for score in scores:
            path = job(given, score["seed"]).judged(name)
            if not path.exists() and (costs or score["seed"]):
                write_json(path, score)
    return costs


if __name__ == "__main__":
    main()
