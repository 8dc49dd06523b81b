"""A video as the sources of windows see it, and how its frames and seconds relate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Video:
    """A video to look at: ``path`` is its file, or that of its features. What is ``None`` comes from the file where it can.

    ``duration`` in seconds; ``frames`` is how many frames it has in all, ``fps`` its frame rate where that is not known.
    """

    name: str
    path: Path
    duration: float | None = None
    frames: float | None = None
    fps: float | None = None
    #: Files of further streams of features.
    more: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Timeline:
    """What a source knows of a video: ``duration`` in seconds, and the grid ``cells`` that it has data for.

    ``frames`` is ``None`` where only the frame rate is known.
    """

    duration: float
    fps: float
    frames: float | None
    cells: int
