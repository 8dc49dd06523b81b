"""What every metric of selection has in common, and those that need the model's output without each candidate.

A judge looks at one group of videos at a time and gives, for each candidate, one array per video: what must be known of that
video to judge the candidate on any set of videos.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tadshrink.compress.candidates import WHOLE, Key
from tadshrink.compress.passes import leave_out
from tadshrink.data.loader import VideoWindow
from tadshrink.device import Compute
from tadshrink.evaluation.bootstrap import resample
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.inference import Collector, finish_together, ground_truth
from tadshrink.evaluation.matching import compare
from tadshrink.evaluation.mean_ap import map_result
from tadshrink.evaluation.rules import RULES
from tadshrink.evaluation.tables import Floats, Regions, flatten_detections, flatten_truth, number_videos
from tadshrink.models.detector import Detector, DetectorOutput
from tadshrink.models.losses import detection_losses

#: Inputs, masks and where each window comes from, on the device.
Windows = tuple[Tensor, Tensor, list[VideoWindow]]
#: Video -> what a judge noted of it.
Tally = Mapping[str, np.ndarray]
#: What one group of videos gave.
Found = dict[Key, Tally]


@dataclass(frozen=True)
class Bench:
    """What judges work with.

    Attributes:
        data: the dataset, of a kind that the judge is for.
        actions: what is to be found in each window of it, see :class:`~tadshrink.compress.benches.Actions`.
    """

    detector: Detector
    data: Any
    split: str
    actions: Any
    compute: Compute

    def targets(self, windows: Sequence[VideoWindow]) -> tuple[list[Tensor], list[Tensor]]:
        """Segments in grid cells and labels of the actions in each window."""
        pairs = [self.actions.inside(window.video, window.window) for window in windows]
        return [segments for segments, _ in pairs], [labels for _, labels in pairs]


class Judge:
    """One metric.

    Attributes:
        sign: 1 where a higher score is better, else -1.
        whole: the whole model has a score as well.
        looks: at videos; otherwise there are no groups, and scores come from nothing.
    """

    sign = -1
    whole = True
    looks = True

    def __init__(self, bench: Bench, kind: str, seed: int) -> None:
        self.bench, self.kind, self.seed = bench, kind, seed

    def group(self, batches: Iterable[Windows], candidates: Sequence[Key], beside: Executor) -> Future[Found]:
        """Look at all windows of some videos; each video comes in one group.

        Args:
            beside: one thread for what need not be waited for before the next group is looked at.

        Returns:
            what is noted, by candidate (and the whole model).
        """
        raise NotImplementedError

    def score(self, key: Key, tally: Tally) -> float:
        """Of a candidate, on the videos in its tally."""
        raise NotImplementedError

    def resampled(self, tally: Tally, count: int) -> tuple[float, Floats]:
        """The score, and those of as many videos as there are, drawn with replacement: [count], the same draws for every tally of them."""
        raise NotImplementedError

    def informative(self, videos: Collection[str]) -> int:
        """How many of these videos a score says something of."""
        return len(videos)


class OutputJudge(Judge):
    """By the detector's output without each candidate."""

    @torch.inference_mode()
    def group(self, batches: Iterable[Windows], candidates: Sequence[Key], beside: Executor) -> Future[Found]:
        books = {key: self.open() for key in (WHOLE, *candidates)}
        noted: list[Future[None]] = []
        for inputs, masks, windows in batches:
            with self.bench.compute.autocast():
                features = leave_out(self.bench.detector, inputs, masks, candidates)
            # Of a long video, no more than two batches of features are kept.
            for earlier in noted:
                earlier.result()
            noted = [beside.submit(self._note, books, features, masks, windows)]
        return beside.submit(self._closed, books, noted)

    @torch.inference_mode()
    def _note(self, books: dict[Key, Any], features: dict[Key, Tensor], masks: Tensor, windows: list[VideoWindow]) -> None:
        """What the head makes of the features without each candidate."""
        targets = self.bench.targets(windows)
        with self.bench.compute.autocast():
            for key, book in books.items():
                self.note(book, self.bench.detector.finish(features[key], masks), windows, features[WHOLE], targets)

    def _closed(self, books: dict[Key, Any], noted: list[Future[None]]) -> Found:
        for earlier in noted:
            # It is done, as there is one thread only; but may have failed.
            earlier.result()
        return self.close(books)

    def open(self):  # type: ignore[no-untyped-def]
        """A book for one candidate."""
        raise NotImplementedError

    def note(self, book, output: DetectorOutput, windows: list[VideoWindow], whole: Tensor, targets) -> None:  # type: ignore[no-untyped-def]
        """Write a batch of windows into a book; ``whole`` ``[B, D, T]`` are the features of the whole model."""
        raise NotImplementedError

    def close(self, books) -> Found:  # type: ignore[no-untyped-def]
        """What is in the books."""
        raise NotImplementedError


