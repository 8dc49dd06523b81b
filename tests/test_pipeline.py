from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tadshrink import pipeline, run_inputs, run_steps
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.compress.select_settings import SelectOptions, SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.data.video import FrameStore
from tadshrink.errors import UserError
from tadshrink.evaluation.mean_ap import MapResult
from tadshrink.models.units import NOUNS
from tadshrink.pipeline import run
from tadshrink.profiling.latency import Latency, LatencyPair, Ratio
from tadshrink.run_settings import RunSettings
from tadshrink.stages.align import align, align_opened
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.drop import drop
from tadshrink.stages.merge import merge
from tadshrink.stages.select import select
from tests.counting import blocks_run
from tests.runs import scored

pytestmark = pytest.mark.usefixtures("counted_once")

SELECT = SelectSettings(metric="mse")
SETTINGS = RunSettings(target="2", tolerance=100, latency_runs=1, select=SELECT, align=AlignSettings(epochs=2, batch_size=4))
#: Everything happens, as fast as it can.
QUICK = SETTINGS.model_copy(update={"align": AlignSettings(epochs=0)})
#: Drops without alignment.
NO_HEAL = SETTINGS.model_copy(update={"align": AlignSettings(heal="none")})
EVAL = {"average_map", "map", "per_class", "videos", "ground_truths"}


