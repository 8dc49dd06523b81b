from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.errors import UserError
from tadshrink.stages.common import DatasetChoice, save_stage, with_weights


def test_an_opened_detector_is_the_one_that_was_saved(tiny, chain) -> None:
    for path in (tiny.checkpoint, chain.dropped, chain.aligned, chain.merged):
        opened = tiny.opened(path)
        assert opened.checksum == load_checkpoint(path).checksum
        assert not opened.detector.training
        again = with_weights(opened.checkpoint, opened.detector)
        assert again.checksum == opened.checksum


def test_every_stage_adds_one_entry_and_names_its_parent(tiny, chain) -> None:
    paths = (tiny.checkpoint, chain.ranked, chain.dropped, chain.aligned, chain.merged)
    history = load_checkpoint(chain.merged).history
    assert [entry["command"] for entry in history] == ["select", "drop", "align", "merge"]
    assert [entry["parent"] for entry in history] == [load_checkpoint(path).checksum for path in paths[:-1]]
    for entry in history:
        assert entry.keys() == {"command", "arguments", "version", "parent", "metrics"}
        assert entry["version"]


def test_files_open_in_plain_torch(chain) -> None:
    content = torch.load(chain.aligned, weights_only=True)
    assert content.keys() == {"format", "format_version", "checksum", "state_dict", "architecture", "classes", "dropped", "ranking", "lora",
                              "history"}


def test_weights_that_do_not_fit_are_refused_with_the_files_name(tiny, tmp_path: Path) -> None:
    source = load_checkpoint(tiny.checkpoint)
    save_checkpoint(tmp_path / "a.pth", replace(source, dropped=[2]))
    with pytest.raises(UserError, match=r"a\.pth: weights do not fit the architecture"):
        tiny.opened(tmp_path / "a.pth")


def test_save_stage_returns_path_and_checksum(tiny, tmp_path: Path) -> None:
    source = load_checkpoint(tiny.checkpoint)
    written = save_stage(tmp_path / "a.pth", source, "drop", {}, None, {})
    assert written.to_json() == {"output": str(tmp_path / "a.pth"), "checksum": source.checksum}


def test_dataset_choices_are_recorded_as_plain_text() -> None:
    assert DatasetChoice("a.yaml").arguments() == {"dataset": "a.yaml", "root": None}
    assert DatasetChoice("synthetic", Path("/data")).arguments() == {"dataset": "synthetic", "root": "/data"}


def test_the_choice_to_go_on_without_absent_videos_is_recorded(tiny, interrupt) -> None:
    choice, reporter = DatasetChoice(str(tiny.yaml), allow_missing=True), interrupt()
    assert choice.arguments() == {"dataset": str(tiny.yaml), "root": None, "allow_missing": True}
    # None is absent.
    assert len(choice.load(reporter).records) == 14
    assert not any("skipped" in note for note in reporter.notes)
