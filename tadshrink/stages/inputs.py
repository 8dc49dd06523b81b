"""What a stage makes sure of about its data before hours of work, and what tells one state of a dataset from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tadshrink.checkpoint.format import digest
from tadshrink.data.datasets import Dataset
from tadshrink.errors import UserError

#: Names of missing files that are shown; the rest is counted.
SHOWN = 3


def check_splits(dataset: Dataset, splits: Sequence[str]) -> None:
    """Find out at once that a split has no video, no action at all, or misses files.

    Raises:
        UserError: the first split with such a problem.
    """
    for split in splits:
        records = dataset.split(split)
        if not any(record.actions for record in records):
            raise UserError(f"split {split!r} has {len(records)} videos and not one action", where=dataset.root / dataset.config.annotations,
                            fix="Use a split with annotated actions")
        missing = [record.name for record in records if not dataset.video_path(record).is_file()]
        if missing:
            names = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
            raise UserError(f"{len(missing)} of the {len(records)} videos of split {split!r} are not here ({names})",
                            where=dataset.root / dataset.config.videos,
                            fix="Correct 'videos' or 'extension' in the dataset YAML, or take them out of the annotations")


def data_state(dataset: Dataset) -> dict[str, Any]:
    """What changes when the dataset does: its configuration, and digests of its annotations and of the sizes of its videos."""
    sizes = [(record.name, path.stat().st_size if (path := dataset.video_path(record)).is_file() else None) for record in dataset.records]
    records = [{**asdict(record), "actions": [asdict(action) for action in record.actions]} for record in dataset.records]
    return {"config": dataset.config.model_dump(mode="json"), "annotations": digest(records)[:16], "videos": digest(sizes)[:16]}
