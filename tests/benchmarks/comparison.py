"""The comparison: mAP against multiply-adds and against measured time, for block drop, channel pruning, both, one-shot and cosine.

    python -m tests.benchmarks.comparison --dataset hapt --data DATA --seeds 3
    python -m tests.benchmarks.comparison --dataset synthetic --seeds 3

Baselines and runs are those of tests.benchmarks.compression, with its --work-dir: what it has done is not done again. Pruning goes step
by step as dropping does: each step takes as many multiply-adds as a block has, and is healed by the same alignment with the same teacher,
so that at equal multiply-adds both were trained for as long. "Both" drops and prunes in turn; as a pruned block is less of a saving, it may
take a step more. One-shot has the same epochs at once. Blocks are chosen by held-out mAP (or cosine), channels by the size of their weights,
which looks at no data, or by Taylor's formula on the held-out videos; both healed by LoRA with the same rate, which was not tuned for either.

Test videos are looked at once for each model, and decide nothing. Which model counts as "without a loss" is told by held-out videos, by
which blocks are chosen as well, and by test videos. Time is that of one window, all models of seed 0 and their baseline in turn, in one
process. Jobs are processes of their own, --processes at a time. What is done is kept in --work-dir and in tests/benchmarks/results/: the
same command goes on after an interruption. Prints Markdown and writes it, with all figures as JSON and a picture, to
tests/benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

# Before torch is imported, as the command line does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from tadshrink.cli.console import ConsoleReporter
from tadshrink.compress.prune_settings import PruneSettings
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.compress.settings import AlignSettings
from tadshrink.files import atomic_path, read_json, write_json, write_text
from tadshrink.profiling.latency import Ratio
from tadshrink.profiling.macs import detector_macs
from tadshrink.reporting import SILENT
from tadshrink.stages.align import align
from tadshrink.stages.common import open_detector
from tadshrink.stages.drop import drop
from tadshrink.stages.merge import merge
from tadshrink.stages.prune import prune
from tadshrink.stages.select import select
from tests.benchmarks.compression import BASELINE, BENCHMARKS, RESULTS, TARGETS, Job, check_folder, settings_of
from tests.benchmarks.seeds import cells
from tests.benchmarks.speeds import times_of
from tests.benchmarks.work import add_job_options, command_of, recalled, run_jobs, slug

#: Points of mAP below the baseline that count as no loss, when savings are compared at equal accuracy.
SLACK = 0.5
#: Points of mAP to either side of the baseline's that the picture shows at least.
SHOWN = 1.5
#: Of the paper (VideoMAE-S, THUMOS14, mAP@0.5): method, share of multiply-adds, speed-up, mAP. Its baseline: 70.43.
THEIRS = (("block drop", "92 %", "1.07x", "71.06"), ("block drop", "84 %", "1.17x", "71.37"), ("block drop", "76 %", "1.29x", "70.47"),
          ("block drop", "68 %", "1.43x", "69.65"), ("channel pruning", "76 %", "1.09x", ""), ("channel pruning", "90 %", "", "70.2"),
          ("both", "70 %", "", "70.2"), ("one-shot drop", "76 %", "", "68.91"))
Point = dict[str, Any]
PRUNED = "channel pruning"
#: What is compared at equal multiply-adds.
PAIR = ("block drop", PRUNED)
#: By the name of a step.
IMPORTANCES = {"prune": "magnitude", "taylor": "taylor"}


@dataclass(frozen=True)
class Comparison(Job):
    """All methods with one seed. Each gives the checkpoints on its way to the last target, in order."""

    def run_of(self, variant: str) -> list[Path]:
        """A run that passes every number of blocks."""
        return [Path(step["path"]) for step in self.steps(variant, TARGETS[-1])]

    def at_once(self) -> list[Path]:
        """A run for each target."""
        return [Path(self.steps("one-shot", target)[-1]["path"]) for target in TARGETS]

    def in_turn(self, *ways: str) -> list[Path]:
        """Drop and prune in this order, over and over, healing after each, until as much is gone as a run takes."""
        detector = open_detector(self.baseline, None, SILENT).detector
        report = detector_macs(detector)
        block, least = report.per_block[0], report.total - self.counts()[TARGETS[-1]] * report.per_block[0]
        done, now = [], self.baseline
        while (left := self.macs(now)) > least + block / 2:
            way, folder = ways[len(done) % len(ways)], self.folder / f"{'-'.join(ways)}-{self.seed}" / f"step-{len(done) + 1}"
            if not (folder / "merged.pth").exists():
                folder.mkdir(parents=True, exist_ok=True)
                self.smaller(way, now, folder, block / left)
            now = folder / "merged.pth"
            done.append(now)
        return done

    def smaller(self, way: str, now: Path, folder: Path, share: float) -> None:
        """One step."""
        ranked, cut, aligned, reporter = folder / "selected.pth", folder / "cut.pth", folder / "aligned.pth", ConsoleReporter()
        if way == "drop":
            select(now, self.choice, ranked, SelectOptions(**self.select_settings({})), reporter=reporter)
            drop(ranked, cut)
        else:
            settings = PruneSettings(target=f"{100 * share:.6f}%", importance=IMPORTANCES[way])
            prune(now, cut, settings, self.choice if way == "taylor" else None, reporter=reporter)
        align(cut, self.baseline, self.choice, aligned, AlignSettings(**self.align_settings), reporter=reporter)
        merge(aligned, folder / "merged.pth", self.choice, reporter=reporter)

    def macs(self, path: Path) -> int:
        """Of a window."""
        return detector_macs(open_detector(path, None, SILENT).detector).total

    def points(self, method: str) -> list[Point]:
        """What the models of a method are worth; kept, as test videos are looked at once."""
        kept = self.compared(method)
        if not kept.exists():
            write_json(kept, [{**self.row("", path, 0.0), "path": str(path)} for path in METHODS[method](self)])
        return read_json(kept)

    def compared(self, method: str) -> Path:
        """Where that is kept."""
        return self.folder / f"comparison-{slug(method)}-{self.seed}.json"


#: By name, from a seed to checkpoints.
METHODS: dict[str, Callable[[Comparison], list[Path]]] = {
    "block drop": lambda job: job.run_of("progressive"),
    PRUNED: lambda job: job.in_turn("prune"),
    "channel pruning by Taylor": lambda job: job.in_turn("taylor"),
    "both": lambda job: job.in_turn("drop", "prune"),
    "one-shot drop": lambda job: job.at_once(),
    "blocks ranked by cosine": lambda job: job.run_of("ranked by cosine"),
}
#: Alike in every picture, in the order of :data:`METHODS`.
STYLES = ("o-", "s-", "s:", "D-", "^:", "v--")


def speeds(one: Comparison, points: dict[str, list[Point]]) -> dict[str, Any]:
    """How many times as fast as the baseline each model of a seed is, and block drop beside channel pruning at 25 % fewer MACs."""
    times = times_of([one.baseline, *(Path(point["path"]) for own in points.values() for point in own)])
    found = {name: [Ratio.of(times[one.baseline], times[Path(point["path"])]).to_json() for point in own] for name, own in points.items()}
    whole = baseline(one)["macs"]
    dropped, pruned = (min(points[name], key=lambda point: abs(point["macs"] - 0.75 * whole)) for name in PAIR)
    beside = Ratio.of(times[Path(pruned["path"])], times[Path(dropped["path"])]).to_json()
    return {"speedups": found, "drop_over_pruning_at_75": beside, "threads": torch.get_num_threads()}


@dataclass(frozen=True)
class Dot:
    """A model of a method in the table and the picture: mean over seeds, but for the speed, which is seed 0's.

    Attributes:
        scores, heldout: average mAP of each seed on test and on held-out videos.
    """

    macs: float
    speedup: float
    scores: tuple[float, ...]
    heldout: tuple[float, ...]

    @property
    def average(self) -> float:
        return mean(self.scores)


def dots(points: list[dict[str, list[Point]]], told: dict[str, Any], whole: float) -> dict[str, list[Dot]]:
    """By method. A step that not every seed has is left out."""
    def of(method: str) -> Iterator[Dot]:
        speed = told["speedups"][method]
        for place, same in enumerate(zip(*(seed[method] for seed in points), strict=False)):
            yield Dot(mean(point["macs"] for point in same) / whole, speed[place]["median"],
                      *(tuple(point[split]["average_map"] for point in same) for split in ("testing", "heldout")))

    return {method: list(of(method)) for method in METHODS}


def table(found_dots: dict[str, list[Dot]], before: Dot, told: dict[str, Any]) -> str:
    """Every model, what follows from it, and the paper's own figures."""
    lines = ["| method | MACs | speed-up | test average mAP, per seed | mean | spread |", "|---" * 6 + "|",
             _row("baseline", before)]
    lines += [_row(method, dot) for method, own in found_dots.items() for dot in own]
    theirs = ["| the paper's (VideoMAE-S, THUMOS14) | MACs | speed-up | mAP@0.5 |", "|---|---|---|---|", "| baseline | 100 % | 1.00x | 70.43 |",
              *(f"| {' | '.join(row)} |" for row in THEIRS)]
    return "\n".join([*lines, "", *_findings(found_dots, before, told), "", *theirs]) + "\n"


