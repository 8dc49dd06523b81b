"""``tadshrink data check``, once as a real process, and ``--allow-missing``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def copy(tiny: Any, tmp_path: Path) -> Path:
    """The tiny dataset with its videos linked, so that some can be taken away."""
    (tmp_path / "videos").mkdir()
    for video in (tiny.folder / "videos").iterdir():
        (tmp_path / "videos" / video.name).symlink_to(video)
    for name in ("annotations.json", "tiny.yaml"):
        (tmp_path / name).write_bytes((tiny.folder / name).read_bytes())
    return tmp_path


def test_a_sound_dataset(copy: Path, process: Callable[..., Any]) -> None:
    outcome = process("data", "check", copy / "tiny.yaml", "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result.keys() == {"dataset", "format", "usable", "files", "splits", "classes", "problem_counts", "problems"}
    assert (result["usable"], result["files"]) == (True, {"listed": 14, "readable": 14})
    assert "files: 14 of 14 listed videos can be read" in outcome.err
    assert outcome.errors == []


def test_a_dataset_that_cannot_be_used(copy: Path, tadshrink: Callable[..., Any]) -> None:
    content = json.loads((copy / "annotations.json").read_text())
    for entry in list(content["database"].values())[:7]:
        entry["annotations"].append({"segment": [1, 2], "label": "[bold]waltz[/bold]"})
    (copy / "annotations.json").write_text(json.dumps(content))
    outcome = tadshrink("data", "check", copy / "tiny.yaml", "--json")
    assert outcome.code == 2
    assert json.loads(outcome.out)["problem_counts"] == {"unknown label": 7}
    assert len(outcome.errors) == 1
    assert "tiny cannot be used (problems: 7), the first in" in outcome.errors[0]
    assert "7 x unknown label (cannot be used)" in outcome.err
    assert "label '[bold]waltz[/bold]' is not a class" in outcome.err
    assert "and 2 more (--json has all)" in outcome.err


def test_something_else_than_a_dataset(tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    for arguments, problem in ((("none",), "none: no such dataset"), ((tmp_path,), "in this folder there are no annotations"),
                               ((tmp_path, "--label", "adverb"), "--label 'adverb' is unknown. Choose verb or noun"),
                               ((tmp_path, "--root", tmp_path), "--root means nothing for annotations alone"),
                               (("thumos14", "--label", "noun"), "--label means nothing for a dataset"),
                               (("thumos14", "--root", tmp_path), "thumos14 is looked for in")):
        outcome = tadshrink("data", "check", *arguments)
        assert (outcome.code, outcome.out, len(outcome.errors)) == (2, "", 1), outcome.err
        assert problem in outcome.errors[0]


def test_absent_videos_are_an_error_or_named_counted_and_skipped(tiny: Any, copy: Path, tadshrink: Callable[..., Any]) -> None:
    gone = sorted((copy / "videos").glob("testing_*"))[0]
    gone.unlink()
    command = ("eval", tiny.checkpoint, "--dataset", copy / "tiny.yaml", "--split", "testing", "--json")
    refused = tadshrink(*command)
    assert (refused.code, refused.out, len(refused.errors)) == (2, "", 1)
    assert f"1 of the 2 videos of split 'testing' are not here ({gone.stem})" in refused.errors[0]
    assert "--allow-missing" in refused.errors[0]
    accepted = tadshrink(*command, "--allow-missing")
    assert accepted.code == 0, accepted.err
    assert json.loads(accepted.out)["videos"] == 1
    assert f"skipped: 1 of the 2 videos of 'testing' are not here ({gone.stem})" in accepted.err
    checked = tadshrink("data", "check", copy / "tiny.yaml", "--json")
    assert (checked.code, json.loads(checked.out)["problem_counts"]) == (0, {"not here": 1})
