"""What annotation files say, in one form."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard


@dataclass(frozen=True, slots=True)
class Action:
    """One annotated action: ``start`` and ``end`` in seconds. ``place`` is where it stands in its file, for messages."""

    start: float
    end: float
    label: str
    place: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class VideoRecord:
    """One video of an annotation file: its split, its actions, and what the file says of its length.

    Attributes:
        duration: in seconds; ``None`` where the file has none (the organisers' text files of THUMOS-14).
        frames: how many it has, if the file says so, and ``fps`` likewise; only features need one of them.
        ambiguous: (start, end) in seconds of regions where a detection is neither right nor wrong.
    """

    name: str
    subset: str
    duration: float | None
    actions: tuple[Action, ...]
    frames: float | None = None
    fps: float | None = None
    ambiguous: tuple[tuple[float, float], ...] = ()

    def where(self, action: Action) -> str:
        """How messages name one of its actions."""
        return f"video {self.name!r}, {action.place}" if action.place else f"video {self.name!r}"


@dataclass(frozen=True)
class Problem:
    """Something wrong, or odd, in a dataset.

    Attributes:
        kind: in a few words, the same for all of its kind.
        file: the file (or folder of files) that it is in.
        record: the video, and the annotation or line.
        text: what exactly.
        fatal: the dataset cannot be used as it is.
    """

    kind: str
    file: Path
    record: str
    text: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.record}: {self.text}"


@dataclass
class Found:
    """What is in an annotation file or folder, bad records left out and listed under ``problems``.

    Attributes:
        form: what the file is, in words.
        classes: the names in the class list that belongs to the file and lies beside it, if there is one.
        notes: what was decided without being asked.
        blocked: videos that were left out of the records on demand.
    """

    path: Path
    form: str = ""
    records: list[VideoRecord] = field(default_factory=list)
    classes: tuple[str, ...] | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    blocked: tuple[str, ...] = ()

    def bad(self, record: str, text: str, kind: str = "bad record") -> None:
        """Note a record that cannot be used."""
        self.problems.append(Problem(kind, self.path, record, text, fatal=True))


def is_number(value: Any) -> TypeGuard[float]:
    """A finite number."""
    # Comparing also refuses nan, and a JSON integer that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_positive(value: Any) -> TypeGuard[float]:
    """A finite number above 0."""
    return is_number(value) and value > 0
