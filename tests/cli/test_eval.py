"""``tadshrink eval``: of a checkpoint, and of files of detections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: Runs the command line and fails if that imported torch.
WITHOUT_TORCH = """
import sys
from tadshrink.cli.app import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
assert "torch" not in sys.modules
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """found.json and truth.json: one of two actions found."""
    truth = {"database": {"v": {"subset": "testing", "annotations": [{"segment": [0, 10], "label": "a"}, {"segment": [20, 30], "label": "b"}]}}}
    found = {"results": {"v": [{"segment": [0, 9], "label": "a", "score": 0.5}]}}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(found))
    return tmp_path


def given(files: Path, *more: object) -> tuple[object, ...]:
    return ("eval", "--results", files / "found.json", "--annotations", files / "truth.json", *more)


def test_files_are_scored_by_a_process_that_never_imports_torch(files: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, given(files, "--tiou", "0.5,0.95", "--json"))], text=True,
                          capture_output=True, check=False, env=os.environ | {"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["average_map"], result["map"], result["rule"]) == (25, {"0.5": 50, "0.95": 0}, "activitynet")
    assert result["confidence_interval"] is None
    counts = "1 videos, 2 actions, 1 detections, rule activitynet (in %)"
    assert all(text in done.stderr for text in (counts, "recall@5x", "Average AP per class", "at tIoU 0.5", "background"))


def test_the_rule_and_the_default_thresholds(files: Path, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink(*given(files, "--rule", "thumos14", "--json"))
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert (result["rule"], list(result["map"])) == ("thumos14", ["0.3", "0.4", "0.5", "0.6", "0.7"])
    assert "rule thumos14: the organisers' rule" in outcome.err
    assert tadshrink(*given(files)).out == ""


@pytest.mark.parametrize(("options", "problem"), [
    (("--rule", "voc"), "unknown rule 'voc'. Rules: activitynet, thumos14, activitynet-official, actionformer"),
    (("--tiou", "0.3:0.7"), "--tiou '0.3:0.7' is not a list of thresholds"),
    (("--tiou", ""), "--tiou '' is not a list of thresholds"),
    (("--split", "train"), "there is no split 'train'. Splits in the file: 'testing' (1 videos, 2 actions)"),
    (("--dataset", "synthetic"), "Missing option '--dataset' or --annotations: one of the two"),
    (("-o", "out.json"), "-o means nothing beside --results"),
    (("--class-scores", "s.json"), "--class-scores means nothing beside --results"),
    (("--device", "cpu", "--batch-size", "3"), "--device, --batch-size mean nothing beside --results"),
    (("--root", "x", "--allow-missing"), "--root, --allow-missing mean nothing with --annotations"),
    (("--blocked", "none.json"), "none.json: no such file"),
    (("--classes", "none.txt"), "none.txt: no such file"),
    (("--weights", "raw"), "there is no checkpoint to read so"),
])
def test_bad_options_are_one_line(files: Path, tadshrink: Callable[..., Any], options: tuple[str, ...], problem: str) -> None:
    outcome = tadshrink(*given(files, *options))
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.errors) == 1 and problem in outcome.errors[0]
    assert outcome.err.splitlines()[-1] == outcome.errors[0]


@pytest.mark.parametrize(("arguments", "problem"), [
    (("base.pth", "--annotations", "a.json"), "--annotations means nothing without --results"),
    (("base.pth", "--dataset", "synthetic", "--only-split"), "--only-split means nothing without --results"),
    (("base.pth", "--results", "a.json", "--dataset", "synthetic"), "CKPT means nothing beside --results"),
    (("--results", "a.json"), "Missing option '--dataset' or --annotations: one of the two"),
    (("--results", "a.json", "--dataset", "synthetic", "--blocked", "b.json"), "--blocked means nothing with --dataset"),
    (("--results", "none.json", "--annotations", "none.json"), "none.json: no such file"),
    (("--dataset", "synthetic"), "nothing to evaluate"),
])
def test_options_that_do_not_go_together(tadshrink: Callable[..., Any], arguments: tuple[str, ...], problem: str) -> None:
    outcome = tadshrink("eval", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {outcome.err[len('error: '):]}" and problem in outcome.err


def test_broken_results_are_one_line(files: Path, tadshrink: Callable[..., Any]) -> None:
    one = '{"results": {"%s": [{"segment": [0, 1], "label": "a", "score": %s}]}}'
    broken = {"{": "not valid JSON", one % ("v", "NaN"): "'score' is nan", one % ("x", "1"): "not one of the 1 detections is in a video"}
    for content, problem in broken.items():
        (files / "found.json").write_text(content)
        outcome = tadshrink(*given(files))
        assert (outcome.code, len(outcome.errors)) == (2, 1)
        assert problem in outcome.errors[0]


def test_a_checkpoint_and_the_file_of_its_detections_score_the_same(tiny, tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    options = ("--dataset", tiny.yaml, "--rule", "thumos14", "--tiou", "0.1,0.2", "--json")
    by_model = tadshrink("eval", tiny.checkpoint, *options, "-o", tmp_path / "found.json")
    assert by_model.code == 0, by_model.err
    by_file = tadshrink("eval", "--results", tmp_path / "found.json", *options)
    assert by_file.code == 0, by_file.err
    first, second = json.loads(by_model.out), json.loads(by_file.out)
    for key in ("rule", "map", "per_class_map", "recall", "false_positives", "confidence_interval", "videos", "ground_truths", "detections"):
        assert first[key] == second[key], key
    assert first["average_map"] > 0
    assert list(first["map"]) == ["0.1", "0.2"]
