from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.report.commands import history_lines
from tadshrink.stages import report as stage

pytestmark = pytest.mark.usefixtures("counted_once")


def test_a_work_dir(tiny_run: Path, process: Callable[..., Any], tmp_path: Path) -> None:
    outcome = process("report", tiny_run, "-o", tmp_path / "r.html", "--videos", 0, "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told.keys() == {"output", "bytes", "seconds", "missing"}
    assert (tmp_path / "r.html").stat().st_size == told["bytes"]
    assert f"written to {tmp_path / 'r.html'}" in outcome.err


def test_a_checkpoint(chain, tadshrink: Callable[..., Any], tmp_path: Path) -> None:
    shutil.copy(chain.merged, tmp_path / "model.pth")
    assert tadshrink("report", tmp_path / "model.pth").code == 0
    assert (tmp_path / "model.html").is_file()


@pytest.mark.parametrize(("arguments", "problem"), [
    ((".",), "no run in this folder"), (("none.pth",), "none.pth: no such file"), ((".", "--root", "."), "--root means nothing without")])
def test_bad_input_is_one_line(tadshrink: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...],
                               problem: str) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = tadshrink("report", *arguments)
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert problem in outcome.errors[0]


def run_arguments(tiny, work: Path) -> tuple[object, ...]:
    return ("run", tiny.checkpoint, "--dataset", tiny.yaml, "--target", 1, "--metric", "mse", "--heal", "none", "--latency-runs", 1,
            "--work-dir", work, "--device", "cpu")


def test_a_run_writes_it_and_says_where(tiny, tadshrink: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = run_arguments(tiny, tmp_path / "w")
    outcome = tadshrink(*arguments)
    assert outcome.code == 0, outcome.err
    assert f"report: {tmp_path / 'w' / 'report.html'}" in outcome.err
    assert 'id="timelines"' in (tmp_path / "w/report.html").read_text(encoding="utf-8")

    def fail(*arguments: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr(stage, "write_page", fail)
    again = tadshrink(*arguments, "--fresh", "--json")
    assert again.code == 0
    assert f"no report was written (no fonts); try again: tadshrink report {tmp_path / 'w'}" in again.err
    assert json.loads(again.out)["work_dir"] == str(tmp_path / "w")
    # Of the run before.
    assert not (tmp_path / "w/report.html").exists()


def test_the_commands_of_a_history_make_the_same_weights(tiny, chain, tmp_path: Path, tadshrink: Callable[..., Any],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny.checkpoint, "BASE.pth")
    made = load_checkpoint(chain.merged)
    lines = history_lines(made.history, "BASE.pth")
    for line in lines:
        assert tadshrink(*shlex.split(line)[1:]).code == 0, line
    assert load_checkpoint(shlex.split(lines[-1])[-1]).checksum == made.checksum
