from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.errors import UserError
from tests.checkpoint import reference_files as files


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = files.weights(files.video_config(), dropped=[1])
    return files.write_opentad(tmp_path_factory.mktemp("video") / "a.pth", state)


@pytest.fixture(scope="module")
def relative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = files.weights(files.feature_config("actionformer", relative_position=True))
    return files.write_actionformer(tmp_path_factory.mktemp("relative") / "a.pth", state)


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_checkpoint(path, LoadSettings(**settings))
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"heads": 3}, "heads=3 does not divide the ViT's width 16"),
        ({"head_heads": 3}, "head_heads=3 does not divide the head's width 8"),
        ({"clip_frames": 12}, "clip_frames=12 does not fit the position table of 32 tokens (tubelets of 2 frames, square grid)"),
        ({"classes": ("a", "b")}, "2 class names, but the head has 3 classes"),
        ({"classes": ("a", "a", "b")}, "a class name is there twice"),
        ({"regression_ranges": ((0, 4), (4, 9))}, "2 regression_ranges, but there are 3 levels"),
        ({"depth": 2}, "depth is 2, but there are weights of blocks 2, 3"),
        ({"dropped": (2,)}, "blocks 1 have no weights either, but are not in dropped=2"),
        ({"dropped": (1, 1)}, "dropped=1,1 must be different numbers below the depth 4"),
        ({"dropped": (0, 1, 2, 3)}, "dropped=0,1,2,3 leaves no block"),
        ({"window": 17}, "sampling.window must be a multiple of 4"),
        ({"frame_size": 33}, "sampling.frame_size must be a multiple of backbone.patch_size"),
        ({"attention_window": 4}, "head.attention_window must be odd"),
        ({"preset": "adatad-thumos-videomae-s", "classes": ("a", "b", "c")}, "videomae-s is for width 384, but the file's is 16"),
        ({"preset": "actionformer-thumos-i3d"}, "for variant actionformer, but the file's is opentad"),
        ({"preset": "adatad"}, "unknown preset 'adatad'. Choose one of adatad-thumos-videomae-s, "),
    ],
)  # fmt: skip
def test_settings_that_contradict_the_weights(video: Path, settings: dict[str, Any], problem: str) -> None:
    assert problem in refusal(video, **settings)


def test_all_contradictions_are_told_together(video: Path) -> None:
    line = refusal(video, heads=3, classes=("a",))
    assert "heads=3 does not" in line
    assert "1 class names" in line


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"head_heads": 2}, "head_heads=2, but the relative positions are of 4 heads"),
        ({"attention_window": 7}, "attention_window=7, but the relative positions are of a window of 5"),
    ],
)
def test_relative_positions_show_heads_and_window(relative: Path, settings: dict[str, Any], problem: str) -> None:
    head = load_checkpoint(relative).architecture["head"]
    assert (head["heads"], head["attention_window"], head["relative_position"]) == (4, 5, True)
    assert problem in refusal(relative, **settings)


def test_settings_of_the_backbone_mean_nothing_on_features(relative: Path) -> None:
    assert load_checkpoint(relative, LoadSettings(heads=3, frame_size=33)).checksum == load_checkpoint(relative).checksum
