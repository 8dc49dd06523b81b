"""What the reference programs computed with whole models: a checkpoint, and calls of its detector with everything that came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

import tadshrink
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import VideoScores
from tadshrink.models.detector import Detector, DetectorOutput

#: The weights that a file may hold.
KINDS = ("ema", "raw")


@dataclass(frozen=True)
class Place:
    """Which part of which video a window is."""

    video: str
    start_frame: int
    fps: float
    duration: float


@dataclass(frozen=True)
class Losses:
    """Losses of a batch, with the running number of positives before it; OpenTAD uses that in training only."""

    cls: float
    reg: float
    training: bool
    normaliser: float


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a detector, and what the reference made of it.

    Attributes:
        inputs, masks: arguments of the detector.
        outputs: arrays by the reference's names, for the weights ("ema", "raw") that it was called with.
        places: of every sample; empty where no detections are known.
        windows: detections per video, one window after the other, before windows are merged; with EMA weights, as is ``final``.
        final: detections per video; empty where only some windows of a video are in the batch.
        segments, labels: annotated actions per sample, in grid cells.
        losses: by weights.
    """

    inputs: Tensor
    masks: Tensor
    outputs: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    places: Sequence[Place] = ()
    windows: Mapping[str, Detections] = field(default_factory=dict)
    final: Mapping[str, Detections] = field(default_factory=dict)
    segments: Sequence[Tensor] = ()
    labels: Sequence[Tensor] = ()
    losses: Mapping[str, Sequence[Losses]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Case:
    """A checkpoint and calls of its detector.

    Attributes:
        write: the path of the checkpoint, which may be made in the folder given.
        settings: what the file cannot tell, for :func:`tadshrink.load`.
        labels: names that the labels of detections are numbers of.
        scores: of a video-level classifier, which names the detections.
    """

    name: str
    write: Callable[[Path], Path]
    settings: dict[str, Any]
    labels: Sequence[str]
    calls: Mapping[str, Call]
    scores: VideoScores | None = None


class Models:
    """Opens each case, loads each detector and calls it once, for all tests."""

    def __init__(self, folder: Path, opened: Callable[[str], Case]) -> None:
        self.folder = folder
        self.case = cache(opened)
        self.path = cache(self._path)
        self.detector = cache(self._detector)
        self.output = cache(self._output)

    def _path(self, name: str) -> Path:
        return self.case(name).write(self.folder)

    def _detector(self, name: str, kind: str) -> Detector:
        return tadshrink.load(self.path(name), weights=kind, **self.case(name).settings)

    @torch.no_grad()
    def _output(self, name: str, call: str, kind: str) -> DetectorOutput:
        asked = self.case(name).calls[call]
        return self.detector(name, kind)(asked.inputs, asked.masks)
