from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.errors import UserError
from tadshrink.profiling.macs import detector_macs
from tadshrink.report.gather import gather_checkpoint, gather_run, timelines_in
from tadshrink.report.plots.losses import draw

pytestmark = pytest.mark.usefixtures("counted_once")


@pytest.fixture
def copied(tiny_run: Path, tmp_path: Path) -> Path:
    """A work dir that a test may change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "work"))


def test_a_run_is_told_as_it_was_measured(tiny, tiny_run: Path) -> None:
    found, result = gather_run(tiny_run), json.loads((tiny_run / "result.json").read_text())
    assert (found.title, found.depth, found.is_run, found.sound) == ("tiny, target 2", 4, True, True)
    assert found.classes == tiny.config.classes
    assert [model.macs for model in found.models] == [item["macs"] for item in (result["baseline"], *result["steps"])]
    assert [step.model.dropped for step in found.steps] == [(step["dropped"],) for step in result["steps"]]
    assert found.baseline.test["average_map"] == result["baseline"]["test"]["average_map"]
    assert (found.final.test["map"], found.final.checksum) == (result["final"]["test"]["map"], result["checksum"])
    assert found.stopped == result["stopped_because"]
    assert [len(step.curve) for step in found.steps] == [2, 2]
    assert [len(step.ranking["ranking"]) for step in found.steps] == [4, 3]
    assert found.steps[0].seconds.keys() == {"select", "drop", "align", "merge", "heldout"}
    assert [entry["command"] for entry in found.history] == ["select", "drop", "align", "merge"] * 2
    assert found.checksum == result["checksum"]


def test_a_run_that_has_not_ended_is_told_so_far(copied: Path) -> None:
    for name in ("result.json", "baseline/test.json", "final/test.json", "step-2/heldout.json", "final/model.pth"):
        (copied / name).unlink()
    found = gather_run(copied)
    assert (found.final, found.stopped, len(found.steps)) == (None, None, 1)
    assert found.steps[0].model.heldout is not None
    assert (found.file, found.checksum) == ("step-1/merged.pth", load_checkpoint(copied / "step-1/merged.pth").checksum)
    for name in ("baseline/heldout.json", "step-1/heldout.json"):
        (copied / name).unlink()
    bare = gather_run(copied)
    assert (bare.baseline, bare.steps, bare.dropped) == (None, (), ())


def test_a_step_that_will_be_taken_back_is_told_so_before_the_run_ends(copied: Path) -> None:
    (copied / "result.json").unlink()
    plan, measured = (json.loads((copied / name).read_text()) for name in ("run.json", "step-2/heldout.json"))
    plan["settings"]["tolerance"] = 5
    measured["heldout"]["average_map"] = json.loads((copied / "baseline/heldout.json").read_text())["heldout"]["average_map"] - 6
    (copied / "run.json").write_text(json.dumps(plan))
    (copied / "step-2/heldout.json").write_text(json.dumps(measured))
    (copied / "final/model.pth").unlink()
    found = gather_run(copied)
    assert [step.model.kept for step in found.steps] == [True, False]
    assert found.checksum == found.steps[0].model.checksum


@pytest.mark.parametrize(("file", "content"), [
    ("run.json", "{}"), ("run.json", "[]"), ("run.json", "null"), ("run.json", '{"dataset": 3}'), ("result.json", '{"steps": 3}'),
    ("final/timelines.json", '{"videos": [{}]}'), ("step-1/select.json", "3"),
])
def test_files_that_are_none_of_a_run_are_one_line(copied: Path, file: str, content: str) -> None:
    (copied / file).write_text(content)
    with pytest.raises(UserError, match="its files are not as tadshrink run writes them"):
        gather_run(copied)


def test_other_weights_in_the_final_file_are_found(tiny, copied: Path) -> None:
    shutil.copy(tiny.checkpoint, copied / "final/model.pth")
    assert not gather_run(copied).sound


def test_a_run_that_has_only_begun_and_one_with_strange_settings_are_one_line(copied: Path) -> None:
    plan = json.loads((copied / "run.json").read_text())
    (copied / "result.json").unlink()
    (copied / "run.json").write_text(json.dumps(plan | {"settings": plan["settings"] | {"with_channel_pruning": 7}}))
    with pytest.raises(UserError, match=r"\(with_channel_pruning: Input should be a valid string\)"):
        gather_run(copied)
    (copied / "run.json").write_text(json.dumps(plan))
    shutil.rmtree(copied / "baseline")
    with pytest.raises(UserError, match="this run has only begun: there is nothing to tell yet"):
        gather_run(copied)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in this folder"):
        gather_run(tmp_path)


def test_a_checkpoint_tells_its_history_and_is_counted(tiny, chain) -> None:
    found = gather_checkpoint(chain.merged)
    checkpoint, whole = load_checkpoint(chain.merged), detector_macs(tiny.opened().detector)
    assert (found.title, found.is_run, found.dropped) == ("merged.pth", False, tuple(checkpoint.dropped))
    assert [(step.model.name, step.model.dropped, len(step.curve)) for step in found.steps] == [("drop 1", tuple(checkpoint.dropped), 2)]
    assert found.cost.before == whole.total
    assert found.cost.total == whole.total - whole.per_block[0]
    assert sorted({*found.cost.blocks, *found.dropped}) == [0, 1, 2, 3]
    assert sum(found.cost.parts.values()) == found.cost.total


def test_pruning_does_not_count_as_a_drop(chain, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(chain.merged)
    entry = {**checkpoint.history[-1], "command": "prune"}
    save_checkpoint(tmp_path / "a.pth", replace(checkpoint, history=[entry, *checkpoint.history, entry, *checkpoint.history]))
    assert [step.model.name for step in gather_checkpoint(tmp_path / "a.pth").steps] == ["pruning", "drop 1", "pruning", "drop 2"]


def test_the_losses_of_a_training_are_told(chain, tmp_path: Path) -> None:
    checkpoint, curve = load_checkpoint(chain.merged), [{"cls": 2.0, "reg": 1.0}, {"cls": 1.0, "reg": 0.5}]
    trained = {**checkpoint.history[-1], "command": "train", "metrics": {"curve": curve}}
    save_checkpoint(tmp_path / "a.pth", replace(checkpoint, history=[trained, *checkpoint.history]))
    found = gather_checkpoint(tmp_path / "a.pth")
    assert [(step.model.name, len(step.curve)) for step in found.steps] == [("train", 2), ("drop 1", 2)]
    assert found.steps[0].curve == curve
    assert [len(draw(found, wide)) for wide in (True, False)] == [1, 1]


def test_a_ranking_in_a_checkpoint_is_told(chain) -> None:
    found = gather_checkpoint(chain.ranked)
    assert (found.dropped, len(found.steps), found.steps[0].model.name) == ((), 1, "ranking")
    assert len(found.steps[0].ranking["ranking"]) == 4


@pytest.mark.parametrize("kind", ["vit", "slow"])
def test_recognisers_are_told_as_well(tiny_clips, kind: str, tmp_path: Path) -> None:
    found = gather_checkpoint(tiny_clips.checkpoints[kind])
    assert found.summary.startswith("recogniser ")
    assert found.cost.total == found.cost.before > 0
    assert list(found.cost.blocks) == ([0, 1, 2] if kind == "vit" else [])


def test_lora_that_is_not_merged_is_no_hindrance(chain) -> None:
    assert gather_checkpoint(chain.aligned).history[-1]["command"] == "align"


def test_a_damaged_file_is_refused(tiny, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(tiny.checkpoint)
    save_checkpoint(tmp_path / "a.pth", checkpoint)
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-1000])
    with pytest.raises(UserError):
        gather_checkpoint(tmp_path / "a.pth")


def test_timelines_as_they_are_kept() -> None:
    item = {"segment": [1.0, 2.0], "label": "a", "score": 0.5}
    (made,) = timelines_in({"videos": [{"name": "v", "duration": 9.0, "truth": [{"segment": [0.0, 1.0], "label": "a"}],
                                        "baseline": [item], "final": []}]})
    assert (made.video, made.duration, made.truth[0].score, made.baseline[0].score, made.final) == ("v", 9.0, 1.0, 0.5, ())
    assert timelines_in(None) == ()
