"""What a stage makes sure of about its data before hours of work, and what tells one state of a dataset from another."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tadshrink.checkpoint.format import digest
from tadshrink.data.annotations import VideoRecord
from tadshrink.data.dataset_config import EXTENSION_KEYS
from tadshrink.data.datasets import Dataset, how_to_get
from tadshrink.data.sampled import sampled
from tadshrink.data.sources import feature_channels, model_kind
from tadshrink.errors import UserError
from tadshrink.evaluation.fusion import VideoScores
from tadshrink.models.config import DetectorConfig, FeatureConfig
from tadshrink.reporting import Reporter

#: Names of missing files that are shown; the rest is counted.
SHOWN = 3
#: Class names that stand for "not known": files of other code bases do not have any.
PLACEHOLDER = re.compile(r"class \d+")


def fit_dataset(config: DetectorConfig, dataset: Dataset) -> DetectorConfig:
    """An architecture to train on a dataset: with its sampling, and for as many channels as its features have.

    Raises:
        UserError: it takes videos and the dataset has features, or the reverse.
    """
    _check_kind(dataset, config, dataset.config.name)
    changes: dict[str, Any] = {"sampling": config.sampling.model_copy(update=dataset.config.sampling)}
    if isinstance(config.backbone, FeatureConfig):
        changes["backbone"] = FeatureConfig(channels=feature_channels(dataset), normalise=dataset.config.normalise == "training")
    return config.model_copy(update=changes)


def check_dataset(dataset: Dataset, config: DetectorConfig, where: object, scores: VideoScores | None = None) -> None:
    """Make sure that windows of the dataset mean to a model what it was trained for.

    Args:
        scores: name the proposals of a model of one class.

    Raises:
        UserError: it differs in kind of input, classes, sampling or channels of features.
    """
    _check_kind(dataset, config, where)
    check_scores(config, scores)
    if scores is not None:
        _check_score_classes(dataset, scores)
    elif dataset.classes != config.classes:
        raise UserError(f"the dataset's classes ({', '.join(dataset.classes)}) are not the model's ({', '.join(config.classes)})",
                        where=where, fix="Use the dataset that the model was trained on, with its class order")
    ours, model = dataset.config.sampling, config.sampling
    if differing := [f"{key} {value} (model: {getattr(model, key)})" for key, value in ours.items() if value != getattr(model, key)]:
        raise UserError(f"sampling differs from the model's: {'; '.join(differing)}", where=where,
                        fix="Give the dataset YAML the model's values, or, if the model was imported, the right ones with --set")
    if isinstance(config.backbone, FeatureConfig) and (channels := feature_channels(dataset)) != config.backbone.channels:
        raise UserError(f"the features have {channels} channels, and the model takes {config.backbone.channels}", where=where,
                        fix="Give the features that the model was trained on; 'transposed' in the dataset YAML swaps time and channels")


def check_scores(config: DetectorConfig, scores: VideoScores | None) -> None:
    """Raise a :class:`UserError` if class scores are given for a model that tells classes apart itself."""
    if scores is not None and len(config.classes) > 1:
        raise UserError(f"class scores are for models of one class, and this one tells {len(config.classes)} apart", where=scores.where,
                        fix="Leave out the class scores")


def _check_score_classes(dataset: Dataset, scores: VideoScores) -> None:
    if missing := [name for name in dataset.classes if name not in scores.classes]:
        raise UserError(f"no scores for {len(missing)} of the dataset's classes ({', '.join(missing[:SHOWN])})", where=scores.where,
                        fix="Give scores of all classes, by the dataset's names")


def _check_kind(dataset: Dataset, config: DetectorConfig, where: object) -> None:
    if dataset.config.kind != (kind := model_kind(config)):
        raise UserError(f"the dataset has {dataset.config.kind}, and the model takes {kind}", where=where,
                        fix=f"Give a dataset YAML with {kind!r}, or another model (train: another --arch)")


def as_one_class(dataset: Dataset, config: DetectorConfig, reporter: Reporter) -> Dataset:
    """The dataset with all its actions as one class, if the model proposes actions without telling them apart; else as it is."""
    if len(config.classes) > 1 or len(dataset.classes) == 1:
        return dataset
    reporter.note(f"the model has one class: the {len(dataset.classes)} classes of dataset {dataset.config.name!r} count as one")
    return dataset.of_one_class(config.classes[0])


def named_classes(config: DetectorConfig, dataset: Dataset, where: object, reporter: Reporter) -> DetectorConfig:
    """``config`` with the dataset's class names, if its own are placeholders ("class 0", "class 1", ...); else as it is.

    Raises:
        UserError: they are placeholders for another number of classes.
    """
    if dataset.classes == config.classes or not all(map(PLACEHOLDER.fullmatch, config.classes)):
        return config
    if len(dataset.classes) != len(config.classes):
        raise UserError(f"the dataset has {len(dataset.classes)} classes, and the model {len(config.classes)} without names", where=where,
                        fix="Use the dataset that the model was trained on, with its class order")
    reporter.note(f"the model has no class names: those of dataset {dataset.config.name!r} are taken, in their order")
    return config.model_copy(update={"classes": dataset.classes})


def check_splits(dataset: Dataset, splits: Sequence[str]) -> None:
    """Find out at once that a split has no video, no action at all, or misses files.

    Raises:
        UserError: the first split with such a problem.
    """
    for split in splits:
        records = dataset.split(split)
        if not any(record.actions for record in records):
            raise UserError(f"split {split!r} has {len(records)} videos and not one action", where=dataset.where,
                            fix="Use a split with annotated actions")
        check_files(dataset, [split])


def check_files(dataset: Dataset, splits: Sequence[str]) -> None:
    """Raise a :class:`UserError` if files of a split are not here."""
    for split in splits:
        records = dataset.split(split)
        if missing := absent(dataset, records):
            raise _not_here(f"{len(missing)} of the {len(records)} {dataset.config.kind} of split {split!r}", missing, dataset)


def absent(dataset: Dataset, records: Iterable[VideoRecord]) -> list[VideoRecord]:
    """Videos of which a file is not here."""
    return [record for record in records if not all(path.is_file() for path in dataset.files(record))]


def without_absent(dataset: Dataset, reporter: Reporter) -> Dataset:
    """The dataset without the videos whose files are not here (``--allow-missing``); they are counted and the first named.

    Raises:
        UserError: not one is here.
    """
    missing = absent(dataset, dataset.records)
    if missing and len(missing) == len(dataset.records):
        raise _not_here(f"all {len(missing)} {dataset.config.kind}", missing, dataset)
    for subset, count in Counter(record.subset for record in missing).items():
        names = [record.name for record in missing if record.subset == subset]
        total = sum(record.subset == subset for record in dataset.records)
        reporter.note(f"skipped: {count} of the {total} {dataset.config.kind} of {subset!r} are not here ({_some(names)})")
    gone = {record.name for record in missing}
    return replace(dataset, records=tuple(record for record in dataset.records if record.name not in gone))


def _not_here(what: str, missing: Sequence[VideoRecord], dataset: Dataset) -> UserError:
    kind = dataset.config.kind
    fix = f"Add them, correct {kind!r}, 'prefix' or {EXTENSION_KEYS[kind]!r} in the dataset YAML, or go on without them: --allow-missing"
    if not all(folder.is_dir() for folder in dataset.folders):
        fix = how_to_get(dataset.config, dataset.root) or fix
    return UserError(f"{what} are not here ({_some([record.name for record in missing])})", where=", ".join(map(str, dataset.folders)), fix=fix)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def data_state(dataset: Dataset) -> dict[str, Any]:
    """What changes when the dataset does: its configuration, and digests of its annotations and of its files, which are sampled."""
    contents = [(record.name, [sampled(path) for path in dataset.files(record)]) for record in dataset.records]
    records = [(record.name, record.subset, record.duration, record.frames, record.fps, record.ambiguous,
                [(action.start, action.end, action.label) for action in record.actions]) for record in dataset.records]
    # As text, since a digest of so many single values takes seconds.
    annotations, files = (digest(json.dumps(value))[:16] for value in (records, contents))
    return {"config": dataset.config.model_dump(mode="json"), "annotations": annotations, dataset.config.kind: files}
