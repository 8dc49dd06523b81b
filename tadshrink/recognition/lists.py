"""The two forms of recognition datasets: a CSV file, and a folder per class."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tadshrink.data.annotations.reading import require_sound
from tadshrink.data.annotations.records import Found
from tadshrink.data.annotations.tables import header, rows
from tadshrink.errors import UserError
from tadshrink.recognition.records import SPLITS, TrimmedVideo

#: Columns of a CSV file that are needed, and those that may be there, in any order.
NEEDED, OPTIONAL = ("path", "label"), ("start", "end", "subset")
#: Ends of the names of video files, in a folder per class.
SUFFIXES = frozenset({".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})


@dataclass
class Listed:
    """What a list of trimmed videos says, and choices that were made while it was read."""

    records: list[TrimmedVideo] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_list(path: Path) -> Listed:
    """Read a CSV file with the columns ``path,label[,start,end][,subset]``, or a folder of folders named by class.

    Paths in a CSV file are relative to its folder, times in seconds. In a folder, the classes may lie in folders named by split.

    Raises:
        UserError: unreadable, or bad records: the first few are named by line and the rest counted.
    """
    return _read_folder(path) if path.is_dir() else _read_csv(path)


def _read_csv(path: Path) -> Listed:
    columns = header(path)
    if missing := [name for name in NEEDED if name not in columns]:
        raise UserError(f"no column {' and no column '.join(map(repr, missing))}; the columns are: {', '.join(columns)}", where=path,
                        fix=f"The first line names the columns: {','.join(NEEDED)}, and if need be {','.join(OPTIONAL)}")
    if twice := [name for name in NEEDED + OPTIONAL if columns.count(name) > 1]:
        raise UserError(f"the column {twice[0]!r} is there twice", where=path, fix="Leave one of them out")
    listed, found, seen = Listed(), Found(path, "a list of trimmed videos"), dict[tuple[object, ...], int]()
    if ignored := [name for name in columns if name not in NEEDED + OPTIONAL]:
        listed.notes.append(f"{path}: columns that mean nothing here: {', '.join(ignored)}")
    for line, row in rows(path):
        problems = list(_problems(row))
        record = None if problems else _record(row, path.parent, line)
        if record is not None and (other := seen.setdefault((record.path, record.start or 0.0, record.end), line)) != line:
            problems.append(f"the same part of {record.key!r} as in line {other}")
        for problem in problems:
            found.bad(f"line {line}", problem)
        if record is not None:
            listed.records.append(record)
    if any(record.subset for record in listed.records):
        for record in listed.records:
            if not record.subset:
                found.bad(record.place, "no subset, and other lines have one")
    require_sound(found, "Repair or remove these lines")
    if not listed.records:
        raise UserError("no video is listed here", where=path, fix=f"Add a line for each: {','.join(columns)}")
    return listed


def _problems(row: Mapping[str, str]) -> Iterator[str]:
    """All that is wrong with one line."""
    if None in row:
        yield "more cells than there are columns"
    for name in NEEDED:
        if not _cell(row, name):
            yield f"no {name}"
    times = {name: _cell(row, name) for name in ("start", "end")}
    bad = {name: text for name, text in times.items() if text and _seconds(text) is None}
    yield from (f"{name} {text!r} is not a number of seconds" for name, text in bad.items())
    if not bad and times["end"] and float(times["end"]) <= float(times["start"] or 0):
        yield f"end {times['end']} is not after start {times['start'] or 0}"


def _record(row: Mapping[str, str], folder: Path, line: int) -> TrimmedVideo:
    path, start, end = _cell(row, "path"), _cell(row, "start"), _cell(row, "end")
    return TrimmedVideo(_key(path, folder), Path(os.path.normpath(folder / path)), _cell(row, "label"), _split(_cell(row, "subset")),
                        _seconds(start) if start else None, _seconds(end) if end else None, f"line {line}")


def _key(path: str, folder: Path) -> str:
    """One name for a file however it is written: splits are drawn by names."""
    where = os.path.normpath(folder / path)
    inside = os.path.relpath(where, folder)
    return Path(where if inside.startswith(os.pardir) and os.path.isabs(path) else inside).as_posix()


def _cell(row: Mapping[str, str], name: str) -> str:
    return (row.get(name) or "").strip()


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _split(name: str) -> str:
    return SPLITS.get(name.lower(), name)


@dataclass(frozen=True)
class _Folder:
    """A folder that was looked through: its own files, and by each folder in it all that lie there."""

    path: Path
    own: list[Path]
    inner: dict[Path, list[Path]]

    @classmethod
    def of(cls, path: Path) -> _Folder:
        """Look through a folder, once."""
        return cls(path, _within(path), {folder: _files(folder) for folder in _folders(path)})

    @property
    def files(self) -> list[Path]:
        """Of the folder and of those in it, such as one for each person."""
        return self.own + [item for files in self.inner.values() for item in files]

    @property
    def is_split(self) -> bool:
        """By its name."""
        return self.path.name.lower() in SPLITS


def _read_folder(path: Path) -> Listed:
    listed, folders = Listed(), [_Folder.of(folder) for folder in _folders(path)]
    holding = [folder for folder in folders if any(map(is_video, folder.files))]
    by_split = bool(holding) and all(folder.is_split for folder in holding)
    _check_splits(holding, path)
    classes = ([(_split(one.path.name), *inner) for one in holding for inner in one.inner.items()] if by_split else
               [("", one.path, one.files) for one in holding])
    skipped = 0
    for subset, folder, files in classes:
        videos = [item for item in files if is_video(item)]
        skipped += len(files) - len(videos)
        listed.records += [TrimmedVideo(item.relative_to(path).as_posix(), item, folder.name, subset) for item in videos]
    if skipped:
        listed.notes.append(f"{path}: {skipped} files are left out, which are no videos by their names")
    if not listed.records:
        raise UserError("no video in a folder named by its class", where=path, fix="Put the videos of each class into a folder of its own")
    used = {(record.subset, record.label) for record in listed.records}
    empty = [folder.path for folder in folders if folder not in holding]
    empty += [folder for subset, folder, _ in classes if (subset, folder.name) not in used]
    outside = _within(path) + [item for folder in holding if by_split for item in folder.own]
    listed.notes += _unused(path, empty, [item for item in outside if is_video(item)])
    return listed


def _check_splits(holding: Sequence[_Folder], path: Path) -> None:
    """Raise a :class:`UserError` where some folders are of splits and others are not: a class may well be called "train"."""
    splits = [folder.path.name for folder in holding if folder.is_split and not any(map(is_video, folder.own))]
    others = [folder.path.name for folder in holding if not folder.is_split]
    if splits and others:
        raise UserError(f"{', '.join(others)}: no split, and beside folders of splits ({', '.join(splits)})", where=path,
                        fix="Move it away, or into a folder of a split")


def _unused(path: Path, empty: Sequence[Path], strays: Sequence[Path]) -> Iterator[str]:
    """What lies there to no use."""
    if empty:
        yield f"{path}: no video lies in {', '.join(folder.relative_to(path).as_posix() for folder in empty)}"
    if strays:
        yield f"{path}: {len(strays)} videos are left out, which lie in no folder of a class (the first: {strays[0].relative_to(path)})"


def _files(folder: Path) -> list[Path]:
    return _within(folder) + [item for inner in _folders(folder) for item in _files(inner)]


def _within(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.is_file() and not item.name.startswith("."))


def is_video(file: Path) -> bool:
    """By its name."""
    return file.suffix.lower() in SUFFIXES


def _folders(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))
