"""Work dirs and jobs of the benchmarks."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tadshrink.files import write_json
from tests.benchmarks import work


def test_a_work_dir_takes_one_set_of_settings(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    work.check_same(folder, {"epochs": 3, "file": Path("/anywhere/model.pth"), "targets": ("25%",)})
    work.check_same(folder, {"epochs": 3, "file": Path("/elsewhere/model.pth"), "targets": ["25%"]})
    with pytest.raises(SystemExit, match="other settings \\(epochs\\)"):
        work.check_same(folder, {"epochs": 4, "file": "model.pth", "targets": ["25%"]})


def test_a_folder_of_unknown_origin_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "baseline.pth").touch()
    with pytest.raises(SystemExit, match="does not say"):
        work.check_same(tmp_path, {})


def test_results_hold_for_the_same_settings_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.json"
    assert work.recalled(results, {"epochs": 3}) == {}
    write_json(results, {"settings": {"epochs": 3}, "records": [1]})
    assert work.recalled(results, {"epochs": 3})["records"] == [1]
    assert "results.json has are taken from it" in capsys.readouterr().err
    assert work.recalled(results, {"epochs": 4}) == work.recalled(results, {"epochs": 3}, fresh=True) == {}
    assert not capsys.readouterr().err


def test_a_job_begins_when_what_it_needs_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two at a time, what needs nothing overtakes what waits."""
    order, other = [], threading.Event()

    def call(command: list[str], **_: object) -> object:
        name = command[-2]
        if name == "base":
            assert other.wait(10), "the other job never ran"
        order.append(name)
        if name == "other":
            other.set()
        return type("Ended", (), {"returncode": 0})

    monkeypatch.setattr(work.subprocess, "run", call)
    done = []
    work.run_jobs("module", tmp_path, 2, [("base", 0), ("other", 1), ("late", 0)], lambda job: [("base", 0)] if job[0] == "late" else [],
                  lambda: done.append(len(order)))
    assert order == ["other", "base", "late"]
    assert len(done) == 3


def test_a_failed_job_is_told_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work.subprocess, "run", lambda *_, **__: type("Ended", (), {"returncode": 1}))
    with pytest.raises(SystemExit, match=r"no alignment, seed 2 failed: see .*no-alignment-2\.log"):
        work.run_jobs("module", tmp_path, 1, [("no alignment", 2)], lambda _: [], lambda: None)
