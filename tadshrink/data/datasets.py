"""A dataset as the tool sees it: a YAML file that says where things lie and how they are sampled."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path

from tadshrink.data.annotations import AnnotationSettings, Found, VideoRecord, find_annotations
from tadshrink.data.annotations.lists import read_classes, read_names
from tadshrink.data.annotations.oddities import find_oddities
from tadshrink.data.annotations.reading import require_sound
from tadshrink.data.dataset_config import DatasetConfig, parse_dataset_config
from tadshrink.data.names import builtin_names
from tadshrink.data.timeline import Video
from tadshrink.errors import UserError
from tadshrink.files import read_text
from tadshrink.reporting import SILENT, Reporter

#: The part of the training split that is used for selection and for the stop rule, and never trained on.
HELDOUT = "heldout"
#: Kind of problem: a label that is not a class.
UNKNOWN = "unknown label"
#: Class names that a message shows; the rest is counted.
SHOWN = 20


@dataclass(frozen=True)
class Dataset:
    """A dataset whose annotations have been read: records by split, with the held-out part taken off ``train``."""

    config: DatasetConfig
    root: Path
    records: tuple[VideoRecord, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        # They have been read where the YAML names a file of them.
        return self.config.classes  # type: ignore[return-value]

    @property
    def folders(self) -> list[Path]:
        """Where the files of videos or features are; several where features come in several streams."""
        return [self.root / folder for folder in self.config.folders]

    def files(self, record: VideoRecord) -> list[Path]:
        """The file of a video, or those of its features."""
        return [folder / f"{self.config.prefix}{record.name}{self.config.suffix}" for folder in self.folders]

    def video(self, record: VideoRecord) -> Video:
        """A record as sources of windows take it; a frame rate in the configuration is stronger than that in the annotations."""
        first, *more = self.files(record)
        frames, fps = (record.frames, record.fps) if self.config.fps is None else (None, self.config.fps)
        return Video(record.name, first, record.duration, frames, fps, tuple(more))

    def of_one_class(self, name: str) -> Dataset:
        """The same actions, all with this label."""
        records = tuple(replace(record, actions=tuple(replace(action, label=name) for action in record.actions)) for record in self.records)
        return replace(self, config=self.config.model_copy(update={"classes": (name,)}), records=records)

    def split(self, name: str) -> list[VideoRecord]:
        """Videos of ``train``, ``heldout``, ``validation``, ``test`` or of a split named as in the annotation file.

        ``train`` (also by its own name, such as ``training``) never contains a held-out video. ``training`` and ``testing`` mean
        ``train`` and ``test`` where the file has no such split with actions.

        Raises:
            UserError: there is no such split, or it is empty; the splits present are listed.
        """
        subset = self._subset(name)
        found = [record for record in self.records if record.subset == subset]
        if subset == self.config.splits.train:
            found = [record for record in found if self._is_heldout(record) == (name == HELDOUT)]
        if not found:
            raise UserError(f"split {name!r} has no videos", where=self.where, fix=self._advice(subset))
        return found

    @property
    def where(self) -> Path:
        """The annotation file."""
        return self.root / self.config.annotations

    def is_for_figures(self, name: str) -> bool:
        """Whether a split is for the figures that count, so that nothing may be chosen by it."""
        splits = self.config.splits
        return self._subset(name) in {splits.validation, splits.test} - {splits.train}

    def _subset(self, name: str) -> str:
        """The annotation file's name for a split."""
        config = self.config.splits
        roles = {"train": config.train, HELDOUT: config.train, "validation": config.validation, "test": config.test}
        if any(record.subset == name and record.actions for record in self.records):
            return roles.get(name, name)
        return (roles | {"training": config.train, "testing": config.test}).get(name, name)

    def part_of(self, record: VideoRecord) -> str:
        """The split of a record, by its name in the annotation file; ``heldout`` where it is held out."""
        return HELDOUT if record.subset == self.config.splits.train and self._is_heldout(record) else record.subset

    def _advice(self, subset: str) -> str:
        present = sorted({record.subset for record in self.records})
        if subset == self.config.splits.train and subset in present:
            return f"The videos of {subset!r} are too few to be shared with 'heldout': change 'heldout' in the dataset YAML"
        return (f"The splits in the file are: {', '.join(present)}; 'splits' in the dataset YAML says which is which, and 'heldout' is part of "
                f"{self.config.splits.train!r}")

    def _is_heldout(self, record: VideoRecord) -> bool:
        """Decided by the name alone, so that it is the same in every run and does not move when videos are added."""
        digest = hashlib.sha256(record.name.encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.config.heldout


def data_root() -> Path:
    """Where built-in datasets live: ``TADSHRINK_DATA``, else the user's cache folder."""
    if given := os.environ.get("TADSHRINK_DATA"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tadshrink"


def read_dataset_config(dataset: str | Path, root: Path | None = None) -> tuple[DatasetConfig, Path]:
    """Read a built-in dataset (by name) or a dataset YAML (by path); returns it with the folder that its paths start from.

    Args:
        root: the folder of the built-in datasets, or that of the YAML's data in place of the YAML's own ``root``.

    Raises:
        UserError: no such dataset, or all problems of its configuration together.
    """
    name = str(dataset)
    if name in builtin_names():
        text = (package_files("tadshrink.data") / "builtin" / f"{name}.yaml").read_text(encoding="utf-8")
        config = parse_dataset_config(text, name)
        return config, (root or data_root()) / (config.root or name)
    path = Path(dataset)
    if not path.is_file():
        raise UserError("no such dataset", where=name,
                        fix=f"Give a built-in name ({', '.join(builtin_names())}) or the path of a dataset YAML")
    config = parse_dataset_config(read_text(path), path)
    return config, root or path.parent / Path(config.root or ".").expanduser()


def load_dataset(dataset: str | Path, root: Path | None = None, reporter: Reporter = SILENT) -> Dataset:
    """Read a dataset's configuration and annotations. Odd actions are counted in a note and kept.

    Raises:
        UserError: no such dataset, bad configuration, missing or bad annotations, a label that is not a class.
    """
    opened, found = open_dataset(dataset, root)
    require_sound(found, _fix(opened, found))
    odd = Counter(problem.kind for problem in find_oddities(opened.records, found.path))
    if odd:
        kinds = ", ".join(f"{count} {kind}" for kind, count in odd.items())
        found.notes.append(f"odd actions, kept as they are: {kinds}; tadshrink data check names them")
    for note in found.notes:
        reporter.note(note)
    return opened


def open_dataset(dataset: str | Path, root: Path | None = None) -> tuple[Dataset, Found]:
    """:func:`load_dataset` that lists bad records and unknown labels instead of stopping at them."""
    config, folder = read_dataset_config(dataset, root)
    _require_files(config, folder, str(dataset) in builtin_names(), root)
    if isinstance(config.classes, str):
        config = config.model_copy(update={"classes": read_classes(folder / config.classes)})
    info = None if config.video_info is None else folder / config.video_info
    settings = AnnotationSettings(config.annotation_format, info, config.label, config.ambiguous_labels, tuple(config.classes))
    found = find_annotations(folder / config.annotations, settings)
    blocked = set(read_names(folder / config.blocked) if isinstance(config.blocked, str) else config.blocked)
    kept = [_without(record, config.ignored_labels) for record in found.records if record.name not in blocked]
    if blocked:
        found.notes.append(f"blocked videos: {len(blocked)} listed, {len(found.records) - len(kept)} of them in the annotations")
    found.records, found.blocked = kept, tuple(sorted(blocked))
    find_unknown(config.classes, found)
    return Dataset(config, folder, tuple(kept)), found


def how_to_get(config: DatasetConfig, folder: Path) -> str:
    """What to do where data is missing that the package cannot make, in a sentence or two; empty if the YAML does not say."""
    if config.source is None:
        return ""
    files = " and ".join(f"{name}/{config.prefix}NAME{config.suffix}" for name in config.folders)
    return f"{config.name} is looked for in {folder} ({config.annotations}, {files}); --root names the folder above. {config.source}"


def _require_files(config: DatasetConfig, folder: Path, builtin: bool, root: Path | None) -> None:
    """Raise a :class:`UserError` for the first file named in the configuration that is not there."""
    needed = {"annotations": "annotation file", "classes": "list of classes", "blocked": "list of blocked videos",
              "video_info": "CSV of the videos"}
    for key, what in needed.items():
        value = getattr(config, key)
        if not isinstance(value, str) or (folder / value).exists():
            continue
        make = f"Run: tadshrink data make {config.name}" + (f" --root {root}" if root else "")
        own = make if builtin else f"Correct {key!r} or 'root' in the dataset YAML"
        raise UserError(f"no {what} here", where=folder / value, fix=how_to_get(config, folder) or own)


def _without(record: VideoRecord, labels: tuple[str, ...]) -> VideoRecord:
    return replace(record, actions=tuple(action for action in record.actions if action.label not in labels)) if labels else record


def find_unknown(classes: Iterable[str], found: Found) -> None:
    """Note every action whose label is none of the classes."""
    known = set(classes)
    for record in found.records:
        for action in record.actions:
            if action.label not in known:
                found.bad(record.where(action), f"label {action.label!r} is not a class of the dataset", UNKNOWN)


def _fix(dataset: Dataset, found: Found) -> str:
    if next((problem.kind for problem in found.problems if problem.fatal), None) != UNKNOWN:
        return "Repair or remove these records"
    names = ", ".join(dataset.classes[:SHOWN]) + (f", ... ({len(dataset.classes)} in all)" if len(dataset.classes) > SHOWN else "")
    return f"Classes: {names}; others may stand under 'ignored_labels'"
