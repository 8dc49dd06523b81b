"""What is trained: a whole recogniser on random clips, or an SFC module between a frozen head and a frozen tail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate

from tadshrink.data.loader import grouped, prefetch
from tadshrink.device import Compute
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.recognition.settings import ClipTrainSettings, ModuleTrainSettings
from tadshrink.recognition.views import ClipSource, module_views
from tadshrink.reporting import SILENT, Reporter
from tadshrink.training.loop import Task

#: Batches over which batch norms measure the averaged weights.
MEASURED = 50
#: An input, the number of its class, and what else the loss compares with.
Sample = tuple[Tensor | int, ...]


class VideoFeatures(NamedTuple):
    """What the frozen head gives for the clips of a video, float32 ``[C, T, h, w]``, and what the tail makes of each without a module:
    mean class probabilities ``[K]``, or none of them (``[0]``) where they are not asked for."""

    features: Tensor
    dense: Tensor

    @property
    def nbytes(self) -> int:
        """Of both."""
        return self.features.nbytes + self.dense.nbytes


@dataclass(frozen=True)
class LabelledVideos:
    """Videos with the numbers of their classes, and where their clips come from."""

    records: Sequence[TrimmedVideo]
    labels: Sequence[int]
    source: ClipSource

    def order(self, epoch: int, seed: int, times: int = 1) -> list[int]:
        """Each video so many times, in an order drawn from (seed, epoch)."""
        return (np.random.default_rng([seed, epoch]).permutation(len(self.records) * times) % len(self.records)).tolist()

    def batches(self, samples: Iterable[Sample], batch_size: int) -> Iterator[list[Tensor]]:
        """Inputs, labels int64 ``[B]`` and what else there is; a last, smaller batch is left out, unless it is the only one."""
        for number, batch in enumerate(grouped(samples, batch_size)):
            if len(batch) == batch_size or not number:
                yield default_collate(batch)


def clip_task(recogniser: ActionRecogniser, videos: LabelledVideos, settings: ClipTrainSettings) -> Task:
    """Cross-entropy on random clips. All that is random depends on (seed, epoch, place in the epoch) alone."""
    def samples(epoch: int) -> Iterator[Sample]:
        for place, index in enumerate(videos.order(epoch, settings.seed, settings.clips_per_video)):
            rng = np.random.default_rng([settings.seed, epoch, place])
            yield videos.source.draw(videos.records[index], 1, rng, settings.augment), videos.labels[index]

    def losses(batch: list[Tensor]) -> dict[str, Tensor]:
        recogniser.train()
        clips, labels = (part.to(recogniser.mean.device) for part in batch)
        return {"ce": functional.cross_entropy(recogniser(clips)[:, 0].float(), labels, label_smoothing=settings.label_smoothing)}

    count = len(videos.records) * settings.clips_per_video
    return Task(recogniser, losses, lambda epoch: prefetch(videos.batches(samples(epoch), settings.batch_size)),
                max(1, count // settings.batch_size))


@dataclass
class HeadFeatures:
    """:class:`VideoFeatures` of each video: kept as long as there is room.

    Attributes:
        bytes: of all that is kept.
    """

    recogniser: ActionRecogniser
    videos: LabelledVideos
    compute: Compute
    settings: ModuleTrainSettings
    reporter: Reporter = SILENT
    bytes: int = 0
    kept: dict[int, VideoFeatures] = field(default_factory=dict)
    full: bool = False

    def of(self, index: int, rng: np.random.Generator) -> VideoFeatures:
        """Those of a video; with augmentation, those of clips drawn by ``rng``."""
        if index in self.kept:
            return self.kept[index]
        record, views = self.videos.records[index], module_views(self.recogniser.config)
        if self.settings.augment:
            return self._computed(self.videos.source.draw(record, views.clips, rng, turns=views.turns))
        found = self._computed(self.videos.source.views(record, views))
        self._keep(index, found)
        return found

    @torch.no_grad()
    def _computed(self, clips: Tensor) -> VideoFeatures:
        with self.compute.autocast():
            features = self.recogniser.clip_features(clips[None].to(self.compute.device))
            dense = self.recogniser.dense(features, len(clips))[0] if self.settings.dense_weight else features.new_zeros(0)
        return VideoFeatures(features[0].float(), dense)

    def _keep(self, index: int, found: VideoFeatures) -> None:
        if self.bytes + found.nbytes <= self.settings.keep_mib << 20:
            self.kept[index], self.bytes = found, self.bytes + found.nbytes
        elif not self.full:
            self.full = True
            self.reporter.note(f"features of {len(self.kept)} of {len(self.videos.records)} videos fill {self.settings.keep_mib} MiB; those of "
                               "the others are computed in every epoch (--keep-mib)")


def module_task(recogniser: ActionRecogniser, features: HeadFeatures, settings: ModuleTrainSettings) -> Task:
    """Cross-entropy through module and tail, with labels and dense answers; only the module's parameters are trained."""
    videos = features.videos

    def samples(epoch: int) -> Iterator[Sample]:
        for index in videos.order(epoch, settings.seed):
            inputs, dense = features.of(index, np.random.default_rng([settings.seed, epoch, index]))
            yield inputs, videos.labels[index], dense

    def losses(batch: list[Tensor]) -> dict[str, Tensor]:
        recogniser.train()
        inputs, labels, dense = (part.to(recogniser.mean.device) for part in batch)
        logits = recogniser.finish_clips(inputs).float()
        ce = functional.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        if not (weight := settings.dense_weight):
            return {"ce": ce}
        return {"ce": (1 - weight) * ce, "dense": weight * functional.cross_entropy(logits, dense)}

    recogniser.freeze()
    return Task(recogniser, losses, lambda epoch: videos.batches(samples(epoch), settings.batch_size),
                max(1, len(videos.records) // settings.batch_size))


@torch.no_grad()
def measure_norms(task: Task, compute: Compute) -> None:
    """Measure the statistics of the batch norms that are trained anew: averaged weights never saw those of the last steps."""
    task.model.train()
    norms = [norm for norm in task.model.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.training]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    for _, batch in zip(range(MEASURED), task.batches(0), strict=False):
        with compute.autocast():
            task.losses(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
