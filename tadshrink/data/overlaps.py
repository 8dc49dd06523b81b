"""Splits that overlap although no name is in two of them: the same file under two names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tadshrink.data.annotations import Problem
from tadshrink.data.sampled import sampled


@dataclass(frozen=True)
class SplitFile:
    """A file, the split that it is used in, and how its list names it."""

    split: str
    record: str
    path: Path


def same_files(files: Iterable[SplitFile]) -> Iterator[Problem]:
    """Files of one split that seem to be in another, too: same size, and same content at start, middle and end.

    Only files whose size is found in two splits are opened, and little of them is read. The same path under two names counts;
    a path that has one name does not, whatever its splits.
    """
    by_size: dict[int, list[SplitFile]] = {}
    for file in files:
        if file.path.is_file():
            by_size.setdefault(file.path.stat().st_size, []).append(file)
    for size, group in by_size.items():
        if size and len({file.split for file in group}) > 1:
            yield from _same(size, group)


def _same(size: int, group: list[SplitFile]) -> Iterator[Problem]:
    """The first of each content, and those of other splits that are like it."""
    first: dict[str | None, SplitFile] = {}
    for file in group:
        other = first.setdefault(sampled(file.path), file)
        if other.split != file.split and other.record != file.record:
            yield Problem("same file in two splits", file.path, f"{file.record} of {file.split!r}",
                          f"{size:,} bytes as in {other.record} of {other.split!r} ({other.path.name}), and the same at start, middle and end")
