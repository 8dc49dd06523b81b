from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tadshrink.cli.run_plan import print_plan
from tadshrink.compress.select_settings import SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.errors import UserError
from tadshrink.planning import counts, quick
from tadshrink.planning import plan as planning
from tadshrink.planning.counts import few_videos, split_sizes
from tadshrink.planning.estimate import Seconds
from tadshrink.planning.plan import RunPlan, plan_run
from tadshrink.planning.speeds import Speed
from tadshrink.run_settings import RunSettings
from tadshrink.stages.common import DatasetChoice
from tadshrink.work_dir import WorkDir
from tests.runs import SETTINGS

pytestmark = pytest.mark.usefixtures("counted_once")


def state(folder: Path) -> dict[str, str]:
    """Everything in a folder, by its content."""
    return {str(item): hashlib.sha256(item.read_bytes()).hexdigest() if item.is_file() else "" for item in folder.rglob("*")}


@pytest.fixture(scope="module")
def plan(tiny, tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """Of the run that ``tiny_run`` is."""
    work = tmp_path_factory.mktemp("plan")
    before = state(tiny.folder)
    made = plan_run(tiny.checkpoint, tiny.choice, work / "w", SETTINGS, device="cpu")
    assert state(work) == {} and state(tiny.folder) == before
    return made


def test_what_goes(plan: RunPlan) -> None:
    drops = plan.drops
    assert (drops.count, drops.unit, drops.steps, drops.guessed) == (2, "blocks", 2, False)
    assert drops.reason == "2 of 4 blocks, as asked for"
    assert plan.model["blocks"] == 4
    assert plan.speed.gone == 2
    assert plan.speed.before > 0 and plan.speed.after > 0


def test_multiply_adds_are_those_of_the_run(plan: RunPlan, tiny_run: Path) -> None:
    result = json.loads((tiny_run / "result.json").read_text())
    assert (plan.drops.macs_before, plan.drops.macs_after) == (result["baseline"]["macs"], result["final"]["macs"])


def test_splits_are_counted(tiny, plan: RunPlan) -> None:
    from tests.test_pipeline import pipeline_windows

    data = json.loads((tiny.folder / "annotations.json").read_text())["database"]
    names = {split: [record.name for record in tiny.data.split(split)] for split in ("train", "heldout", "test")}
    assert {name: size.videos for name, size in plan.splits.items()} == {"train": 8, "heldout": 3, "test": 2}
    for split, size in plan.splits.items():
        assert size.actions == sum(len(data[name]["annotations"]) for name in names[split])
        assert size.opened == size.videos
        assert size.subset == ("testing" if split == "test" else "training")
    for split in ("heldout", "test"):
        assert plan.splits[split].windows == sum(len(pipeline_windows(tiny, name)) for name in names[split])
    # A window is 16 cells of 4 frames.
    assert plan.splits["train"].windows == sum(max(1, round(-(-data[name]["frame"] // 4) / 16)) for name in names["train"])


def test_the_stages_are_those_that_a_run_goes_through(plan: RunPlan, tiny_run: Path) -> None:
    done = {str(item.relative_to(tiny_run).with_suffix("")) for item in tiny_run.glob("*/*.json")} - {"final/timelines"}
    assert {stage.name for stage in plan.stages} == done
    written = {name for stage in plan.stages for name in stage.writes}
    assert written == {str(item.relative_to(tiny_run)) for item in tiny_run.glob("*/*")}
    whats = {stage.name: stage.what for stage in plan.stages}
    assert whats["step-1/select"] == "rank 4 blocks by mse on 3 held-out videos"
    assert whats["step-2/select"] == "rank 3 blocks by mse on 3 held-out videos"
    batches = plan.splits["train"].windows // 4
    assert whats["step-1/align"] == f"2 epochs of {batches} batches of 4 windows, by lora"


def test_pruning_comes_after_the_drops(tiny, plan: RunPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SETTINGS.model_copy(update={"with_channel_pruning": "10%"})
    pruned = plan_run(tiny.checkpoint, tiny.choice, tmp_path / "w", settings, device="cpu")
    names = [stage.name for stage in pruned.stages]
    assert names == [*(stage.name for stage in plan.stages[:-2]), *(f"step-3/{name}" for name in ("prune", "align", "merge", "heldout")),
                     "baseline/test", "final/test"]
    assert pruned.drops.macs_after == pytest.approx(plan.drops.macs_after - plan.drops.macs_before / 10, abs=1)
    assert pruned.drops.macs_pruned == pytest.approx(plan.drops.macs_before / 10, abs=1)
    print_plan(pruned)
    told = capsys.readouterr().err
    assert "step-3/prune: prune 10% of the baseline's multiply-adds" in told and "step-2: the same again" in told
    assert "and pruned" in told


def test_times_are_measured_and_summed(plan: RunPlan) -> None:
    assert plan.quick is not None and plan.seconds is not None
    assert plan.quick.trained is not None and plan.quick.trained.steps == 2
    assert plan.seconds.low == pytest.approx(sum(stage.seconds.low for stage in plan.stages if stage.seconds))
    assert 0 < plan.seconds.low < plan.seconds.high < 1000
    assert all(stage.seconds and stage.seconds.low <= stage.seconds.high for stage in plan.stages)


def test_of_a_finished_run_nothing_is_left(plan: RunPlan, capsys: pytest.CaptureFixture[str]) -> None:
    finished = replace(plan, continues=True, stages=[replace(stage, done=True) for stage in plan.stages])
    assert (finished.next, finished.seconds) == (None, Seconds())
    print_plan(finished)
    assert "the run is finished: nothing is left to do" in capsys.readouterr().err


def test_a_run_that_ended_early_does_not_go_on(tiny, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "detector_macs", lambda detector: None)
    work = tmp_path / "w"
    shutil.copytree(tiny_run, work)
    shutil.rmtree(work / "step-2")
    result = json.loads((work / "result.json").read_text())
    (work / "result.json").write_text(json.dumps({**result, "steps": result["steps"][:1]}))
    assert plan_run(tiny.checkpoint, tiny.choice, work, SETTINGS, device="cpu").next is None


def test_a_run_that_ended_early_was_pruned_after_its_last_drop(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "detector_macs", lambda detector: None)
    settings, work = SETTINGS.model_copy(update={"target": "3", "with_channel_pruning": "5%"}), tmp_path / "w"
    planned = plan_run(tiny.checkpoint, tiny.choice, work, settings, device="cpu")
    assert next(stage.name for stage in planned.stages if stage.name.startswith("step-4")) == "step-4/prune"
    (tmp_path / "result.json").write_text(json.dumps({"steps": [{}, {}, {"pruned": 0.05}]}))
    names = [stage.name for stage in planning._of_ended(tmp_path / "result.json", planned.stages)]
    assert not any(name.startswith("step-4") for name in names)
    assert [name for name in names if name.startswith("step-3")] == [f"step-3/{name}" for name in ("prune", "align", "merge", "heldout")]
    assert "step-2/select" in names and "baseline/test" in names
    (tmp_path / "result.json").write_text(json.dumps({"steps": [{}]}))
    assert not any(name.startswith(("step-2", "step-4")) for name in
                   (stage.name for stage in planning._of_ended(tmp_path / "result.json", planned.stages)))


def test_a_plan_beside_a_run_at_work_is_refused(tiny, tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no locks here")
    with WorkDir(tmp_path / "w").locked(), pytest.raises(UserError, match="another process is at work"):
        plan_run(tiny.checkpoint, tiny.choice, tmp_path / "w", SETTINGS, device="cpu")


def test_alignments_of_other_lengths_are_not_the_same_again(plan: RunPlan, capsys: pytest.CaptureFixture[str]) -> None:
    longer = [replace(stage, what="longer") if stage.name == "step-2/align" else stage for stage in plan.stages]
    print_plan(plan)
    assert "step-2: the same again" in capsys.readouterr().err
    print_plan(replace(plan, stages=longer))
    assert "step-2: the same again" not in (told := capsys.readouterr().err) and "step-2/align: longer" in told


def test_json(plan: RunPlan) -> None:
    made = json.loads(json.dumps(plan.to_json()))
    assert made.keys() == {"dataset", "to_make", "model", "splits", "drops", "latency_ms", "work_dir", "continues", "next", "stages", "seconds",
                           "measured", "settings"}
    assert made["drops"]["macs"].keys() == {"before", "after", "pruned", "share"}
    assert made["stages"][0].keys() == {"name", "what", "writes", "seconds", "done"}
    assert RunSettings.model_validate(made["settings"]) == SETTINGS
    assert (made["continues"], made["next"]) == (False, "baseline/heldout")


def test_an_interrupted_run_goes_on_where_it_was(tiny, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "detector_macs", lambda detector: None)
    work = tmp_path / "w"
    shutil.copytree(tiny_run, work)
    for name in ("result.json", "final", "baseline/test.json", "step-2/merge.json", "step-2/heldout.json", "step-2/align.json"):
        item = work / name
        shutil.rmtree(item) if item.is_dir() else item.unlink()
    before = state(work)
    plan = plan_run(tiny.checkpoint, tiny.choice, work, SETTINGS, device="cpu")
    assert plan.continues and plan.next and plan.next.name == "step-2/align"
    assert [stage.name for stage in plan.stages if not stage.done] == ["step-2/align", "step-2/merge", "step-2/heldout", "baseline/test",
                                                                       "final/test"]
    assert plan.seconds and plan.seconds.low < sum(stage.seconds.low for stage in plan.stages if stage.seconds)
    with pytest.raises(UserError, match=r"settings\.tolerance: 100\.0 -> 1\.0"):
        plan_run(tiny.checkpoint, tiny.choice, work, SETTINGS.model_copy(update={"tolerance": 1.0}), device="cpu")
    assert state(work) == before


@pytest.mark.parametrize(("limit", "count"), [("1000000ms", 0), ("0.0001ms", 3)])
def test_a_latency_is_worked_out_from_what_was_measured(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, count: int) -> None:
    monkeypatch.setattr(planning, "measure_speed", lambda *rest: Speed(0.004, 0.001, 3, 1, 0.0))
    settings = SETTINGS.model_copy(update={"target": limit, "schedule": "one-shot", "select": SelectSettings(metric="random"),
                                           "align": AlignSettings(heal="none")})
    plan = plan_run(tiny.checkpoint, tiny.choice, tmp_path / "w", settings, device="cpu")
    assert (plan.drops.count, plan.drops.guessed, plan.drops.steps) == (count, True, min(count, 1))
    assert plan.speed.after == pytest.approx(0.004 - count * 0.001)
    names = ["baseline/heldout", "baseline/count"] + ["step-1/select", "step-1/drop", "step-1/heldout"] * bool(count) + \
        ["baseline/test", "final/test"]
    assert [stage.name for stage in plan.stages] == names


def test_of_many_videos_some_are_opened(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from tadshrink.data.sources import open_source

    monkeypatch.setattr(counts, "OPENED", 2)
    few, source = few_videos(tiny.data), open_source(tiny.data, tiny.config.sampling)
    sizes = split_sizes(tiny.data, few, source)
    assert {name: (size.videos, size.opened) for name, size in sizes.items()} == {"train": (8, 2), "heldout": (3, 2), "test": (2, 2)}
    lengths = sum(len(source.windows(tiny.data.video(record))) for record in few.split("heldout"))
    assert sizes["heldout"].windows == round(lengths * 3 / 2)


def test_the_built_in_dataset_is_not_rendered(tmp_path: Path) -> None:
    plan = plan_run(None, DatasetChoice("synthetic", tmp_path / "data"), tmp_path / "w", RunSettings(target="3"), device="cpu")
    assert plan.to_make == tmp_path / "data" / "synthetic"
    assert (plan.stages, plan.seconds, plan.splits, plan.quick) == ((), None, {}, None)
    assert (plan.drops.count, plan.model["blocks"]) == (3, 12)
    assert not list(tmp_path.iterdir())
    json.dumps(plan.to_json())


def test_what_would_stop_the_run_stops_the_plan(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for work, problem in ((tmp_path, "not empty and holds no run"), (tmp_path / "file" / "w", "cannot write here")):
        with pytest.raises(UserError, match=problem):
            plan_run(tiny.checkpoint, tiny.choice, work, SETTINGS, device="cpu")
    data = yaml.safe_load(tiny.yaml.read_text()) | {"root": str(tiny.folder), "splits": {"test": "test2015"}}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(UserError, match="split 'test' has no videos"):
        plan_run(tiny.checkpoint, DatasetChoice(str(tmp_path / "d.yaml")), tmp_path / "w", SETTINGS, device="cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="a plan takes one process, and here are 2"):
        plan_run(tiny.checkpoint, tiny.choice, tmp_path / "w", SETTINGS, device="cpu")


@pytest.mark.parametrize("changes", [
    {"schedule": "span", "unit": "mlp"}, {"metric": "taylor", "heal": "full", "init": "linear", "lora_blocks": "after-cut"},
    pytest.param({"metric": "loss", "race": True}, marks=pytest.mark.slow)])
def test_other_ways_of_running(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]) -> None:
    monkeypatch.setattr(quick, "detector_macs", lambda detector: None)
    chosen = {name: {key: value for key, value in changes.items() if key in kind.model_fields}
              for name, kind in (("select", SelectSettings), ("align", AlignSettings))}
    own = {key: value for key, value in changes.items() if key in ("schedule", "unit")}
    settings = RunSettings(target="2", select=SelectSettings(**chosen["select"]), align=AlignSettings(**chosen["align"]), **own)
    plan = plan_run(tiny.checkpoint, tiny.choice, tmp_path / "w", settings, device="cpu")
    whats = {stage.name: stage.what for stage in plan.stages}
    assert plan.seconds and plan.seconds.high > 0
    assert ("step-1/merge" in whats) == (changes.get("heal") != "full")
    if "schedule" in changes:
        assert whats["step-1/select"] == "rank 3 runs of 2 MLP halves by map on 3 held-out videos"
        assert whats["step-1/drop"] == "drop 2 MLP halves"
    if "init" in changes:
        assert whats["step-1/align"].startswith("linear head start on 256 windows, then 3 epochs of ")
