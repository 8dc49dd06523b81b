from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(("options", "problem"), [
    ((), "nothing to write. Give --onnx OUT, --opentad OUT, --tadshrink OUT or several of them"),
    (("--tadshrink", "a.pth", "--layout", "nonsense"), "--layout means nothing without --opentad"),
    (("--int8",), "--int8 means nothing without --onnx"),
    (("--onnx", "a.onnx", "--int8", "--fp16"), "--fp16 and --int8 exclude each other"),
    (("--onnx", "a.onnx", "--dataset", "synthetic", "--video", "a.mp4"), "--dataset and --video exclude each other"),
    (("--onnx", "a.onnx", "--nms-iou", 0.3), "--nms-iou means nothing without --with-nms"),
    (("--onnx", "a.onnx", "--int8", "--quantise", "what"), "unknown way to quantise 'what'. Ways: dynamic, static"),
    (("--onnx", "a.onnx", "--quantise", "static"), "--quantise means nothing without --int8"),
    (("--onnx", "/dev/null"), "/dev/null: cannot write here"),
])  # fmt: skip
def test_options_that_do_not_go_together(tadshrink: Callable[..., Any], tiny, options: tuple[object, ...], problem: str) -> None:
    outcome = tadshrink("export", tiny.checkpoint, *options)
    assert outcome.code == 2
    (line,) = outcome.errors
    assert problem in line


@pytest.mark.parametrize("command", ["detect", "eval"])
def test_a_bad_onnx_file_is_one_line(tadshrink: Callable[..., Any], tiny, tmp_path: Path, command: str) -> None:
    (tmp_path / "a.onnx").write_text("nothing")
    more = (tiny.video(),) if command == "detect" else ("--dataset", tiny.yaml)
    outcome = tadshrink(command, tmp_path / "a.onnx", *more)
    assert outcome.code == 2
    (line,) = outcome.errors
    assert f"{tmp_path / 'a.onnx'}: ONNX Runtime" in line and "cannot open this file" in line


@pytest.mark.slow
def test_a_file_by_the_command(process: Callable[..., Any], tiny, tmp_path: Path) -> None:
    options = ("--with-nms", "--provider", "cpu", "--video", tiny.video())
    outcome = process("export", tiny.checkpoint, "--onnx", tmp_path / "a.onnx", *options, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result.keys() == {"checksum", "written", "onnx"}
    assert result["onnx"].keys() == {"precision", "provider", "difference", "files", "windows"}
    assert result["onnx"]["difference"].keys() == {"scores", "boundaries", "outside"}
    assert "Warning" not in outcome.err and "torchvision" not in outcome.err
    found = process("detect", tmp_path / "a.onnx", tiny.video(), "--score-threshold", 0, "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["results"]["testing_0000"]
