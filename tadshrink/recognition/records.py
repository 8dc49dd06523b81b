"""A trimmed video: one file, or a part of one, with one label."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from tadshrink.data.video_index import VideoIndex
from tadshrink.errors import UserError

TRAINING, TESTING = "training", "testing"
#: Other names of splits.
SPLITS = {TRAINING: TRAINING, "train": TRAINING, TESTING: TESTING, "test": TESTING, "validation": "validation", "val": "validation"}


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
        return f"{self.key} ({self.start or 0:g} s to {'the end' if self.end is None else f'{self.end:g} s'})"

    def frames(self, index: VideoIndex) -> tuple[int, int]:
        """First and end frame of the part, at least one frame long; it may end with the file before its own end.

        Raises:
            UserError: the file ends before it starts.
        """
        first = round((self.start or 0.0) * index.fps)
        if first >= index.frames:
            raise UserError(f"the part from {self.start:g} s on lies behind its end ({index.duration:.2f} s)", where=self.path,
                            fix="Correct the times, which are in seconds")
        end = index.frames if self.end is None else round(self.end * index.fps)
        return first, max(first + 1, min(end, index.frames))


def share_of(purpose: str, key: str) -> float:
    """A number from 0 to 1 that is as good as random, and depends on these texts alone."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{key}".encode()).digest()[:8], "big") / 2**64