def _row(name: str, dot: Dot) -> str:
    return f"| {' | '.join((name, f'{dot.macs:.1%}', f'{dot.speedup:.2f}x', *cells(dot.scores)))} |"


def _findings(found_dots: dict[str, list[Dot]], before: Dot, told: dict[str, Any]) -> Iterator[str]:
    beside = told["drop_over_pruning_at_75"]
    dropped, pruned = (_near(found_dots[name], 0.75) for name in PAIR)
    yield "- The speed-up is that of seed 0's models, all timed in turn; mAP is of all seeds."
    yield (f"- With {dropped.macs:.1%} of the multiply-adds by dropped blocks and {pruned.macs:.1%} by pruning, the first model is "
           f"{beside['median']:.2f}x as fast as the second ({beside['low']:.2f} to {beside['high']:.2f}).")
    yield f"- At these multiply-adds, test mAP of the first less that of the second: {_apart(dropped, pruned)}."
    yield from (_as_fast(dot, found_dots["block drop"]) for dot in (pruned, found_dots[PRUNED][-1]))
    for split, why in (("heldout", "held-out videos, which chose the blocks as well (not channels by magnitude): this favours dropping"),
                       ("scores", "test videos, which chose nothing")):
        kept = {method: [dot for dot in own if mean(getattr(dot, split)) >= mean(getattr(before, split)) - SLACK]
                for method, own in found_dots.items()}
        most = "; ".join(_most(method, own) for method, own in kept.items())
        yield f"- Most multiply-adds saved within {SLACK:g} points of the baseline's mean on {why}: {most}."


