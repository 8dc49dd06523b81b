"""A trimmed video: one file, or a part of one, with one label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tadshrink.data.datasets import HELDOUT
from tadshrink.data.video_index import VideoIndex
from tadshrink.errors import UserError

TRAINING, TESTING = "training", "testing"
#: Other names of splits.
SPLITS = {TRAINING: TRAINING, "train": TRAINING, HELDOUT: HELDOUT, TESTING: TESTING, "test": TESTING, "validation": "validation",
          "val": "validation"}


@dataclass(frozen=True)
class TrimmedVideo:
    """``start`` and ``end`` in seconds; ``None`` is the start, or the end, of the file.

    Attributes:
        key: the file as its list names it, the same on every machine.
        subset: training, testing or another split.
        place: where it stands in its list, for messages.
    """

    key: str
    path: Path
    label: str
    subset: str = ""
    start: float | None = None
    end: float | None = None
    place: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """What messages call it."""
        if self.start is None and self.end is None:
            return self.key
        return f"{self.key} ({self.start or 0:.12g} s to {'the end' if self.end is None else f'{self.end:.12g} s'})"

    def frames(self, index: VideoIndex) -> tuple[int, int]:
        """First and end frame of the part, at least one frame long; it may end with the file before its own end.

        Raises:
            UserError: the file ends before it starts.
        """
        start = self.start or 0.0
        if start >= index.duration:
            raise UserError(f"the part from {start:g} s on lies behind its end ({index.duration:.2f} s)",
                            where=f"{self.path} ({self.place})" if self.place else self.path, fix="Correct the times, which are in seconds")
        first = min(round(start * index.fps), index.frames - 1)
        end = index.frames if self.end is None else round(self.end * index.fps)
        return first, max(first + 1, min(end, index.frames))


def share_of(purpose: str, key: str) -> float:
    """A number from 0 to 1 that is as good as random, and depends on these texts alone."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{key}".encode(errors="surrogateescape")).digest()[:8], "big") / 2**64


def chosen(purpose: str, keys: Iterable[str], share: float) -> frozenset[str]:
    """A share of some files, the same in every run, which stay when others are added: at least one and not all, where there are two."""
    ordered = sorted(set(keys), key=lambda key: share_of(purpose, key))
    below = sum(share_of(purpose, key) < share for key in ordered)
    return frozenset(ordered[:min(max(1, below), len(ordered) - 1)])
