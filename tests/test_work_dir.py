from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tadshrink import work_dir
from tadshrink.errors import UserError
from tadshrink.work_dir import WorkDir

PLAN = {"baseline": "abc", "settings": {"target": "25%", "align": {"rank": None, "lr": 0.1}}}


def names(folder: Path) -> set[str]:
    return {str(item.relative_to(folder)) for item in folder.rglob("*") if item.is_file()}


def test_a_run_begins_once_and_is_then_continued(tmp_path: Path) -> None:
    work = WorkDir(tmp_path / "w")
    assert not work.begin(PLAN, fresh=False)
    assert json.loads((tmp_path / "w" / "run.json").read_text()) == PLAN
    assert WorkDir(tmp_path / "w").begin(PLAN, fresh=False)


def test_whether_a_run_goes_on_can_be_asked_before(tmp_path: Path) -> None:
    work = WorkDir(tmp_path / "w")
    assert not work.goes_on(PLAN, fresh=False)
    assert not (tmp_path / "w").exists()
    work.begin(PLAN, fresh=False)
    assert work.goes_on(PLAN, fresh=False) and not work.goes_on(PLAN, fresh=True)
    with pytest.raises(UserError, match="new: None -> 1"):
        work.goes_on(PLAN | {"new": 1}, fresh=False)
    assert names(tmp_path) == {"w/run.json"}


def test_every_difference_is_named(tmp_path: Path) -> None:
    WorkDir(tmp_path).begin(PLAN, fresh=False)
    other = {"baseline": "abd", "settings": {"target": "25%", "align": {"rank": 8, "lr": 0.1}}, "new": 1}
    with pytest.raises(UserError, match=r"baseline: abc -> abd; new: None -> 1; settings\.align\.rank: None -> 8\..*--work-dir, or --fresh"):
        WorkDir(tmp_path).begin(other, fresh=False)
    assert json.loads((tmp_path / "run.json").read_text()) == PLAN


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    work, calls = WorkDir(tmp_path), []

    def stage() -> dict[str, int]:
        calls.append(1)
        return {"value": 3}

    first, second = work.stage("step-1/select", stage), work.stage("step-1/select", stage)
    assert first == second
    assert first["value"] == 3
    assert first["seconds"] >= 0
    assert len(calls) == 1


def test_seconds_are_those_of_all_calls_as_far_as_they_were_of_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, clock = WorkDir(tmp_path), [1000.0]
    monkeypatch.setattr(work_dir.time, "time", lambda: clock[0])
    monkeypatch.setattr(work_dir.time, "perf_counter", lambda: clock[0])

    def stage(saves: float, ends: float, breaks: bool = True) -> dict[str, int]:
        (tmp_path / "step-1" / "aligned.pth.training").write_text("half")
        os.utime(tmp_path / "step-1" / "aligned.pth.training", (saves, saves))
        clock[0] = ends
        if breaks:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        work.stage("step-1/align", lambda: stage(1030, 1050))
    clock[0] = 2000.0
    with pytest.raises(KeyboardInterrupt):
        # Nothing was saved: all of it is done again.
        work.stage("step-1/align", lambda: stage(1030, 2050))
    clock[0] = 3000.0
    assert work.stage("step-1/align", lambda: stage(3004, 3005, breaks=False))["seconds"] == 35
    assert names(tmp_path) == {"step-1/align.json", "step-1/aligned.pth.training"}


def test_a_stage_that_fails_is_not_done(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        work.stage("a", lambda: {"value": 1 / 0})
    assert names(tmp_path) == {"a.begun"}
    assert work.stage("a", lambda: {"value": 1})["value"] == 1


def test_fresh_deletes_what_runs_make_and_nothing_else(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    work.begin(PLAN, fresh=False)
    foreign = {"notes.txt", "step-1/notes.txt", "step-x/a.json", "final/picture.png", "steps/step-1/a.pth", "a.pth", "step-1/more/a.json"}
    ours = {"step-1/merged.pth", "step-1/aligned.pth.training", "step-12/select.json", "baseline/model.pth", "final/test.json", "result.json",
            "step-2/.aligned.pth.x7.training"}
    for name in foreign | ours:
        work.file(name).parent.mkdir(parents=True, exist_ok=True)
        work.file(name).touch()
    assert not WorkDir(tmp_path).begin({"other": 1}, fresh=True)
    assert names(tmp_path) == foreign | {"run.json"}
    assert {item.name for item in tmp_path.iterdir() if item.is_dir()} == {"step-1", "step-x", "final", "steps"}


def test_fresh_does_not_follow_links_out_of_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.pth").touch()
    work = WorkDir(tmp_path / "w")
    work.begin(PLAN, fresh=False)
    (tmp_path / "w" / "final").symlink_to(outside)
    work.begin(PLAN, fresh=True)
    assert names(outside) == {"model.pth"}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_with_other_files_is_never_taken(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="not empty and holds no run"):
        WorkDir(tmp_path).begin(PLAN, fresh)
    assert names(tmp_path) == {"thesis.tex"}


def test_what_a_run_killed_at_its_start_leaves_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".run.k3j.json").touch()
    assert not WorkDir(tmp_path).begin(PLAN, fresh=False)


def test_half_written_files_of_a_killed_run_are_swept_up(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    work.begin(PLAN, fresh=False)
    kept = {"step-1/aligned.pth", "step-1/aligned.pth.training", "step-1/.notes", "step-1/.hidden.txt", "other/.aligned.pth.x7.training"}
    swept = {"step-1/.aligned.pth.a_b3.training", "step-2/.select.k3j.json", "final/.model.zz.pth"}
    for name in kept | swept:
        work.file(name).parent.mkdir(exist_ok=True)
        work.file(name).touch()
    assert work.begin(PLAN, fresh=False)
    assert names(tmp_path) == kept | {"run.json"}


def test_two_processes_do_not_work_on_one_run(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no locks here")
    with WorkDir(tmp_path / "w").locked():
        with pytest.raises(UserError, match="another process is at work on this run"), WorkDir(tmp_path / "w").locked():
            pass
        with WorkDir(tmp_path / "other").locked():
            pass
    with WorkDir(tmp_path / "w").locked():
        pass
    assert not names(tmp_path)


@pytest.mark.parametrize("name", ["w", "w/below"])
def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "w").touch()
    with pytest.raises(UserError, match=r"cannot be used as a work dir \((Not a directory|File exists)\)"), WorkDir(tmp_path / name).locked():
        pass


@pytest.mark.parametrize("content", ["[]", "null", "3"])
def test_a_plan_that_is_not_one_counts_as_changed(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match="baseline: None -> abc"):
        WorkDir(tmp_path).begin(PLAN, fresh=False)


def test_a_fresh_start_does_not_delete_the_model_that_is_read(tmp_path: Path) -> None:
    work = WorkDir(tmp_path / "w")
    (tmp_path / "w/final").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "w/final")
    for model in (tmp_path / "w/final/model.pth", tmp_path / "link/model.pth"):
        work.check_spares(model, fresh=False)
        with pytest.raises(UserError, match=r"model\.pth: --fresh would delete the model that is read.* Give another --work-dir"):
            work.check_spares(model, fresh=True)
    work.check_spares(tmp_path / "w2/model.pth", fresh=True)


def test_whether_another_process_is_at_work_can_be_asked(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no locks here")
    work = WorkDir(tmp_path / "w")
    work.check_idle()
    assert not (tmp_path / "w").exists()
    with work.locked(), pytest.raises(UserError, match="another process is at work on this run"):
        WorkDir(tmp_path / "w").check_idle()
    work.check_idle()
