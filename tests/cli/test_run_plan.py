"""``tadshrink run --dry-run``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.runs import SAME


def test_it_prints_a_plan_and_writes_nothing(tiny: Any, tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink("run", tiny.checkpoint, "--dataset", tiny.yaml, *SAME, "--work-dir", tmp_path / "w", "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    plan = json.loads(outcome.out)
    assert plan["drops"]["count"] == 2
    assert not list(tmp_path.iterdir())
    for said in ("plan, nothing is written: 2 of 4 blocks, as asked for", "rank 4 blocks by mse on 3 held-out videos", "step-2: the same again",
                 "metric mse", "writes step-1/aligned.pth", "Rough: from"):
        assert said in outcome.err, said


def test_it_says_where_an_interrupted_run_would_go_on(tiny: Any, tiny_run: Path, tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    work = tmp_path / "w"
    shutil.copytree(tiny_run, work)
    (tmp_path / "recipe.yaml").write_text("align: {seed: 1}\n")
    command = ("run", tiny.checkpoint, "--dataset", tiny.yaml, *SAME, "--recipe", tmp_path / "recipe.yaml", "--work-dir", work,
               "--device", "cpu", "--dry-run")
    (work / "step-2" / "merge.json").unlink()
    outcome = tadshrink(*command)
    assert "it would go on with step-2/merge" in outcome.err
    assert "step-1: done" in outcome.err
    assert "step-2/align: 2 epochs" in outcome.err and "; done" in outcome.err


def test_without_the_built_in_data_it_says_what_comes_first(tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink("run", "--dataset", "synthetic", "--root", tmp_path / "data", "--work-dir", tmp_path / "w", "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "synthetic is not here: it would be rendered to" in outcome.err
    assert not list(tmp_path.iterdir())
