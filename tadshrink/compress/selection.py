"""Block Selection Evaluator (Progressive Block Drop): how good is the model without each unit that is left?

Each video is decoded once for all candidates, in groups of videos that fill a batch. A group is what one of several processes
takes at a time, and what is kept of a selection that is interrupted; its numbers do not depend on who looks at it, nor when.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise

import numpy as np

from tadshrink.compress.benches import BENCHES
from tadshrink.compress.candidates import WHOLE, Candidate, Key, Ranking, candidates, ranked
from tadshrink.compress.journal import Entry, Journal
from tadshrink.compress.judges import Bench, Found, Judge, Windows
from tadshrink.compress.racing import Rung, rungs, stopped
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.data.datasets import Dataset
from tadshrink.data.loader import inference_batches, prefetch, with_last
from tadshrink.data.sources import Source
from tadshrink.data.timeline import Video
from tadshrink.device import Compute
from tadshrink.distributed import gather, only_first, start, world
from tadshrink.errors import UserError
from tadshrink.evaluation.inference import count_windows
from tadshrink.models.detector import Detector
from tadshrink.models.units import NOUNS, too_few, units
from tadshrink.recognition.data import RecognitionDataset
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.reporting import SILENT, Advance, Reporter

Groups = list[list[Video]]


def rank_units(detector: Detector | ActionRecogniser, dataset: Dataset | RecognitionDataset, split: str, options: SelectOptions,
               source: Source, compute: Compute, journal: Journal | None = None, reporter: Reporter = SILENT) -> Ranking:
    """Judge each run of units on the videos of ``split`` and rank them, best to drop first.

    Under torchrun every process calls this and has its share of the videos; each gets the same ranking as one alone would.

    Args:
        journal: what an interrupted call found, and this one finds.

    Raises:
        UserError: nothing can be dropped.
    """
    keys = _candidates(detector, options)
    start(compute.device)
    kind = BENCHES[type(dataset)]
    bench = Bench(detector.eval(), dataset, split, kind.actions(dataset, split, source), compute)
    judge = kind.judges[options.metric](bench, options.unit, options.seed)
    groups = _groups(kind.videos(dataset, split), source, options) if judge.looks else []
    race = rungs(groups, len(keys), options.top) if options.race else []
    if options.race and not race:
        reporter.note(f"{sum(map(len, groups))} videos in {len(groups)} batches are too few for a race: every candidate is judged on all")
    selection = _Selection(judge, keys, groups, race, options.top)
    selection.run(source, options.batch_size, journal, reporter)
    return selection.ranking(kind.accuracy if options.metric == "map" else options.metric, options.race)


def _candidates(detector: Detector, options: SelectOptions) -> list[Key]:
    there = len(units(detector.blocks.left, options.unit))
    if there < 2:
        raise UserError(too_few(there, options.unit), fix="A model needs at least one: nothing can be dropped")
    if options.span >= there:
        raise UserError(f"a span of {options.span} leaves none of the {there} {NOUNS[options.unit]}", fix="Give a smaller --span")
    if options.race and options.top >= there - options.span + 1:
        raise UserError(f"a race for the best {options.top} of {there - options.span + 1} stops none", fix="Give a smaller --top, or no --race")
    if options.span > 1 and "cosine" in (options.metric, *options.compare) and detector.blocks.joint is not None:
        raise UserError("cosine compares what goes into a span with what comes out, and the compressing module in between changes its shape",
                        fix="Choose another --metric, or no --span")
    return candidates(detector.blocks.left, options.unit, options.span)


def _groups(videos: Sequence[Video], source: Source, options: SelectOptions) -> Groups:
    """Neighbouring videos that fill a batch together; in a race, in an order drawn by the seed."""
    if options.race:
        order = np.random.default_rng(options.seed).permutation(len(videos))
        videos = [videos[place] for place in order]
    groups: Groups = []
    room = 0
    for video in videos:
        if room <= 0:
            groups.append([])
            room = options.batch_size
        groups[-1].append(video)
        room -= count_windows([video], source)
    return groups


class _Selection:
    """A selection under way."""

    def __init__(self, judge: Judge, keys: list[Key], groups: Groups, race: list[Rung], top: int) -> None:
        self.judge, self.keys, self.groups, self.top = judge, keys, groups, top
        self.race = {rung.groups: rung for rung in race}
        self.tallies: dict[Key, dict[str, np.ndarray]] = {key: {} for key in ([WHOLE] if judge.whole else []) + keys}
        self.out: dict[Key, Candidate] = {}
        self.done = 0
        self.started = time.perf_counter()

    def run(self, source: Source, batch_size: int, journal: Journal | None, reporter: Reporter) -> None:
        """Look at every group, unless the race is over before."""
        self._go_on(only_first(lambda: journal.read(reporter)) if journal else [], reporter)
        rounds = self._rounds()
        mine = [self.groups[places[world().rank]] for places in rounds if len(places) > world().rank]
        with (reporter.track("select", count_windows((video for group in mine for video in group), source)) as advance,
              closing(_decoded(mine, source, self.judge.bench.compute, batch_size, advance)) as batches, ThreadPoolExecutor(1) as beside):
            waiting: list[tuple[range, Future[Found] | None]] = []
            for places in rounds:
                own = self.judge.group(next(batches), self._alive(), beside) if len(places) > world().rank else None
                waiting.append((places, own))
                # The last group is taken while the next one is looked at, unless it decides who goes on.
                decides = places[-1] + 1 in self.race or places is rounds[-1]
                while waiting and (decides or len(waiting) > 1):
                    self._gathered(*waiting.pop(0), journal)
                if self._over():
                    return

    def _gathered(self, places: range, own: Future[Found] | None, journal: Journal | None) -> None:
        """Take what each process found in its group."""
        for found in gather({} if own is None else own.result())[: len(places)]:
            if journal and world().rank == 0:
                journal.add(Entry(found, time.perf_counter() - self.started))
            self._take(found)

    def _go_on(self, entries: list[Entry], reporter: Reporter) -> None:
        """Take what an interrupted call found."""
        for entry in entries:
            self._take(entry.found)
        if entries:
            self.started -= entries[-1].seconds
            reporter.note(f"going on after {len(entries)} of {len(self.groups)} groups of videos")

    def _rounds(self) -> list[range]:
        """What is left to look at: a group for each process at a time, up to the next decision of the race."""
        ends = [number for number in [*sorted(self.race), len(self.groups)] if number > self.done]
        size = world().size
        rounds = [range(first, min(first + size, end)) for begin, end in pairwise([self.done, *ends]) for first in range(begin, end, size)]
        return [] if self._over() else rounds

    def _alive(self) -> list[Key]:
        return [key for key in self.keys if key not in self.out]

    def _over(self) -> bool:
        return bool(self.out) and len(self._alive()) <= self.top

    def _take(self, found: Found) -> None:
        """Add what the next group gave, and decide who goes on, if that is due."""
        for key, tally in found.items():
            self.tallies[key].update(tally)
        self.done += 1
        rung = self.race.get(self.done)
        if rung:
            out = stopped(self.judge, {key: self.tallies[key] for key in self._alive()}, rung, self.top)
            self.out |= {key: self._judged(key, why) for key, why in out.items()}

    def _judged(self, key: Key, why: str | None = None) -> Candidate:
        score = self.judge.score(key, self.tallies[key])
        return Candidate(key, score, None if (whole := self._whole()) is None else score - whole, len(self.tallies[key]), why)

    def _whole(self) -> float | None:
        """Score of the whole model, so far."""
        return self.judge.score(WHOLE, self.tallies[WHOLE]) if self.judge.whole else None

    def ranking(self, metric: str, raced: bool) -> Ranking:
        """What came out."""
        seconds = time.perf_counter() - self.started
        found = ranked([*self.out.values(), *(self._judged(key) for key in self._alive())], self.judge.sign)
        return Ranking(metric, self.judge.sign, self._whole(), found, sum(map(len, self.groups)), seconds, raced)


def _decoded(groups: Groups, source: Source, compute: Compute, batch_size: int, advance: Advance) -> Iterator[Iterator[Windows]]:
    """The windows of each group, decoded ahead of those who look at them; each group must be taken to its end."""
    ahead = prefetch((item for group in groups for item in with_last(inference_batches(group, source, batch_size))), depth=1)

    def batches() -> Iterator[Windows]:
        for (inputs, masks, windows), last in ahead:
            yield inputs.to(compute.device), masks.to(compute.device), windows
            advance(len(windows), windows[-1].video)
            if last:
                return

    with closing(ahead):
        for _ in groups:
            yield batches()

