"""A dataset as the tool sees it: a YAML file that says where things lie and how they are sampled."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path

from tadshrink.data.annotations import VideoRecord, read_annotations
from tadshrink.data.dataset_config import DatasetConfig, parse_dataset_config
from tadshrink.data.timeline import Video
from tadshrink.errors import UserError
from tadshrink.files import read_text

#: The part of the training split that is used for selection and for the stop rule, and never trained on.
HELDOUT = "heldout"


@dataclass(frozen=True)
class Dataset:
    """A dataset whose annotations have been read: records by split, with the held-out part taken off ``train``."""

    config: DatasetConfig
    root: Path
    records: tuple[VideoRecord, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @property
    def folder(self) -> Path:
        """Where the files of videos or features are."""
        return self.root / self.config.folder

    def file(self, record: VideoRecord) -> Path:
        """The file of a video, or of its features."""
        return self.folder / f"{record.name}{self.config.suffix}"

    def video(self, record: VideoRecord) -> Video:
        """A record as sources of windows take it."""
        return Video(record.name, self.file(record), record.duration, record.frames, record.fps or self.config.fps)

    def of_one_class(self, name: str) -> Dataset:
        """The same actions, all with this label."""
        records = tuple(replace(record, actions=tuple(replace(action, label=name) for action in record.actions)) for record in self.records)
        return replace(self, config=self.config.model_copy(update={"classes": (name,)}), records=records)

    def split(self, name: str) -> list[VideoRecord]:
        """Videos of ``train``, ``heldout``, ``validation``, ``test`` or of a split named as in the annotation file.

        ``train`` (also by its own name, such as ``training``) never contains a held-out video.

        Raises:
            UserError: there is no such split, or it is empty; the splits present are listed.
        """
        config = self.config.splits
        subset = {"train": config.train, HELDOUT: config.train, "validation": config.validation, "test": config.test}.get(name, name)
        found = [record for record in self.records if record.subset == subset]
        if subset == config.train:
            found = [record for record in found if self._is_heldout(record) == (name == HELDOUT)]
        if not found:
            raise UserError(f"split {name!r} has no videos", where=self.root / self.config.annotations, fix=self._advice(subset))
        return found

    def _advice(self, subset: str) -> str:
        present = sorted({record.subset for record in self.records})
        if subset == self.config.splits.train and subset in present:
            return f"The videos of {subset!r} are too few to be shared with 'heldout': change 'heldout' in the dataset YAML"
        return f"The splits in the file are: {', '.join(present)}; 'heldout' is part of {self.config.splits.train!r}"

    def _is_heldout(self, record: VideoRecord) -> bool:
        """Decided by the name alone, so that it is the same in every run and does not move when videos are added."""
        digest = hashlib.sha256(record.name.encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.config.heldout


def data_root() -> Path:
    """Where built-in datasets live: ``TADSHRINK_DATA``, else the user's cache folder."""
    if given := os.environ.get("TADSHRINK_DATA"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tadshrink"


def builtin_names() -> list[str]:
    """Names that ``--dataset`` takes without a file."""
    folder = package_files("tadshrink.data") / "builtin"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


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
        return parse_dataset_config(text, name), (root or data_root()) / name
    path = Path(dataset)
    if not path.is_file():
        raise UserError("no such dataset", where=name,
                        fix=f"Give a built-in name ({', '.join(builtin_names())}) or the path of a dataset YAML")
    config = parse_dataset_config(read_text(path), path)
    return config, root or path.parent / Path(config.root or ".").expanduser()


def load_dataset(dataset: str | Path, root: Path | None = None) -> Dataset:
    """Read a dataset's configuration and annotations.

    Raises:
        UserError: no such dataset, bad configuration, missing or bad annotations, a label that is not a class.
    """
    config, folder = read_dataset_config(dataset, root)
    path = folder / config.annotations
    if not path.is_file():
        make = f"Run: tadshrink data make {config.name}" + (f" --root {root}" if root else "")
        fix = make if str(dataset) in builtin_names() else "Correct 'annotations' or 'root' in the dataset YAML"
        raise UserError("no annotation file here", where=path, fix=fix)
    records = [_without(record, config.ignored_labels) for record in read_annotations(path)]
    _check_labels(records, config, path)
    return Dataset(config, folder, tuple(records))


def _without(record: VideoRecord, labels: tuple[str, ...]) -> VideoRecord:
    return replace(record, actions=tuple(action for action in record.actions if action.label not in labels))


def _check_labels(records: list[VideoRecord], config: DatasetConfig, path: Path) -> None:
    known = set(config.classes)
    for record in records:
        for number, action in enumerate(record.actions):
            if action.label not in known:
                raise UserError(f"video {record.name!r}, annotation {number}: label {action.label!r} is not a class of the dataset",
                                where=path, fix=f"Classes: {', '.join(config.classes)}; others may stand under 'ignored_labels'")

