"""What selection judges recognisers by: top-1, and the loss of the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from tadshrink.compress.candidates import WHOLE, Key
from tadshrink.compress.judges import Bench, Found, MeanOutputJudge, OutputJudge, Tally, add_windows
from tadshrink.data.loader import VideoWindow
from tadshrink.evaluation.tables import Floats
from tadshrink.recognition.recogniser import RecogniserOutput

Book = dict[str, np.ndarray]


class Top1Judge(OutputJudge):
    """Share of videos in percent whose class is the best guess. Noted are the class probabilities, summed over windows: ``[K]``."""

    sign = 1

    def __init__(self, bench: Bench, kind: str, seed: int) -> None:
        super().__init__(bench, kind, seed)
        self.labels: dict[str, int] = bench.actions.of

    def open(self) -> Book:
        return {}

    def note(self, book: Book, output: RecogniserOutput, windows: list[VideoWindow], *more: object) -> None:
        rows = output.class_logits.float().softmax(-1).cpu().numpy()
        for window, row in zip(windows, rows, strict=True):
            book[window.video] = book.get(window.video, 0.0) + row

    def close(self, books: dict[Key, Book]) -> Found:
        return dict(books)

    def score(self, key: Key, tally: Tally) -> float:
        return 100 * float(self._hits(tally).mean())

    def resampled(self, tally: Tally, count: int) -> tuple[float, Floats]:
        hits = self._hits(tally)
        draws = np.random.default_rng(self.seed).integers(0, len(hits), (count, len(hits)))
        return self.score(WHOLE, tally), 100 * hits[draws].mean(axis=1)

    def _hits(self, tally: Tally) -> Floats:
        """Of equal probabilities the class with the lower number is the guess, as in :mod:`tadshrink.recognition.accuracy`."""
        return np.array([float(tally[video].argmax() == self.labels[video]) for video in sorted(tally)])


class ClassLossJudge(MeanOutputJudge):
    """Cross-entropy of each window."""

    def note(self, book: Book, output: RecogniserOutput, windows: list[VideoWindow], whole: Tensor,
             targets: tuple[Sequence[Tensor], Sequence[Tensor]]) -> None:
        labels = output.class_logits.new_tensor([int(label) for label in targets[1]]).long()
        add_windows(book, windows, functional.cross_entropy(output.class_logits.float(), labels, reduction="none").tolist())
