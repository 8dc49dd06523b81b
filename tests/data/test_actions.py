from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.data.actions import ActionGrid
from tadshrink.data.annotations import Action, VideoRecord
from tadshrink.data.dataset_config import DatasetConfig
from tadshrink.data.datasets import Dataset
from tadshrink.data.sources import VideoSource
from tadshrink.models.config import SamplingConfig

#: Segments and classes, and which of them OpenTAD keeps (its golden values).
REPEATED = [
    ([(3, 5), (3, 6), (3, 5)], "xyx", [0, 1]),
    ([(3, 5), (3, 6), (3, 5)], "xyz", [0, 1, 2]),
    ([(3, 5), (3, 5), (3, 5)], "xyy", [0, 1]),
    ([(3, 5), (7, 9), (3, 5), (7, 9)], "xyyx", [0, 1, 2, 3]),
]


@pytest.mark.parametrize(("segments", "labels", "kept"), REPEATED)
def test_an_action_that_is_annotated_twice_is_trained_on_once(segments: list[tuple[int, int]], labels: str, kept: list[int]) -> None:
    actions = tuple(Action(start, end, label, f"annotation {number}")
                    for number, ((start, end), label) in enumerate(zip(segments, labels, strict=True)))
    config = DatasetConfig(name="a", annotations="a", videos="a", classes=("x", "y", "z"))
    dataset = Dataset(config, Path(), (VideoRecord("v", "testing", 9.0, actions),))
    grid = ActionGrid(dataset, "test", VideoSource(SamplingConfig()))
    assert grid.records["v"].actions == tuple(actions[number] for number in kept)
    # What counts in an evaluation is decided by its rule.
    assert dataset.records[0].actions == actions
