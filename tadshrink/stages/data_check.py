"""``data check``: what a dataset holds, and everything that is wrong or odd in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadshrink.data.annotations import AnnotationSettings, Found, Problem, find_annotations
from tadshrink.data.annotations.oddities import find_oddities
from tadshrink.data.check import class_problems, file_problems, no_videos, split_problems
from tadshrink.data.datasets import Dataset, builtin_names, find_unknown, open_dataset
from tadshrink.data.statistics import SplitCounts, count_classes, count_splits
from tadshrink.errors import check_unused
from tadshrink.recognition.check import as_records, clip_problems, is_of_clips
from tadshrink.recognition.data import RecognitionDataset, load_recognition
from tadshrink.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Checked:
    """A dataset, or annotations alone, in numbers, with all problems.

    Attributes:
        classes: actions by class and split.
        files: videos whose files were looked for, and how many can be read; ``None`` where only annotations were given.
    """

    name: str
    form: str
    splits: dict[str, SplitCounts]
    classes: dict[str, dict[str, int]]
    files: dict[str, int] | None
    problems: list[Problem]

    @property
    def usable(self) -> bool:
        return not any(problem.fatal for problem in self.problems)

    def kinds(self) -> dict[str, list[Problem]]:
        """Problems by kind, those first that make the dataset unusable, then the most frequent."""
        counts = Counter(problem.kind for problem in self.problems)
        order = sorted(self.problems, key=lambda problem: (not problem.fatal, -counts[problem.kind]))
        return {kind: [problem for problem in self.problems if problem.kind == kind] for kind in dict.fromkeys(item.kind for item in order)}

    def to_json(self) -> dict[str, Any]:
        problems = [{"kind": item.kind, "file": str(item.file), "record": item.record, "text": item.text, "fatal": item.fatal}
                    for item in self.problems]
        return {"dataset": self.name, "format": self.form, "usable": self.usable, "files": self.files,
                "splits": {name: counts.to_json() for name, counts in self.splits.items()}, "classes": self.classes,
                "problem_counts": {kind: len(items) for kind, items in self.kinds().items()}, "problems": problems}


def check_data(given: str, root: Path | None = None, label: str | None = None, reporter: Reporter = SILENT) -> Checked:
    """Check a dataset with its files, or annotations alone.

    Args:
        given: a built-in name, the path of a dataset YAML, or an annotation file or folder; or a dataset of trimmed videos.
        label: verb (the default) or noun, for annotations of EPIC-KITCHENS alone.

    Raises:
        UserError: no such dataset, bad configuration, annotations of no known form, or something given that means nothing for it.
    """
    path, clips = Path(given), is_of_clips(given)
    is_dataset = clips or given in builtin_names() or path.suffix in (".yaml", ".yml") or not path.exists()
    if is_dataset:
        check_unused({"--label": label}, "for a dataset", given, "Say it in the dataset YAML")
    else:
        check_unused({"--root": root}, "for annotations alone", given, "Leave it out, or give a dataset YAML")
    if clips:
        return _check_clips(load_recognition(given, root, reporter), reporter)
    if is_dataset:
        return _check_dataset(*open_dataset(given, root), reporter)
    return _check_annotations(find_annotations(path, AnnotationSettings(label=label or "verb")), reporter)


def _check_dataset(dataset: Dataset, found: Found, reporter: Reporter) -> Checked:
    _tell(found, reporter)
    files, durations = file_problems(dataset, found.blocked, reporter)
    records = find_oddities(found.records, found.path, durations)
    general = [*no_videos(found), *split_problems(dataset, found.path), *class_problems(found, dataset.classes, dataset.config.splits.train)]
    counts = {"listed": len(found.records), "readable": len(durations)}
    return _checked(dataset.config.name, found, dataset.classes, counts, found.problems + general + records + files)


def _check_clips(dataset: RecognitionDataset, reporter: Reporter) -> Checked:
    problems, lengths = clip_problems(dataset, reporter)
    records = as_records(dataset, lengths)
    files = {"listed": len({record.path for record in dataset.records}), "readable": len(lengths)}
    return Checked(dataset.config.name, f"trimmed videos in {dataset.where}", count_splits(records), count_classes(records, dataset.classes),
                   files, problems)


def _check_annotations(found: Found, reporter: Reporter) -> Checked:
    _tell(found, reporter)
    classes = found.classes or ()
    if classes:
        find_unknown(classes, found)
    problems = found.problems + no_videos(found) + list(class_problems(found, classes)) + find_oddities(found.records, found.path)
    return _checked(str(found.path), found, classes, None, problems)


def _tell(found: Found, reporter: Reporter) -> None:
    for note in found.notes:
        reporter.note(note)


def _checked(name: str, found: Found, classes: tuple[str, ...], files: dict[str, int] | None, problems: list[Problem]) -> Checked:
    return Checked(name, found.form, count_splits(found.records), count_classes(found.records, classes), files, problems)