def _near(own: Sequence[Dot], share: float) -> Dot:
    """The model of a method with the nearest share of the baseline's multiply-adds."""
    return min(own, key=lambda dot: abs(dot.macs - share))


def _apart(one: Dot, other: Dot) -> str:
    """Differences of test mAP, seed by seed."""
    apart = [mine - theirs for mine, theirs in zip(one.scores, other.scores, strict=True)]
    return f"{', '.join(f'{value:+.2f}' for value in apart)}, mean {mean(apart):+.2f}"


def _as_fast(pruned: Dot, dropped: Sequence[Dot]) -> str:
    """Dropping beside a pruned model, at its latency or less."""
    about = f"- As fast as pruning to {pruned.macs:.0%} of the multiply-adds ({pruned.speedup:.2f}x, mAP {pruned.average:.2f})"
    one = next((dot for dot in dropped if dot.speedup >= pruned.speedup), None)
    if one is None:
        return f"{about}: no model by block drop, of which the fastest is {dropped[-1].speedup:.2f}x."
    return (f"{about}: block drop to {one.macs:.0%}, {one.speedup:.2f}x, mAP {one.average:.2f}; difference in mAP, seed by seed: "
            f"{_apart(one, pruned)}.")


def _most(method: str, kept: list[Dot]) -> str:
    if not kept:
        return f"{method} none"
    best = min(kept, key=lambda dot: dot.macs)
    return f"{method} {1 - best.macs:.0%} (test mAP {best.average:.2f})"


