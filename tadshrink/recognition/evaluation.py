"""From trimmed videos to class probabilities: views one by one and averaged, or one compressed pass over the whole video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from tadshrink.data.loader import grouped, prefetch
from tadshrink.device import Compute
from tadshrink.recognition.config import RecogniserConfig
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.recognition.views import ClipSource, Views, module_views
from tadshrink.reporting import SILENT, Reporter


class Model(Protocol):
    """What classifies: a recogniser, or one that was exported. ``sfc`` is its module, or ``None``."""

    config: RecogniserConfig
    sfc: object

    def eval(self) -> object:
        """Go into the mode that classifies."""

    def probabilities(self, clips: Tensor, together: bool) -> Tensor:
        """See :meth:`~tadshrink.recognition.recogniser.ActionRecogniser.probabilities`."""


@torch.inference_mode()
def predict(recogniser: Model, records: Sequence[TrimmedVideo], source: ClipSource, views: Views | None, compute: Compute,
            batch_size: int = 16, name: str = "recognise", reporter: Reporter = SILENT) -> Tensor:
    """Class probabilities of each video, float32 ``[videos, K]`` on the CPU.

    Args:
        views: each is classified alone, and their probabilities are averaged; ``None``: the clips of the module in one pass.
        batch_size: clips at a time.

    Raises:
        UserError: a file cannot be read, or ``views`` is ``None`` and there is no module.
    """
    recogniser.eval()
    run = _one_by_one if views else _compressed
    rows: list[Tensor] = []
    with reporter.track(name, len(records)) as advance:
        for row in run(recogniser, records, source, views or module_views(recogniser.config), compute, batch_size):
            rows.append(row)
            advance(1, records[len(rows) - 1].name)
    return torch.stack(rows)


def _one_by_one(recogniser: Model, records: Sequence[TrimmedVideo], source: ClipSource, views: Views, compute: Compute,
                batch_size: int) -> Iterator[Tensor]:
    """Batches may hold views of several videos, or a part of those of one."""
    count = views.clips * views.crops
    waiting: list[Tensor] = []
    for batch in prefetch(map(torch.stack, grouped((view for record in records for view in source.views(record, views)), batch_size))):
        with compute.autocast():
            waiting += recogniser.probabilities(batch.to(compute.device), together=False)
        while len(waiting) >= count:
            yield torch.stack(waiting[:count]).mean(0)
            waiting = waiting[count:]


def _compressed(recogniser: Model, records: Sequence[TrimmedVideo], source: ClipSource, views: Views, compute: Compute,
                batch_size: int) -> Iterator[Tensor]:
    videos = max(1, batch_size // views.clips)
    for batch in prefetch(map(torch.stack, grouped((source.views(record, views) for record in records), videos))):
        with compute.autocast():
            rows = recogniser.probabilities(batch.to(compute.device), together=True)
        # Not within: who takes them would compute likewise.
        yield from rows
