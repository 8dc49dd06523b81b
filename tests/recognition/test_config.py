from __future__ import annotations

from typing import Any

import pytest

from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig
from tadshrink.recognition.config import ClipConfig, RecogniserConfig, SfcConfig, SlowOnlyConfig, is_recogniser, split_place
from tadshrink.recognition.presets import PRESETS, preset
from tadshrink.recognition.recogniser import ActionRecogniser


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_together_and_survive_as_plain_data(name: str) -> None:
    config = preset(name, ["a", "b"]).model_copy(update={"sfc": SfcConfig(split="res3" if name.startswith("slow") else "block:4")})
    assert RecogniserConfig.parse(config.model_dump(mode="json"), "x") == config
    assert is_recogniser(config.model_dump(mode="json"))
    assert not is_recogniser(DetectorConfig(classes=("a",)).model_dump(mode="json"))


def test_an_unknown_preset() -> None:
    with pytest.raises(UserError, match=r"unknown architecture 'x'. Choose one of recogniser-nano, slowonly-nano"):
        preset("x", ["a"])


def test_bad_values_are_told_together() -> None:
    bad = {"clip": {"frames": 0, "steps": 3}, "sfc": {"split": "res3", "ratio": 1.5}}
    data = RecogniserConfig(classes=("a",)).model_dump(mode="json") | bad
    with pytest.raises(UserError) as caught:
        RecogniserConfig.parse(data, "a.pth")
    text = str(caught.value)
    assert text.startswith("a.pth: bad architecture: ")
    assert all(part in text for part in ("clip.frames", "clip.steps", "sfc.ratio"))


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({"classes": ()}, ["there must be a class"]),
        ({"classes": ("a", "a"), "std": (1.0, 0.0, 1.0)}, ["no class twice", "std must be positive"]),
        ({"clip": ClipConfig(frames=8, size=40)}, ["clip.frames must be backbone.chunk_frames (16)", "clip.size must be a multiple"]),
        ({"backbone": BackboneConfig(depth=0, width=25)}, ["backbone.depth must be positive", "backbone.width must be a multiple"]),
        ({"sfc": SfcConfig(split="res3")}, ["sfc.split 'res3' is none of block:0 to block:11"]),
        ({"sfc": SfcConfig(split="block:12", pool="none", topk=2, kernel=(1, 2, 1))},
         ["is none of block:0", "sfc.pool none needs sfc.ratio 1", "sfc.topk is only for", "sfc.kernel must be odd"]),
        ({"backbone": SlowOnlyConfig(), "sfc": SfcConfig(split="res6")}, ["'res6' is none of res2, res3, res4, res5"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_told_together(change: dict[str, Any], problems: list[str]) -> None:
    config = RecogniserConfig(classes=("a",)).model_copy(update=change)
    with pytest.raises(UserError) as caught:
        ActionRecogniser(config)
    assert all(problem in str(caught.value) for problem in problems)
    with pytest.raises(UserError):
        RecogniserConfig.parse(config.model_dump(mode="json"), "x")


def test_places_and_spans() -> None:
    vit, slow = BackboneConfig(depth=12), SlowOnlyConfig()
    assert [split_place(vit, text) for text in ("block:0", "block:11")] == [0, 11]
    assert {split_place(vit, text) for text in ("block:12", "block:", "block:-1", "res3")} == {None}
    assert [split_place(slow, text) for text in ("res2", "res5", "block:1")] == [0, 3, None]
    assert ClipConfig(frames=8, stride=8).span == 57


@pytest.mark.parametrize(("ratio", "steps", "left"), [(0.1, 80, 8), (1 / 8, 80, 10), (0.25, 30, 8), (0.1, 4, 1), (1, 7, 7), (0.5, 3, 2)])
def test_steps_that_are_left_by_hand(ratio: float, steps: int, left: int) -> None:
    assert SfcConfig(split="res3", ratio=ratio).steps(steps) == left
