from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tadshrink.data.datasets import load_dataset
from tadshrink.stages.inputs import data_state


def test_the_state_of_a_dataset_changes_with_configuration_annotations_and_videos(tiny, tmp_path: Path) -> None:
    first = data_state(tiny.data)
    assert first == data_state(load_dataset(tiny.yaml))
    data = tiny.data
    other = data_state(replace(data, config=data.config.model_copy(update={"heldout": 0.3})))
    assert {key for key in first if first[key] != other[key]} == {"config"}
    other = data_state(replace(data, records=data.records[1:]))
    assert {key for key in first if first[key] != other[key]} == {"annotations", "videos"}
    shorter = (replace(data.records[0], actions=data.records[0].actions[1:]), *data.records[1:])
    other = data_state(replace(data, records=shorter))
    assert {key for key in first if first[key] != other[key]} == {"annotations"}
    other = data_state(replace(data, root=tmp_path))
    assert {key for key in first if first[key] != other[key]} == {"videos"}