def picture(found_dots: dict[str, list[Dot]], before: Dot, path: Path) -> None:
    """mAP against multiply-adds and against time, on a scale on which what is chance looks small."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    spread = stdev(before.scores) if len(before.scores) > 1 else 0.0
    for (method, own), style in zip(found_dots.items(), STYLES, strict=True):
        scores = [before.average, *(dot.average for dot in own)]
        left.plot([100, *(100 * dot.macs for dot in own)], scores, style, label=method, markersize=4)
        right.plot([1, *(dot.speedup for dot in own)], scores, style, label=method, markersize=4)
    left.set(xlabel="multiply-adds, % of the baseline's", ylabel="average mAP on test videos, %")
    left.invert_xaxis()
    right.set(xlabel="measured speed-up over the baseline")
    for axis in (left, right):
        axis.axhline(before.average, color="0.7", linewidth=0.8, zorder=0)
        axis.axhspan(before.average - spread, before.average + spread, color="0.94", zorder=-1)
        axis.spines[["top", "right"]].set_visible(False)
    low, high = left.get_ylim()
    left.set_ylim(min(low, before.average - SHOWN), max(high, before.average + SHOWN))
    left.set_title("grey: the baseline, and one standard deviation between seeds", fontsize=8, color="0.4", loc="left")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(STYLES), frameon=False, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def main() -> None:
    """Run, print, and keep the figures; or one job, as a child process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=("hapt", "synthetic"), required=True)
    parser.add_argument("--data", type=Path, help="folder of the real datasets")
    add_job_options(parser)
    given = parser.parse_args()
    given.work_dir = given.work_dir or Path("tadshrink-runs/compression") / given.dataset
    check_folder(given.work_dir, given.dataset)
    if given.job:
        name, seed = given.job
        one = job(given, int(seed))
        one.keep(BASELINE) if name == BASELINE else one.points(name)
    else:
        print(compare(given))


def compare(given: argparse.Namespace) -> str:
    """Each job that is not done yet, in its own process; the table of all, which is kept."""
    told = recall(given)
    done = [job(given, seed) for seed in range(given.seeds)]
    done[0].test_choice()
    missing = [(method, one.seed) for method in METHODS for one in done if not one.compared(method).exists()]
    baselines = [(BASELINE, seed) for seed in dict.fromkeys(seed for _, seed in missing) if not done[seed].baseline.exists()]
    run_jobs("tests.benchmarks.comparison", given.work_dir, given.processes, baselines + missing,
             lambda one: [(BASELINE, one[1])] if one[0] != BASELINE else [], lambda: keep(given, done, told))
    told = told or speeds(done[0], {method: done[0].points(method) for method in METHODS})
    keep(given, done, told)
    rows = [baseline(one) for one in done]
    before = Dot(1.0, 1.0, *(tuple(row[split]["average_map"] for row in rows) for split in ("testing", "heldout")))
    drawn = dots([{method: one.points(method) for method in METHODS} for one in done], told, rows[0]["macs"])
    text = table(drawn, before, told)
    write_text(RESULTS / f"comparison_{given.dataset}.md", text)
    picture(drawn, before, RESULTS / f"comparison_{given.dataset}.png")
    return text


def job(given: argparse.Namespace, seed: int) -> Comparison:
    """What is asked for, with a seed."""
    benchmark = BENCHMARKS[given.dataset]
    return Comparison(benchmark, benchmark.choice(given.data), seed, given.work_dir)


def keep(given: argparse.Namespace, done: Sequence[Comparison], told: dict[str, Any]) -> None:
    """Write what there is."""
    there = [{method: [{key: value for key, value in point.items() if key != "path"} for point in one.points(method)]
              for method in METHODS if one.compared(method).exists()} for one in done]
    write_json(RESULTS / f"comparison_{given.dataset}.json", {
        "command": command_of("comparison", given),
        "settings": settings_of(given.dataset), "baselines": [read_json(one.found(BASELINE)) if one.found(BASELINE).exists() else None
                                                              for one in done], "points": there, "speeds": told})


def recall(given: argparse.Namespace) -> dict[str, Any]:
    """The speeds that an earlier call has found. Its other figures are put into the work dir, where they are missing; but those of the
    first seed only with the speeds, for which its models are needed."""
    earlier = recalled(RESULTS / f"comparison_{given.dataset}.json", settings_of(given.dataset), given.fresh)
    speeds = earlier.get("speeds", {})
    for seed, (record, points) in enumerate(zip(earlier.get("baselines", []), earlier.get("points", []), strict=True)):
        one = job(given, seed)
        compared = {one.compared(method): own for method, own in points.items()} if seed or speeds else {}
        for path, value in {one.found(BASELINE): record, **compared}.items():
            if value and not path.exists():
                write_json(path, value)
    return speeds


def baseline(one: Comparison) -> Point:
    """The row of the baseline of a seed."""
    return read_json(one.found(BASELINE))["rows"][0]


if __name__ == "__main__":
    main()
