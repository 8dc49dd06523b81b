"""``data check`` of recognition datasets: what they hold, and what is wrong with their files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tadshrink.data.annotations import Action, Problem, VideoRecord
from tadshrink.data.annotations.reading import has_known_form
from tadshrink.data.annotations.tables import header
from tadshrink.data.damage import damage
from tadshrink.data.datasets import HELDOUT
from tadshrink.data.overlaps import SplitFile, same_files
from tadshrink.data.video_index import VideoIndex, index_video
from tadshrink.errors import UserError
from tadshrink.recognition.data import BUILTIN, RecognitionDataset
from tadshrink.recognition.lists import NEEDED, is_video
from tadshrink.recognition.overlaps import overlapping_parts
from tadshrink.recognition.records import TRAINING, TrimmedVideo
from tadshrink.reporting import Reporter
from tadshrink.yaml_files import read_yaml


def is_of_clips(given: str) -> bool:
    """Whether a name or path is that of a recognition dataset: a built-in one, a YAML with ``clips``, a CSV file with a path and a label in
    each line, or a folder with folders of videos."""
    path = Path(given)
    if given in BUILTIN:
        return True
    if path.is_dir():
        # A folder with annotations beside its videos is of another kind.
        return any(map(is_video, path.glob("*/**/*"))) and not has_known_form(path)
    try:
        if path.suffix.lower() == ".csv" and path.is_file():
            return set(NEEDED) <= set(header(path))
        if path.suffix in (".yaml", ".yml") and path.is_file():
            data = read_yaml(path)
            return isinstance(data, dict) and "clips" in data
    except UserError:
        # Told by whoever reads it for what else it may be.
        return False
    return False


def as_records(dataset: RecognitionDataset, lengths: dict[Path, VideoIndex]) -> list[VideoRecord]:
    """Each trimmed video as one action that fills it."""
    return [VideoRecord(record.name, record.subset, seconds, (Action(0.0, seconds or 0.0, record.label),))
            for record in dataset.records for seconds in [_seconds(record, lengths.get(record.path))]]


def _seconds(record: TrimmedVideo, index: VideoIndex | None) -> float | None:
    start, end = record.start or 0.0, index.duration if index and record.end is None else record.end
    return None if end is None else max(0.0, min(end, index.duration if index else end) - start)


def clip_problems(dataset: RecognitionDataset, reporter: Reporter) -> tuple[list[Problem], dict[Path, VideoIndex]]:
    """Problems of the files, and what is known of those that can be read."""
    problems, lengths = list[Problem](), dict[Path, VideoIndex]()
    paths = {record.path: record for record in dataset.records}
    with reporter.track("open videos", len(paths)) as advance:
        for path, record in paths.items():
            advance(1, record.key)
            if not os.path.isfile(path):
                problems.append(Problem("not here", path, f"video {record.key!r}", f"listed in {record.subset!r}, and not here", fatal=True))
                continue
            try:
                index = index_video(path)
                problems += damage(index, f"video {record.key!r}")
                lengths[path] = index
            except UserError as error:
                problems.append(Problem("unreadable", path, f"video {record.key!r}", error.what, fatal=True))
    return [*problems, *_parts(dataset, lengths), *overlapping_parts(dataset), *same_files(_split_files(dataset)), *_splits(dataset)], lengths


def _split_files(dataset: RecognitionDataset) -> list[SplitFile]:
    """Each file once, in the split of its first part."""
    held, first = dataset.heldout(), {record.path: record for record in reversed(dataset.records)}
    return [SplitFile(HELDOUT if record.subset == TRAINING and record.key in held else record.subset, f"video {record.key!r}", path)
            for path, record in reversed(first.items())]


def _parts(dataset: RecognitionDataset, lengths: dict[Path, VideoIndex]) -> Iterator[Problem]:
    """Parts that lie behind the end of their file, or end after it."""
    for record in dataset.records:
        index = lengths.get(record.path)
        if index is None:
            continue
        if (record.start or 0.0) >= index.duration:
            yield Problem("part behind the end", record.path, f"video {record.name!r}", f"the file is {index.duration:.2f} s long", fatal=True)
        elif record.end is not None and record.end > index.duration + 1 / index.fps:
            yield Problem("part ends after the file", record.path, f"video {record.name!r}", f"the file is {index.duration:.2f} s long")


def _splits(dataset: RecognitionDataset) -> Iterator[Problem]:
    """Files in several splits, and classes that are not trained on."""
    splits: dict[Path, set[str]] = {}
    for record in dataset.records:
        splits.setdefault(record.path, set()).add(record.subset)
    for path, names in splits.items():
        if len(names) > 1:
            yield Problem("file in several splits", path, f"file {path.name!r}", f"parts of it are in {' and '.join(sorted(names))}")
    trained = {record.label for record in dataset.records if record.subset == TRAINING}
    for name in dataset.classes:
        if name not in trained:
            yield Problem("class not trained on", dataset.where, f"class {name!r}", f"no video of {TRAINING!r} has this label")
