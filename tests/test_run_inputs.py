from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tadshrink import run_inputs
from tadshrink.errors import UserError
from tadshrink.reporting import SILENT
from tadshrink.run_inputs import builtin_baseline, open_inputs, prepare_data
from tadshrink.run_settings import RunSettings
from tadshrink.stages.common import DatasetChoice

pytestmark = pytest.mark.usefixtures("counted_once")


def opened(checkpoint: Path | None, choice: DatasetChoice, target: str = "25%") -> run_inputs.RunInputs:
    return open_inputs(checkpoint, choice, RunSettings(target=target), "cpu", SILENT)


def test_the_plan_holds_all_that_the_result_depends_on(tiny) -> None:
    plan = opened(tiny.checkpoint, tiny.choice, "2").plan(RunSettings(target="2"))
    assert plan.keys() == {"baseline", "architecture", "dropped", "dataset", "root", "data", "settings", "device"}
    assert plan["settings"]["target"] == "2"
    assert plan["device"] == "cpu float32"
    assert json.loads(json.dumps(plan)) == plan


def test_without_a_checkpoint_only_the_built_in_dataset_has_one(tiny) -> None:
    with pytest.raises(UserError, match=r"no checkpoint given.*tadshrink train --dataset"):
        opened(None, tiny.choice)
    assert builtin_baseline(DatasetChoice("synthetic")).name == "synthetic-nano.pth"


def test_updates_that_are_not_merged_are_found_before_the_first_selection(tiny, chain) -> None:
    with pytest.raises(UserError, match=r"aligned\.pth: its LoRA is not merged yet"):
        opened(chain.aligned, tiny.choice)


@pytest.mark.parametrize("split", ["training", "testing"])
def test_a_missing_video_is_found_before_the_first_selection(tiny, tmp_path: Path, split: str) -> None:
    shutil.copytree(tiny.folder / "videos", tmp_path / "videos")
    (tmp_path / "videos" / f"{split}_0000.mp4").unlink()
    shutil.copy(tiny.folder / "annotations.json", tmp_path)
    shutil.copy(tiny.yaml, tmp_path)
    with pytest.raises(UserError, match=rf"1 of the \d videos of split '\w+' are not here \({split}_0000\)"):
        opened(tiny.checkpoint, DatasetChoice(str(tmp_path / "tiny.yaml")))


def test_a_test_split_that_is_not_there_is_found_before_the_first_selection(tiny, tmp_path: Path) -> None:
    data = yaml.safe_load(tiny.yaml.read_text()) | {"root": str(tiny.folder), "splits": {"test": "test2015"}}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(UserError, match=r"split 'test' has no videos"):
        opened(tiny.checkpoint, DatasetChoice(str(tmp_path / "d.yaml")))


def test_the_built_in_dataset_is_made_when_it_is_absent_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt) -> None:
    made: list[Path] = []

    def make(folder: Path, **rest: object) -> None:
        made.append(folder)
        folder.mkdir()
        (folder / "annotations.json").touch()

    monkeypatch.setattr(run_inputs, "make_synthetic", make)
    reporter = interrupt()
    for _ in range(2):
        prepare_data(DatasetChoice("synthetic", tmp_path), reporter)
    prepare_data(DatasetChoice(str(tmp_path / "other.yaml")), reporter)
    assert made == [tmp_path / "synthetic"]
    assert reporter.notes == [f"making the synthetic dataset in {tmp_path / 'synthetic'}"]


def test_the_dataset_is_not_made_for_a_checkpoint_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_inputs, "make_synthetic", None)
    with pytest.raises(UserError, match="no such file"):
        opened(tmp_path / "none.pth", DatasetChoice("synthetic", tmp_path))
