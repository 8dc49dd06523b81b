"""Recognition datasets: trimmed videos with one label each, by split."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.format import digest
from tadshrink.data.datasets import HELDOUT, data_root
from tadshrink.data.sampled import sampled
from tadshrink.errors import UserError, check_unused
from tadshrink.files import read_text
from tadshrink.recognition.data_config import RecognitionConfig, parse_recognition_config
from tadshrink.recognition.lists import read_list
from tadshrink.recognition.records import SPLITS, TESTING, TRAINING, TrimmedVideo, chosen
from tadshrink.reporting import SILENT, Reporter

#: Those that ``tadshrink data make`` renders.
BUILTIN = {"synthetic-clips": RecognitionConfig(name="synthetic-clips", clips="clips.csv")}
#: Share of the files that are for testing where the list has no splits.
TESTING_SHARE = 0.2
#: Names that a message shows; the rest is counted.
SHOWN = 3


@dataclass(frozen=True)
class RecognitionDataset:
    """A recognition dataset that has been read.

    Attributes:
        where: its list.
        classes: the names in the order of labels.
        held: files that are held out, where they were chosen among more than are left.
    """

    config: RecognitionConfig
    where: Path
    classes: tuple[str, ...]
    records: tuple[TrimmedVideo, ...]
    held: frozenset[str] | None = None

    def split(self, name: str) -> list[TrimmedVideo]:
        """Videos of ``training`` (without those held out), ``heldout``, ``testing``, or another split of the list.

        Raises:
            UserError: there is no such split, or it is empty; the splits present are listed.
        """
        subset = SPLITS.get(name, name)
        held = self.heldout() if subset in (TRAINING, HELDOUT) else frozenset()
        wanted: Callable[[TrimmedVideo], bool] = {
            TRAINING: lambda record: record.subset == TRAINING and record.key not in held,
            HELDOUT: lambda record: record.subset in (TRAINING, HELDOUT) and record.key in held,
        }.get(subset, lambda record: record.subset == subset)
        if found := [record for record in self.records if wanted(record)]:
            return found
        present = ", ".join(sorted({record.subset for record in self.records}))
        raise UserError(f"split {name!r} has no videos", where=self.where, fix=f"The splits are: {present}; 'heldout' is part of 'training'")

    def to_learn(self) -> tuple[list[TrimmedVideo], list[TrimmedVideo]]:
        """Videos to train on, and those held out.

        Raises:
            UserError: one of these splits is empty, or there is nothing to tell apart.
        """
        if len(self.classes) < 2:
            raise UserError(f"learning takes two classes or more, and here is {len(self.classes)}", where=self.where, fix="Check the labels")
        return self.split(TRAINING), self.split(HELDOUT)

    def is_for_figures(self, name: str) -> bool:
        """Whether a split is for the figures that count, so that nothing may be chosen by it."""
        return SPLITS.get(name, name) not in (TRAINING, HELDOUT)

    def state(self) -> dict[str, Any]:
        """What changes when the dataset does: its configuration, and a digest of its list and of its files, which are sampled."""
        files = {path: sampled(path) for path in {record.path for record in self.records}}
        records = [(record.key, record.label, record.subset, record.start, record.end, files[record.path]) for record in self.records]
        return {"config": self.config.model_dump(mode="json"), "classes": list(self.classes), "records": digest(json.dumps(records))[:16]}

    def heldout(self) -> frozenset[str]:
        """Files that are held out: those that the list says or, where it says none, a share of the training files."""
        if self.held is not None:
            return self.held
        told = frozenset(record.key for record in self.records if record.subset == HELDOUT)
        return told or chosen(HELDOUT, (record.key for record in self.records if record.subset == TRAINING), self.config.heldout)


def load_recognition(dataset: str | Path, root: Path | None = None, reporter: Reporter = SILENT) -> RecognitionDataset:
    """Read a recognition dataset's list.

    Args:
        root: the folder of the built-in datasets, or that of the YAML's ``clips``.

    Raises:
        UserError: no such dataset, bad configuration, bad records, or a label that is not a class.
    """
    config, where = _read_config(str(dataset), root)
    if not where.exists():
        make = f"Run: tadshrink data make {config.name}" + (f" --root {root}" if root else "")
        raise UserError("no list of clips here", where=where, fix=make if str(dataset) in BUILTIN else "Correct 'clips' or 'root' in the YAML")
    listed = read_list(where)
    records = _with_splits(listed.records, listed.notes)
    classes = config.classes or tuple(sorted({record.label for record in records}))
    _check_labels(records, classes, where)
    untrained = sorted(set(classes) - {record.label for record in records if record.subset == TRAINING})
    if untrained:
        listed.notes.append(f"classes without a training video: {', '.join(untrained)}")
    counts = Counter(record.subset for record in records)
    listed.notes.append(f"{config.name}: {len(classes)} classes, " + ", ".join(f"{count} {subset}" for subset, count in counts.items()))
    for note in listed.notes:
        reporter.note(note)
    return RecognitionDataset(config, where, classes, tuple(records))


def _read_config(name: str, root: Path | None) -> tuple[RecognitionConfig, Path]:
    """The configuration, and where its list lies."""
    if name in BUILTIN:
        return BUILTIN[name], (root or data_root()) / name / BUILTIN[name].clips
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        config = parse_recognition_config(read_text(path), path)
        return config, (root or path.parent / Path(config.root or ".").expanduser()) / config.clips
    if path.is_dir() or (path.suffix.lower() == ".csv" and path.is_file()):
        check_unused({"--root": root}, "for a folder or a CSV file, which lies where its videos are", path)
        return RecognitionConfig(name=path.stem, clips=str(path)), path
    raise UserError("no such recognition dataset", where=name,
                    fix=f"Give a built-in name ({', '.join(BUILTIN)}), a folder per class, a CSV file, or the path of a YAML")


def _with_splits(records: list[TrimmedVideo], notes: list[str]) -> list[TrimmedVideo]:
    """The records as they are or, without any split, some files of them for testing."""
    if any(record.subset for record in records):
        shared = Counter(key for key, _ in {(record.key, record.subset) for record in records})
        if twice := sorted(key for key, count in shared.items() if count > 1):
            notes.append(f"files with parts in several splits: {_some(twice)}")
        return records
    files = {record.key for record in records}
    tested = chosen(TESTING, files, TESTING_SHARE)
    notes.append(f"the list has no splits: {len(tested)} of {len(files)} files (about {TESTING_SHARE:.0%}) are for testing, chosen by name")
    return [replace(record, subset=TESTING if record.key in tested else TRAINING) for record in records]


def _check_labels(records: list[TrimmedVideo], classes: tuple[str, ...], where: Path) -> None:
    unknown = sorted({record.label for record in records} - set(classes))
    if unknown:
        raise UserError(f"labels that are not classes: {_some(unknown)}", where=where, fix="Correct 'classes' in the YAML")


def with_files(dataset: RecognitionDataset, allow_missing: bool, reporter: Reporter) -> RecognitionDataset:
    """The dataset as far as its files are here.

    Raises:
        UserError: some are not, and that is not allowed, or none is.
    """
    missing = {record.key for record in dataset.records if not os.path.isfile(record.path)}
    if not missing:
        return dataset
    kept = tuple(record for record in dataset.records if record.key not in missing)
    text = f"{len(missing)} of the files are not here ({_some(sorted(missing))})"
    if not allow_missing or not kept:
        raise UserError(text, where=dataset.where, fix="Add them, correct their paths, or go on without them: --allow-missing")
    reporter.note(f"skipped: {text}")
    return replace(dataset, records=kept, held=dataset.heldout())


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > SHOWN else "")
