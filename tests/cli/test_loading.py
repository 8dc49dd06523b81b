"""Files of other code bases, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoint import reference_files as files

pytestmark = pytest.mark.usefixtures("counted_once")
TOLD = ("--set", "heads=2", "--set", "window=16", "--set", "frames_per_cell=2", "--set", "frame_size=32")


@pytest.fixture(scope="module")
def adatad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.write_opentad(tmp_path_factory.mktemp("adatad") / "epoch_3.pth", files.weights(files.video_config(adapters=(0, 2))))


def test_profile_names_the_model_in_the_words_of_its_users(adatad: Path, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink("profile", adatad, *TOLD, "--set", "classes=run,jump,throw", "--runs", 1, "--json")
    assert outcome.code == 0, outcome.err
    line = outcome.err.splitlines()[0]
    assert line.startswith("OpenTAD AdaTAD · VideoMAE ViT (16 wide, 4 blocks, 2 heads) with adapters in blocks 0, 2")
    assert line.endswith("EMA weights")
    result = json.loads(outcome.out)
    assert result["summary"] == line
    assert result["arch"]["classes"] == ["run", "jump", "throw"]
    assert "given: heads=2" in outcome.err


def test_a_yaml_counts_less_than_set_and_more_than_the_preset(adatad: Path, tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    (tmp_path / "how.yaml").write_text("heads: 4\nwindow: 32\nnms_sigma: 0.4\nframe_size: 32\nsnippet_stride: 8\n")
    outcome = tadshrink("profile", adatad, "--config", tmp_path / "how.yaml", "--preset", "videomae-none", "--runs", 1)
    assert outcome.code == 2
    assert "videomae-none" in outcome.err
    outcome = tadshrink("profile", adatad, "--config", tmp_path / "how.yaml", "--set", "heads=2", "--weights", "raw", "--runs", 1, "--json")
    assert outcome.code == 0, outcome.err
    arch = json.loads(outcome.out)["arch"]
    assert (arch["backbone"]["heads"], arch["sampling"]["window"], arch["postprocess"]["nms_sigma"]) == (2, 32, 0.4)
    assert "raw weights" in outcome.err


@pytest.mark.parametrize(("options", "said"), [
    (("--set", "heads"), "heads is not KEY=VALUE"),
    (("--set", "haeds=3", "--set", "window=x"), "did you mean heads?"),
    (("--weights", "best"), "weights"),
    (("--config", "none.yaml"), "none.yaml"),
    (("--set", "heads=3"), "heads"),
])  # fmt: skip
def test_bad_settings_are_one_line(adatad: Path, tadshrink: Callable[..., Any], options: tuple[str, ...], said: str) -> None:
    outcome = tadshrink("profile", adatad, *TOLD[2:], *options)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1 and outcome.err.startswith("error:")
    assert said in outcome.err


def test_settings_without_a_checkpoint_are_refused(tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink("run", "--dataset", "synthetic", "--set", "heads=3", "--work-dir", tmp_path / "work")
    assert outcome.code == 2
    assert "there is no checkpoint to read so" in outcome.err


def test_every_stage_takes_a_foreign_file_and_export_gives_one_back(adatad: Path, tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    from tadshrink.checkpoint.io import load_checkpoint

    outcome = tadshrink("drop", adatad, *TOLD, "--blocks", "1", "-o", tmp_path / "dropped.pth")
    assert outcome.code == 0, outcome.err
    outcome = tadshrink("export", tmp_path / "dropped.pth", "--opentad", tmp_path / "fork.pth", "--tadshrink", tmp_path / "same.pth", "--json")
    assert outcome.code == 0, outcome.err
    again = load_checkpoint(tmp_path / "fork.pth", files.TOLD)
    assert again.dropped == [1]
    assert again.checksum == json.loads(outcome.out)["checksum"] == load_checkpoint(tmp_path / "same.pth").checksum
    outcome = tadshrink("export", tmp_path / "dropped.pth")
    assert outcome.code == 2 and "nothing to write" in outcome.err
