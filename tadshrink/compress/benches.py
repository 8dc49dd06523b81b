"""How selection takes each kind of dataset: its videos, what is to be found in them, and the judges that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from tadshrink.compress.judges import Judge, LossJudge, MapJudge, MseJudge
from tadshrink.compress.one_pass import CosineJudge, RandomJudge, TaylorJudge
from tadshrink.data.actions import ActionGrid
from tadshrink.data.datasets import Dataset
from tadshrink.data.sources import Source
from tadshrink.data.timeline import Video
from tadshrink.data.windows import Window
from tadshrink.evaluation.inference import split_videos
from tadshrink.recognition.data import RecognitionDataset
from tadshrink.recognition.judges import ClassLossJudge, Top1Judge
from tadshrink.recognition.windows import Labels, as_videos


class Actions(Protocol):
    """What is to be found in the windows of a split."""

    def inside(self, video: str, window: Window) -> tuple[Tensor, Tensor]:
        """Segments ``[n, 2]`` in grid cells and labels ``[n]``."""


@dataclass(frozen=True)
class BenchKind:
    """One kind of dataset.

    Attributes:
        videos: of a split.
        actions: of a split, on the grid of a source.
        judges: by the name of their metric.
        accuracy: what the metric "map" is called there.
    """

    videos: Callable[[Any, str], list[Video]]
    actions: Callable[[Any, str, Source], Actions]
    judges: Mapping[str, type[Judge]]
    accuracy: str


_EVERY: dict[str, type[Judge]] = {"mse": MseJudge, "cosine": CosineJudge, "taylor": TaylorJudge, "random": RandomJudge}
BENCHES: dict[type, BenchKind] = {
    Dataset: BenchKind(split_videos, ActionGrid, {"map": MapJudge, "loss": LossJudge} | _EVERY, "map"),
    RecognitionDataset: BenchKind(as_videos, lambda dataset, split, source: Labels(dataset, split),
                                  {"map": Top1Judge, "loss": ClassLossJudge} | _EVERY, "top1"),
}
