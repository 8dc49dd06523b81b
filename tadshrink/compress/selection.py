"""Block Selection Evaluator (Progressive Block Drop): how good is the model without each remaining block?

All candidates share the decoding of every video and the blocks before the candidate: the running activation is kept and
only the blocks after the candidate run again, about half of the block forwards of the plain way, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tadshrink.data.actions import ActionGrid
from tadshrink.data.datasets import Dataset
from tadshrink.data.loader import VideoWindow
from tadshrink.data.sources import Source
from tadshrink.device import Compute
from tadshrink.errors import UserError
from tadshrink.evaluation.inference import Collector, ground_truth, split_videos, window_batches
from tadshrink.evaluation.mean_ap import GroundTruth, mean_average_precision
from tadshrink.models.detector import Detector, DetectorOutput
from tadshrink.models.losses import detection_losses
from tadshrink.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Candidate:
    """A block and what the model scores without it."""

    block: int
    score: float
    #: Score minus the score of the model with all its blocks.
    change: float

    def to_json(self) -> dict[str, Any]:
        return {"block": self.block, "score": self.score, "change": self.change}


@dataclass(frozen=True)
class Ranking:
    """All remaining blocks, best to drop first; among equals the smallest index goes first."""

    metric: str
    baseline: float
    candidates: tuple[Candidate, ...]

    def to_json(self) -> dict[str, Any]:
        return {"metric": self.metric, "baseline": self.baseline, "ranking": [item.to_json() for item in self.candidates]}


@dataclass(frozen=True)
class Evidence:
    """One batch of windows as every candidate is judged on it; ``features`` ``[B, D, T]`` are the whole model's."""

    features: Tensor
    windows: Sequence[VideoWindow]
    segments: list[Tensor]
    labels: list[Tensor]


class Scorer(Protocol):
    """Judges one candidate over all batches."""

    def add(self, output: DetectorOutput, evidence: Evidence) -> None: ...

    def result(self) -> float: ...


class MapScorer:
    """Average mAP in percent."""

    def __init__(self, detector: Detector, truth: GroundTruth) -> None:
        self.collector, self.truth, self.classes = Collector(detector.config), truth, list(detector.config.classes)

    def add(self, output: DetectorOutput, evidence: Evidence) -> None:
        self.collector.add(output, evidence.windows)

    def result(self) -> float:
        return mean_average_precision(self.truth, self.collector.finish(), self.classes).average


class _MeanScorer:
    """Mean over windows of a number per batch."""

    def __init__(self, detector: Detector, truth: GroundTruth) -> None:
        self.detector, self.total, self.windows = detector, 0.0, 0

    def add(self, output: DetectorOutput, evidence: Evidence) -> None:
        self.total += self.value(output, evidence) * len(evidence.windows)
        self.windows += len(evidence.windows)

    def result(self) -> float:
        return self.total / self.windows

    def value(self, output: DetectorOutput, evidence: Evidence) -> float:
        raise NotImplementedError


class LossScorer(_MeanScorer):
    """Detection loss (classification and regression)."""

    def value(self, output: DetectorOutput, evidence: Evidence) -> float:
        head, config = self.detector.rpn_head, self.detector.config.head
        return float(detection_losses(output, evidence.segments, evidence.labels, head.loss_normalizer, config, training=False).total)


class MseScorer(_MeanScorer):
    """Squared error of the backbone's features to those of the model with all its blocks."""

    def value(self, output: DetectorOutput, evidence: Evidence) -> float:
        return float(torch.nn.functional.mse_loss(output.features, evidence.features))


@dataclass(frozen=True)
class Metric:
    """A way to judge candidates; ``sign`` is 1 when higher is better."""

    scorer: Callable[[Detector, GroundTruth], Scorer]
    sign: int


METRICS = {"map": Metric(MapScorer, 1), "loss": Metric(LossScorer, -1), "mse": Metric(MseScorer, -1)}


def check_metric(name: str) -> None:
    """Raise a :class:`UserError` unless ``name`` is a key of :data:`METRICS`."""
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}", fix=f"Metrics: {', '.join(METRICS)}")


@torch.inference_mode()
def rank_blocks(detector: Detector, dataset: Dataset, split: str, metric: str, source: Source, compute: Compute,
                batch_size: int = 8, reporter: Reporter = SILENT) -> Ranking:
    """Score the model without each of its blocks on the videos of ``split`` and rank them, best to drop first.

    Raises:
        UserError: unknown metric, or a model with a single block left.
    """
    check_metric(metric)
    if len(detector.blocks.indices) < 2:
        raise UserError("only one block is left", fix="A model needs at least one block: nothing can be dropped")
    detector.eval()
    truth = ground_truth(dataset, split)
    scorers = {block: METRICS[metric].scorer(detector, truth) for block in [None, *detector.blocks.indices]}
    actions = ActionGrid(dataset, split, source)
    batches = window_batches(split_videos(dataset, split), source, compute, batch_size, "select", reporter)
    for inputs, masks, windows in batches:
        with compute.autocast():
            features = leave_one_out(detector, inputs, masks)
            evidence = Evidence(features[None], windows, *_targets(actions, windows))
            for block, scorer in scorers.items():
                scorer.add(detector.finish(features[block], masks), evidence)
    return _rank(metric, {block: scorer.result() for block, scorer in scorers.items()})


def leave_one_out(detector: Detector, inputs: Tensor, masks: Tensor) -> dict[int | None, Tensor]:
    """Features ``[B, D, T]`` that go into the head without each block (by original index) and with all of them (``None``)."""
    features: dict[int | None, Tensor] = {}
    tokens = detector.embed(inputs, masks)
    for block in detector.blocks.indices:
        features[block] = detector.pool(detector.run_blocks(tokens, masks, first=block + 1), masks)
        tokens = detector.run_blocks(tokens, masks, first=block, last=block)
    features[None] = detector.pool(tokens, masks)
    return features


def _targets(actions: ActionGrid, windows: Sequence[VideoWindow]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [actions.inside(window.video, window.window) for window in windows]
    return [segments for segments, _ in pairs], [labels for _, labels in pairs]


def _rank(metric: str, scores: dict[int | None, float]) -> Ranking:
    baseline = scores.pop(None)
    candidates = [Candidate(block, score, score - baseline) for block, score in scores.items() if block is not None]
    candidates.sort(key=lambda item: (-METRICS[metric].sign * item.score, item.block))
    return Ranking(metric, baseline, tuple(candidates))