class MapJudge(OutputJudge):
    """Average mAP in percent, by the dataset's rule. Noted are the detections: start, end, score and label, float32 ``[N, 4]``."""

    sign = 1

    def __init__(self, bench: Bench, kind: str, seed: int) -> None:
        super().__init__(bench, kind, seed)
        records = bench.data.split(bench.split)
        self.truth = ground_truth(bench.data, bench.split)
        self.regions: Regions = {record.name: record.ambiguous for record in records}
        self.classes, self.rule = list(bench.detector.config.classes), RULES[bench.data.config.rule]
        self.thresholds = np.unique(np.asarray(bench.data.config.tiou, dtype=np.float64))

    def open(self) -> Collector:
        return Collector(self.bench.detector.config)

    def note(self, book: Collector, output: DetectorOutput, windows: list[VideoWindow], *more: object) -> None:
        book.add(output, windows)

    def close(self, books: dict[Key, Collector]) -> Found:
        found = finish_together(list(books.values()))
        return {key: {video: _rows(detections) for video, detections in videos.items()} for key, videos in zip(books, found, strict=True)}

    def score(self, key: Key, tally: Tally) -> float:
        return map_result(self._compared(tally), self.classes).average

    def resampled(self, tally: Tally, count: int) -> tuple[float, Floats]:
        compared = self._compared(tally)
        return map_result(compared, self.classes).average, resample(compared, len(self.classes), count, self.seed)

    def informative(self, videos: Collection[str]) -> int:
        return sum(bool(self.truth[video]) for video in videos)

    def _compared(self, tally: Tally):  # type: ignore[no-untyped-def]
        # In the order of the dataset, which decides between equal scores.
        truth = {video: actions for video, actions in self.truth.items() if video in tally}
        found = {video: _detections(tally[video]) for video in truth}
        return compare(flatten_truth(truth, self.classes, self.rule, self.regions), flatten_detections(found, number_videos(truth)),
                       self.thresholds, self.rule)


def _rows(found: Detections) -> np.ndarray:
    return np.concatenate([found.segments, found.scores[:, None], found.labels[:, None].astype(np.float32)], axis=1)


def _detections(rows: np.ndarray) -> Detections:
    return Detections(rows[:, :2], rows[:, 2], rows[:, 3])


class MeanJudge(Judge):
    """The mean over windows of a number for each. Noted are their sum and their count, float64 ``[2]``."""

    def score(self, key: Key, tally: Tally) -> float:
        total, count = np.sum([tally[video] for video in sorted(tally)], axis=0)
        return float(total / count)

    def resampled(self, tally: Tally, count: int) -> tuple[float, Floats]:
        rows = np.stack([tally[video] for video in sorted(tally)])
        draws = np.random.default_rng(self.seed).integers(0, len(rows), (count, len(rows)))
        totals = rows[draws].sum(axis=1)
        return self.score(WHOLE, tally), totals[:, 0] / totals[:, 1]


def add_windows(book: dict[str, np.ndarray], windows: Sequence[VideoWindow], values: Iterable[float]) -> None:
    """Note a number for each window."""
    for window, value in zip(windows, values, strict=True):
        book[window.video] = book.get(window.video, np.zeros(2)) + np.array([value, 1.0])


class MeanOutputJudge(MeanJudge, OutputJudge):
    """:class:`MeanJudge` by the model's output without each candidate."""

    def open(self) -> dict[str, np.ndarray]:
        return {}

    def close(self, books: dict[Key, dict[str, np.ndarray]]) -> Found:
        return dict(books)


class LossJudge(MeanOutputJudge):
    """Detection loss (classification and regression) of each window on its own."""

    def note(self, book: dict[str, np.ndarray], output: DetectorOutput, windows: list[VideoWindow], whole: Tensor,
             targets: tuple[list[Tensor], list[Tensor]]) -> None:
        head, config = self.bench.detector.rpn_head, self.bench.detector.config.head
        losses = (detection_losses(output.window(place), [segments], [labels], head.loss_normalizer.clone(), config, training=False)
                  for place, (segments, labels) in enumerate(zip(*targets, strict=True)))
        add_windows(book, windows, [float(loss.total) for loss in losses])


class MseJudge(MeanOutputJudge):
    """Squared error of the backbone's features to those of the whole model."""

    def note(self, book: dict[str, np.ndarray], output: DetectorOutput, windows: list[VideoWindow], whole: Tensor, targets: object) -> None:
        add_windows(book, windows, (output.features.float() - whole.float()).square().mean((1, 2)).tolist())