@pytest.fixture(scope="module")
def straight(tiny, counted_once, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run that nothing interrupted; tests must leave its folder as it is."""
    return run(tiny.checkpoint, tiny.choice, tmp_path_factory.mktemp("straight"), SETTINGS, device="cpu").to_json()


def files(folder: Path) -> dict[str, bytes]:
    return {str(item.relative_to(folder)): item.read_bytes() for item in folder.rglob("*.pth")}


def test_the_result_is_as_the_contract_says(straight: dict[str, Any]) -> None:
    assert straight.keys() == {"baseline", "final", "steps", "stopped_because", "work_dir", "output", "checksum"}
    model = {"macs", "params", "latency_ms", "checksum", "heldout"}
    for item in (straight["baseline"], straight["final"]):
        assert item.keys() == model | {"test", "blocks", "speedup"}
        assert item["heldout"].keys() == item["test"].keys() == EVAL
    for item in straight["steps"]:
        assert item.keys() == model | {"dropped", "seconds", "blocks", "speedup", "path", "kept"}
        assert item["seconds"].keys() == {"select", "drop", "align", "merge", "evaluate"}
    assert [item["blocks"] for item in (straight["baseline"], *straight["steps"])] == [4, 3, 2]
    gone = ", ".join(str(step["dropped"]) for step in straight["steps"])
    assert straight["stopped_because"] == f"the target is met: 2 of 4 blocks, as asked for; kept is the model without blocks {gone}"
    assert json.loads((Path(straight["work_dir"]) / "result.json").read_text()) == straight


def test_the_final_model_is_that_of_the_last_step(straight: dict[str, Any]) -> None:
    final = load_checkpoint(straight["output"])
    assert final.checksum == straight["checksum"] == straight["final"]["checksum"] == straight["steps"][-1]["checksum"]
    assert final.dropped == [step["dropped"] for step in straight["steps"]]
    assert Path(straight["output"]).read_bytes() == Path(straight["steps"][-1]["path"]).read_bytes()
    assert final.lora is None


@pytest.mark.slow  # Of one drop, the contract of the command line has it.
def test_stages_by_hand_give_the_same_files(tiny, straight: dict[str, Any], tmp_path: Path) -> None:
    model = tiny.checkpoint
    for number in (1, 2):
        folder = tmp_path / f"step-{number}"
        selected, dropped, aligned, merged = (folder / f"{name}.pth" for name in ("selected", "dropped", "aligned", "merged"))
        select(model, tiny.choice, selected, SelectOptions(metric="mse"), device="cpu")
        drop(selected, dropped, count=1)
        align(dropped, tiny.checkpoint, tiny.choice, aligned, SETTINGS.align, "cpu")
        model = Path(merge(aligned, merged, device="cpu").output)
    assert load_checkpoint(model).checksum == straight["checksum"]
    by_run = files(Path(straight["work_dir"]))
    assert files(tmp_path) == {name: content for name, content in by_run.items() if name.startswith("step-")}


def test_history_tells_every_stage_and_chains_by_checksum(tiny, straight: dict[str, Any]) -> None:
    history = load_checkpoint(straight["output"]).history
    assert [entry["command"] for entry in history] == ["select", "drop", "align", "merge"] * 2
    parents = [load_checkpoint(tiny.checkpoint).checksum]
    for number in (1, 2):
        folder = Path(straight["work_dir"]) / f"step-{number}"
        parents += [load_checkpoint(folder / f"{name}.pth").checksum for name in ("selected", "dropped", "aligned", "merged")]
    assert [entry["parent"] for entry in history] == parents[:-1]
    assert all(entry["arguments"] and entry["metrics"] and entry["version"] for entry in history)


class _Breakdown(Exception):
    pass


def _failing(function: Callable[..., Any], log: list[str]) -> Callable[..., Any]:
    """Breaks down before the work at its first call, and after the work (but before that is noted) at its second."""
    calls = 0

    def work(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            log.append(f"before {function.__name__}")
            raise _Breakdown
        result = function(*arguments, **named)
        if calls == 2:
            log.append(f"after {function.__name__}")
            raise _Breakdown
        return result

    return work


def test_broken_off_in_and_after_every_stage_it_ends_in_the_same_files(tiny, straight: dict[str, Any], tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch, interrupt) -> None:
    log: list[str] = []
    for name in ("evaluate_detector", "select_opened", "drop", "align_opened", "merge", "write_json"):
        module = pipeline if name == "write_json" else run_steps
        monkeypatch.setattr(module, name, _failing(getattr(module, name), log))
    # And in the first epoch of an alignment, and in its second (of 5 steps each).
    pending = [interrupt("drop 2: align", 2), interrupt("drop 2: align", 7)]
    for _ in range(15):
        try:
            result = run(tiny.checkpoint, tiny.choice, tmp_path / "w", SETTINGS, False, "cpu", pending[0] if pending else interrupt()).to_json()
        except _Breakdown:
            continue
        except KeyboardInterrupt:
            log.append("in an alignment")
            pending.pop(0)
    assert len(log) == len(set(log)) + 1 == 14
    assert result["checksum"] == straight["checksum"]
    assert files(tmp_path / "w") == files(Path(straight["work_dir"]))
    assert not list((tmp_path / "w").rglob("*.training"))


def test_a_finished_run_is_told_again_without_work(tiny, straight: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("evaluate_detector", "select_opened", "drop", "align_opened", "merge"):
        monkeypatch.setattr(run_steps, name, None)
    assert run(tiny.checkpoint, tiny.choice, Path(straight["work_dir"]), SETTINGS, device="cpu").to_json() == straight


def test_changed_settings_are_refused_and_named(tiny, straight: dict[str, Any]) -> None:
    changed = SETTINGS.model_copy(update={"tolerance": 1.0, "align": AlignSettings(epochs=3, batch_size=4)})
    with pytest.raises(UserError, match=r"settings\.align\.epochs: 2 -> 3; settings\.tolerance: 100\.0 -> 1\.0\."):
        run(tiny.checkpoint, tiny.choice, Path(straight["work_dir"]), changed, device="cpu")


def test_changed_inputs_are_refused_and_named(tiny, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny.folder, data, ignore=shutil.ignore_patterns("w"))
    choice, work = DatasetChoice(str(data / "tiny.yaml")), tmp_path / "w"
    settings = NO_HEAL.model_copy(update={"target": "1"})
    run(tiny.checkpoint, choice, work, settings, device="cpu")

    def refused(checkpoint: Path, change: str) -> None:
        with pytest.raises(UserError, match=rf"other inputs or settings: {change}\. Give another --work-dir"):
            run(checkpoint, choice, work, settings, device="cpu")

    model = load_checkpoint(tiny.checkpoint)
    model.architecture["postprocess"]["nms_sigma"] = 0.5
    save_checkpoint(tmp_path / "other.pth", model)
    refused(tmp_path / "other.pth", r"architecture\.postprocess\.nms_sigma: 0\.7 -> 0\.5")
    model.state["rpn_head.loss_normalizer"] += 1
    save_checkpoint(tmp_path / "other.pth", model)
    refused(tmp_path / "other.pth", r"architecture\S* 0\.7 -> 0\.5; baseline: \w{16} -> \w{16}")
    shutil.copy(data / "videos/training_0000.mp4", data / "videos/training_0001.mp4")
    refused(tiny.checkpoint, r"data\.videos: \w{16} -> \w{16}")
    shutil.copy(tiny.folder / "videos/training_0001.mp4", data / "videos")
    text = (data / "annotations.json").read_text()
    (data / "annotations.json").write_text(text.replace("slide-left", "pulse"))
    refused(tiny.checkpoint, r"data\.annotations: \w{16} -> \w{16}")
    (data / "annotations.json").write_text(text)
    values = yaml.safe_load((data / "tiny.yaml").read_text())
    (data / "tiny.yaml").write_text(yaml.safe_dump(values | {"heldout": 0.41}))
    refused(tiny.checkpoint, r"data\.config\.heldout: 0\.4 -> 0\.41")


def test_fresh_starts_again_and_leaves_foreign_files(tiny, tmp_path: Path) -> None:
    two, one = (NO_HEAL.model_copy(update={"target": target}) for target in ("2", "1"))
    first = run(tiny.checkpoint, tiny.choice, tmp_path / "w", two, device="cpu").to_json()
    (tmp_path / "w/step-2/notes.txt").touch()
    second = run(tiny.checkpoint, tiny.choice, tmp_path / "w", one, fresh=True, device="cpu").to_json()
    assert (len(first["steps"]), len(second["steps"])) == (2, 1)
    assert [item.name for item in (tmp_path / "w/step-2").iterdir()] == ["notes.txt"]
    assert second["checksum"] == first["steps"][0]["checksum"]


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Gives the held-out average mAP of baseline, step 1, step 2 ...; the list holds the splits in order of evaluation."""
    def give(*averages: float) -> list[str]:
        splits: list[str] = []

        def evaluate(opened: object, data: object, split: str, *rest: object, **more: object) -> MapResult:
            splits.append(split)
            return scored(averages[len(splits) - 1] if split == "heldout" else 1.0)

        monkeypatch.setattr(run_steps, "evaluate_detector", evaluate)
        return splits

    return give


def test_it_stops_early_and_keeps_the_last_good_model(tiny, tmp_path: Path, scores: Callable[..., list[str]]) -> None:
    splits = scores(50, 48, 47.9)
    result = run(tiny.checkpoint, tiny.choice, tmp_path, QUICK.model_copy(update={"target": "3", "tolerance": 2.0}), device="cpu").to_json()
    assert [step["kept"] for step in result["steps"]] == [True, False]
    assert result["checksum"] == result["final"]["checksum"] == result["steps"][0]["checksum"]
    assert result["final"]["heldout"]["average_map"] == 48
    assert load_checkpoint(result["output"]).dropped == [result["steps"][0]["dropped"]]
    first, second = (step["dropped"] for step in result["steps"])
    assert result["stopped_because"] == (f"without block {second} the held-out average mAP stays at 47.90, more than 2 below the baseline's "
                                         f"50.00; kept is the model without block {first}")
    assert splits == ["heldout", "heldout", "heldout", "test", "test"]


def test_where_the_first_drop_is_too_much_the_baseline_is_kept(tiny, tmp_path: Path, scores: Callable[..., list[str]]) -> None:
    scores(50, 0)
    result = run(tiny.checkpoint, tiny.choice, tmp_path, QUICK.model_copy(update={"tolerance": 2.0}), device="cpu").to_json()
    assert result["checksum"] == result["baseline"]["checksum"] == load_checkpoint(tiny.checkpoint).checksum
    assert result["final"] == result["baseline"] | {"test": result["final"]["test"]}


def test_without_healing_blocks_are_dropped_whatever_the_loss(tiny, tmp_path: Path, scores: Callable[..., list[str]]) -> None:
    scores(50, 10, 0)
    settings = NO_HEAL.model_copy(update={"tolerance": 0.0})
    result = run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu").to_json()
    assert [step["kept"] for step in result["steps"]] == [True, True]
    assert result["steps"][0]["seconds"].keys() == {"select", "drop", "evaluate"}
    final, source = load_checkpoint(result["output"]), load_checkpoint(tiny.checkpoint)
    assert [entry["command"] for entry in final.history] == ["select", "drop"] * 2
    assert all(value.equal(source.state[name]) for name, value in final.state.items())


def test_the_test_split_is_looked_at_once_at_the_end(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    frames = FrameStore.frames

    def spy(store: FrameStore, path: Path, indices: object, rate: float | None) -> object:
        seen.append(path.stem.split("_")[0])
        return frames(store, path, indices, rate)

    monkeypatch.setattr(FrameStore, "frames", spy)
    run(tiny.checkpoint, tiny.choice, tmp_path, QUICK.model_copy(update={"target": "1", "align": AlignSettings(epochs=1)}), device="cpu")
    first = seen.index("testing")
    assert set(seen[:first]) == {"training"}
    assert set(seen[first:]) == {"testing"}
    # Each window of the two test videos for the baseline, and once more for the final model.
    assert len(seen) - first == 2 * sum(len(pipeline_windows(tiny, name)) for name in ("testing_0000", "testing_0001"))


def pipeline_windows(tiny, name: str) -> list[Any]:
    from tadshrink.data.sources import VideoSource
    from tadshrink.data.timeline import Video

    return VideoSource(tiny.config.sampling).windows(Video(name, tiny.video(name)))


@pytest.fixture
def latencies(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives the milliseconds of baseline, step 1, step 2 ..."""
    def give(*medians: float) -> None:
        order = iter(medians)

        def measure(*arguments: object) -> LatencyPair:
            pair = [Latency(median, median, median, 1, "cpu") for median in (medians[0], next(order))]
            return LatencyPair(*pair, Ratio.of(*([one.median] for one in pair)))

        monkeypatch.setattr(run_steps, "measure_pair", measure)

    return give


@pytest.mark.parametrize(("medians", "drops", "reason"), [
    ((10, 8, 6, 4), 2, "the target is met: a window takes 6.0 ms with 2 blocks"),
    ((10, 9, 8, 7), 3, "the latency target of 6 ms is out of reach: one block is left"),
    ((5.5,), 0, "the target is met: a window takes 5.5 ms with 4 blocks"),
])
def test_a_latency_target(tiny, tmp_path: Path, latencies: Callable[..., None], scores: Callable[..., list[str]], medians: tuple[float, ...],
                          drops: int, reason: str) -> None:
    latencies(*medians)
    scores(*[1.0] * 9)
    settings = NO_HEAL.model_copy(update={"target": "6ms"})
    result = run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu").to_json()
    assert [step["latency_ms"] for step in result["steps"]] == list(medians[1:drops + 1])
    gone = [str(step["dropped"]) for step in result["steps"]]
    kept = f"the model without block{'s' * (len(gone) > 1)} {', '.join(gone)}" if gone else "the baseline"
    assert result["stopped_because"] == f"{reason}; kept is {kept}"
    assert result["final"]["latency_ms"] == medians[drops]
    assert result["final"]["speedup"] == pytest.approx(medians[0] / medians[drops])


@pytest.mark.parametrize(("change", "problem"), [
    ({"target": "4"}, "cannot drop 4 of 4 blocks"),
    ({"target": "much"}, "not understood"),
    ({"target": "4", "unit": "mlp"}, "cannot drop 4 of 4 MLP halves"),
])
def test_bad_settings_are_found_before_anything_is_written(tiny, tmp_path: Path, change: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        run(tiny.checkpoint, tiny.choice, tmp_path / "w", SETTINGS.model_copy(update=change), device="cpu")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(("schedule", "unit"), [
    ("one-shot", "mlp"), pytest.param("span", "block", marks=pytest.mark.slow),
    pytest.param("progressive", "attention", marks=pytest.mark.slow)])
def test_schedules_and_units(tiny, tmp_path: Path, schedule: str, unit: str) -> None:
    settings = SETTINGS.model_copy(update={"schedule": schedule, "unit": unit, "align": AlignSettings(epochs=1, batch_size=4)})
    result = run(tiny.checkpoint, tiny.choice, tmp_path / "w", settings, device="cpu").to_json()
    progressive = schedule == "progressive"
    assert len(result["steps"]) == (2 if progressive else 1)
    final = load_checkpoint(result["output"])
    gone = [step["dropped"] for step in result["steps"]] if progressive else result["steps"][0]["dropped"]
    assert final.dropped == gone and len(gone) == 2
    # Each unit is half the block's cost here; one alignment is as long as two are.
    folder = tmp_path / "w" / "step-1"
    ranking = load_checkpoint(folder / "selected.pth").ranking["ranking"]
    assert len(json.loads((folder / "align.json").read_text())["curve"]) == (1 if progressive else 2)
    assert len(ranking) == (3 if schedule == "span" else 4)
    if schedule == "span":
        assert gone == ranking[0]["units"] and gone[1] == gone[0] + 1
    elif not progressive:
        assert gone == [item["block"] for item in ranking[:2]]
    assert all(str(unit_).endswith(f".{unit}") == (unit != "block") for unit_ in gone)
    assert f"kept is the model without {'blocks' if unit == 'block' else NOUNS[unit]} " in result["stopped_because"]


def test_one_shot_measures_how_many_units_a_latency_takes(tiny, tmp_path: Path, latencies: Callable[..., None],
                                                          scores: Callable[..., list[str]]) -> None:
    # Baseline; without one block, without two; the dropped model.
    latencies(10, 8, 6, 5.9)
    scores(*[1.0] * 9)
    settings = NO_HEAL.model_copy(update={"target": "6ms", "schedule": "one-shot"})
    result = run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu").to_json()
    assert len(result["steps"][0]["dropped"]) == 2
    assert result["stopped_because"].startswith("the target is met: a window takes 5.9 ms with 2 blocks; kept is")


def test_the_previous_model_teaches_if_that_is_asked_for(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught: list[str] = []

    def spy(student: Any, teacher: Any, *rest: Any) -> Any:
        taught.append(str(teacher.path))
        return align_opened(student, teacher, *rest)

    monkeypatch.setattr(run_steps, "align_opened", spy)
    settings = SETTINGS.model_copy(update={"align": AlignSettings(epochs=0, teacher="previous")})
    run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu")
    assert [Path(path).name for path in taught] == ["model.pth", "merged.pth"]


def test_full_healing_leaves_nothing_to_merge(tiny, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"target": "1", "align": AlignSettings(epochs=1, batch_size=4, heal="full")})
    result = run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu").to_json()
    assert result["steps"][0]["seconds"].keys() == {"select", "drop", "align", "evaluate"}
    assert Path(result["steps"][0]["path"]).name == "aligned.pth"


def test_a_race_in_a_run_stops_someone(tiny, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(yaml.safe_load(tiny.yaml.read_text()) | {"root": str(tiny.folder), "heldout": 0.8}))
    settings = NO_HEAL.model_copy(update={"target": "1", "select": SelectSettings(metric="loss", race=True, batch_size=1)})
    run(tiny.checkpoint, DatasetChoice(str(tmp_path / "d.yaml")), tmp_path / "w", settings, device="cpu")
    assert {row["stopped"] for row in load_checkpoint(tmp_path / "w/step-1/selected.pth").ranking["ranking"]} & {"bound", "halving"}


def test_the_speed_up_is_that_of_the_smaller_model(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(first: Callable[[], object], second: Callable[[], object], *rest: object) -> LatencyPair:
        pair = [Latency.of([blocks_run(call)], "cpu") for call in (first, second)]
        return LatencyPair(*pair, Ratio.of(*([one.median] for one in pair)))

    monkeypatch.setattr(run_steps, "measure_pair", measure)
    steps = run(tiny.checkpoint, tiny.choice, tmp_path, NO_HEAL, device="cpu").to_json()["steps"]
    assert [(step["latency_ms"], step["speedup"]) for step in steps] == [(3, pytest.approx(4 / 3)), (2, 2)]


def test_a_run_at_work_keeps_others_out(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl", reason="no locks here")
    evaluate = run_steps.evaluate_detector

    def meanwhile(*given: object, **more: object) -> MapResult:
        monkeypatch.setattr(run_steps, "evaluate_detector", evaluate)
        with pytest.raises(UserError, match="another process is at work on this run"):
            run(tiny.checkpoint, tiny.choice, tmp_path / "w", NO_HEAL, device="cpu")
        return evaluate(*given, **more)

    monkeypatch.setattr(run_steps, "evaluate_detector", meanwhile)
    run(tiny.checkpoint, tiny.choice, tmp_path / "w", NO_HEAL, device="cpu")
    assert run_steps.evaluate_detector is evaluate


def test_a_latency_that_no_number_of_drops_gives_is_missed(tiny, tmp_path: Path, latencies: Callable[..., None],
                                                           scores: Callable[..., list[str]]) -> None:
    latencies(10, 9, 8, 7, 7.5)
    scores(*[1.0] * 9)
    settings = NO_HEAL.model_copy(update={"target": "6ms", "schedule": "one-shot"})
    result = run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu").to_json()
    assert result["stopped_because"].startswith("the latency target of 6 ms is missed; kept is")


def test_drops_are_counted_first_where_alignments_depend_on_their_number(tiny, tmp_path: Path, latencies: Callable[..., None],
                                                                         scores: Callable[..., list[str]]) -> None:
    latencies(10, 8, 6, 5, 8, 6)
    scores(*[1.0] * 9)
    settings = SETTINGS.model_copy(update={"target": "6ms", "align": AlignSettings(epochs=0, early_epochs=0)})
    run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu")
    assert (tmp_path / "baseline/count.json").exists()


def test_multiply_adds_of_the_baseline_are_counted_once(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    for module in (run_steps, run_inputs):
        real = module.detector_macs
        monkeypatch.setattr(module, "detector_macs", lambda detector, real=real: counted.append(len(detector.blocks.indices)) or real(detector))
    run(tiny.checkpoint, tiny.choice, tmp_path, NO_HEAL, device="cpu")
    assert counted == [4, 3, 2]


def test_progress_says_which_part_of_the_run_it_is(tiny, tmp_path: Path, interrupt) -> None:
    described: list[str] = []

    class Listener(interrupt):
        def track(self, description: str, total: int) -> Any:
            described.append(description)
            return super().track(description, total)

    settings = QUICK.model_copy(update={"target": "1"})
    run(tiny.checkpoint, tiny.choice, tmp_path, settings, False, "cpu", Listener())
    assert described == ["evaluate heldout", "drop 1: select", "drop 1: align", "drop 1: evaluate heldout", "baseline: evaluate test",
                         "final: evaluate test"]
