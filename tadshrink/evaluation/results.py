"""Files of detections that any tool wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadshrink.data.annotations.records import is_number
from tadshrink.errors import UserError
from tadshrink.evaluation.detections import JSON_VERSION, SCORE_DECIMALS, Detections
from tadshrink.evaluation.tables import Flags, Floats, Integers
from tadshrink.files import read_json, write_json

#: Some files name ActivityNet's videos with this prefix, others without.
PREFIX = "v_"
#: The columns that ActionFormer keeps its detections in.
COLUMNS = ("video-id", "t-start", "t-end", "label", "score")
#: Seconds, beyond which a number is no time in a video (30,000 years).
LONGEST = 1e12
LAYOUT = 'Give ActivityNet\'s layout: {"results": {video: [{"segment": [start, end], "label": name, "score": number}]}}'

#: Video, start, end, label (a name, or the number of a class) and score.
Row = tuple[str, float, float, str | int, float]


@dataclass(frozen=True, eq=False)
class Results:
    """Detections in the order of their file.

    Attributes:
        videos: names, and ``video`` [N], indices into them; a video may have no detection.
        labels: distinct labels, and ``label`` [N], indices into them. Numbers stand for classes by their place in a list.
        segments: float64 [N, 2] in seconds, as in the file, and ``scores`` [N].
    """

    videos: tuple[str, ...]
    video: Integers
    labels: tuple[str | int, ...]
    label: Integers
    segments: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, kept: Flags) -> Results:
        """Some of the detections."""
        return replace(self, video=self.video[kept], label=self.label[kept], segments=self.segments[kept], scores=self.scores[kept])

    def repeated(self) -> int:
        """Detections that are there once more, the same in everything."""
        columns = np.column_stack([self.video, self.label, self.segments, self.scores])
        ordered = columns[np.lexsort(columns.T)]
        return int((ordered[1:] == ordered[:-1]).all(axis=1).sum())


def read_results(path: str | Path) -> Results:
    """Read ActivityNet's JSON (OpenTAD's ``result_detection.json``), or the columns of ActionFormer's detections as JSON.

    Raises:
        UserError: unreadable, neither layout, or a bad detection, which is named.
    """
    data = read_json(path)
    results = data.get("results", data) if isinstance(data, dict) else None
    if not isinstance(results, dict) or not ("results" in data or COLUMNS[0] in data):
        raise UserError("no 'results' object", where=path, fix=LAYOUT)
    rows = list(_column_rows(results, path) if COLUMNS[0] in results else _object_rows(results, path))
    names = dict.fromkeys(row[0] for row in rows) if COLUMNS[0] in results else results
    labels = dict.fromkeys(row[3] for row in rows)
    numbers = np.array([(row[1], row[2], row[4]) for row in rows], dtype=np.float64).reshape(-1, 3)
    return Results(tuple(names), _indices((row[0] for row in rows), names), tuple(labels), _indices((row[3] for row in rows), labels),
                   numbers[:, :2], numbers[:, 2])


def _indices(values: Iterable[str | int], distinct: Mapping[Any, object]) -> Integers:
    place = {value: number for number, value in enumerate(distinct)}
    return np.array([place[value] for value in values], dtype=np.int64)


def _object_rows(results: Mapping[str, Any], path: object) -> Iterator[Row]:
    for name, items in results.items():
        if not isinstance(items, list):
            raise UserError(f"video {name!r}: not a list of detections", where=path, fix=LAYOUT)
        for number, item in enumerate(items):
            item = item if isinstance(item, dict) else {}
            segment = item.get("segment")
            start, end = segment if isinstance(segment, list) and len(segment) == 2 else (None, None)
            row = (name, start, end, item.get("label"), item.get("score"))
            if problem := _problem(row):
                raise UserError(f"video {name!r}, detection {number}: {problem}", where=path, fix=LAYOUT)
            yield row


def _column_rows(columns: Mapping[str, Any], path: object) -> Iterator[Row]:
    for key in COLUMNS:
        if not isinstance(columns.get(key), list) or len(columns[key]) != len(columns[COLUMNS[0]]):
            raise UserError(f"{key!r} is missing, or not a list as long as {COLUMNS[0]!r}", where=path, fix=LAYOUT)
    for number, row in enumerate(zip(*(columns[key] for key in COLUMNS), strict=True)):
        problem = _problem(row) if isinstance(row[0], str) else "the video is not a name"
        if problem:
            raise UserError(f"detection {number}: {problem}", where=path, fix=LAYOUT)
        yield row


def _problem(row: Sequence[Any]) -> str:
    """What is wrong with a detection, or nothing."""
    _, start, end, label, score = row
    if not (is_number(start) and is_number(end) and max(abs(start), abs(end)) <= LONGEST):
        return "'segment' is not [start, end] in seconds"
    if not isinstance(label, str | int) or isinstance(label, bool):
        return "'label' is missing, or neither the name nor the number of a class"
    return "" if is_number(score) else f"'score' is {score!r}, not a finite number"


def with_known_names(results: Results, known: Iterable[str]) -> tuple[Results, int]:
    """The same with ``v_`` put before, or taken off, names of videos that are only known so; and how many these are."""
    known = set(known)
    names = tuple(next((form for form in (name, PREFIX + name, name.removeprefix(PREFIX)) if form in known), name) for name in results.videos)
    changed = sum(new != old for new, old in zip(names, results.videos, strict=True))
    # Two forms of one name would become the same video.
    return (results, 0) if len(set(names)) < len(names) else (replace(results, videos=names), changed)


def write_results(path: Path, detections: Mapping[str, Detections], classes: Sequence[str]) -> None:
    """Write detections as ActivityNet's JSON from which :func:`read_results` makes just what was scored here.

    Decimal numbers are written as such; others, of detectors that do not round, with all their digits.
    """
    results = {name: _items(found, classes) for name, found in detections.items()}
    write_json(path, {"version": JSON_VERSION, "results": results})


def _items(found: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    columns = zip(found.exact_segments().tolist(), found.labels.tolist(), exact_scores(found.scores).tolist(), strict=True)
    return [{"segment": segment, "label": classes[label], "score": score} for segment, label, score in columns]


def exact_scores(scores: NDArray[np.float32]) -> Floats:
    """Rounded scores as the decimal number they stand for, others as they are."""
    wide = scores.astype(np.float64)
    decimal = np.round(wide, SCORE_DECIMALS)
    return np.where(decimal.astype(np.float32) == scores, decimal, wide)
