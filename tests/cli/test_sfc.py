"""Every command of ``tadshrink sfc`` once as a real process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tadshrink.recognition.opening import read_recogniser
from tests.clips import TinyClips

ACCURACY = {"videos", "top1", "top1_interval", "top5", "mean_class", "per_class"}
TRAINED = {"output", "checksum", "curve", "heldout", "views"}


@pytest.fixture(scope="module")
def module(tiny_clips: TinyClips, process: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A module that ``sfc train`` made, and what the command said."""
    output = tmp_path_factory.mktemp("cli") / "sfc.pth"
    return output, process("sfc", "train", tiny_clips.checkpoints["slow"], "--dataset", "synthetic-clips", "--root", tiny_clips.root,
                           "--split-at", "res3", "--ratio", 0.25, "--clips", 4, "--topk", 2, "--attention", "space-time", "--epochs", 1,
                           "-o", output, "--json")


def test_make_and_base(process: Callable[..., Any], tadshrink: Callable[..., Any], tmp_path: Path) -> None:
    made = tadshrink("data", "make", "synthetic-clips", "--videos", 12, "--root", tmp_path, "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out) == {"output": str(tmp_path / "synthetic-clips" / "clips.csv"), "videos": 12, "seed": 0}
    trained = process("sfc", "base", "--dataset", "synthetic-clips", "--root", tmp_path, "--arch", "recogniser-nano", "--epochs", 1,
                      "--batch-size", 2, "-o", tmp_path / "base.pth", "--json")
    assert trained.code == 0, trained.err
    result = json.loads(trained.out)
    assert result.keys() == TRAINED
    assert result["heldout"].keys() == ACCURACY
    assert "held-out top-1" in trained.err
    assert Path(result["output"]).is_file()


def test_train(module: tuple[Path, Any]) -> None:
    output, trained = module
    assert trained.code == 0, trained.err
    result = json.loads(trained.out)
    assert result.keys() == TRAINED
    assert result["output"] == str(output)
    assert result["checksum"] in trained.err
    module = read_recogniser(output).architecture["sfc"]
    assert {name: module[name] for name in ("split", "ratio", "clips", "topk", "attention", "pool", "crops")} == {
        "split": "res3", "ratio": 0.25, "clips": 4, "topk": 2, "attention": "space-time", "pool": "topk", "crops": 3}


def test_other_modules(tiny_clips: TinyClips, tadshrink: Callable[..., Any], tmp_path: Path) -> None:
    outcome = tadshrink("sfc", "train", tiny_clips.checkpoints["vit"], "--dataset", "synthetic-clips", "--root", tiny_clips.root, "--split-at",
                        "block:1", "--clips", 3, "--pool", "avg", "--width", 3, "--crops", 2, "--epochs", 0, "-o", tmp_path / "a.pth")
    assert outcome.code == 0, outcome.err
    module = read_recogniser(tmp_path / "a.pth").architecture["sfc"]
    assert {name: module[name] for name in ("split", "ratio", "clips", "topk", "attention", "pool", "crops", "width")} == {
        "split": "block:1", "ratio": 0.1, "clips": 3, "topk": None, "attention": "time", "pool": "avg", "crops": 2, "width": 3}


def test_eval(module: tuple[Path, Any], tiny_clips: TinyClips, process: Callable[..., Any]) -> None:
    found = process("sfc", "eval", module[0], "--dataset", "synthetic-clips", "--root", tiny_clips.root, "--views", "sfc", "--json")
    assert found.code == 0, found.err
    result = json.loads(found.out)
    assert result.keys() == ACCURACY | {"views", "split"}
    assert (result["views"], result["split"], result["videos"]) == ("sfc", "testing", 16)
    assert "top-1" in found.err and "orbit-clockwise" in found.err


def test_classify(module: tuple[Path, Any], tiny_clips: TinyClips, process: Callable[..., Any], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    found = process("sfc", "classify", module[0], broken, tiny_clips.video(), "--json")
    assert found.code == 2
    assert len(found.errors) == 1 and str(broken) in found.errors[0]
    result = json.loads(found.out)
    assert list(result["results"]) == [str(tiny_clips.video())]
    assert len(result["results"][str(tiny_clips.video())]) == 5
    assert "probability" in found.err and "Traceback" not in found.err


@pytest.mark.parametrize(("arguments", "problem"), [
    (("eval", "none.pth", "--dataset", "synthetic-clips"), "none.pth: no such file"),
    (("eval", "CKPT", "--dataset", "nosuch"), "nosuch: no such recognition dataset"),
    (("eval", "CKPT", "--dataset", "synthetic-clips", "--views", "ten"), "views 'ten' are unknown"),
    (("train", "CKPT", "--dataset", "synthetic-clips", "--split-at", "res3", "--ratio", "2", "-o", "x.pth"), "--ratio"),
    (("train", "CKPT", "--dataset", "synthetic-clips", "--split-at", "res3", "--pool", "best", "-o", "x.pth"), "--pool"),
    (("train", "CKPT", "--dataset", "synthetic-clips", "-o", "x.pth"), "Missing option '--split-at'"),
])
def test_bad_input_is_one_line(tadshrink: Callable[..., Any], tiny_clips: TinyClips, arguments: tuple[str, ...], problem: str) -> None:
    outcome = tadshrink("sfc", *(tiny_clips.checkpoints["slow"] if word == "CKPT" else word for word in arguments))
    assert (outcome.code, outcome.out, len(outcome.errors)) == (2, "", 1)
    assert problem in outcome.errors[0]
    assert "Traceback" not in outcome.err


def test_a_detector_is_no_recogniser(tadshrink: Callable[..., Any], tiny, tiny_clips: TinyClips) -> None:
    outcome = tadshrink("sfc", "classify", tiny.checkpoint, tiny_clips.video())
    assert outcome.code == 2
    assert "a detector, not a recogniser" in outcome.errors[0]
