from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tadshrink.data.datasets import load_dataset
from tadshrink.errors import UserError
from tadshrink.stages.inputs import check_output, data_state


@pytest.mark.parametrize("name", ["a.pth", "new/folder/a.pth", "there.pth"])
def test_a_good_output_passes_and_nothing_is_created(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.pth").touch()
    check_output(tmp_path / name)
    check_output(None)
    assert [item.name for item in tmp_path.iterdir()] == ["there.pth"]


@pytest.mark.parametrize("name", [".", "file/a.pth", "file/more/a.pth"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write here"):
        check_output(tmp_path / name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot write here"):
        check_output(tmp_path / "locked" / "a.pth")


def test_a_relative_output_is_looked_for_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_output(Path("a.pth"))


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
