from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.data.sources import open_source
from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.rules import ACTIVITYNET
from tadshrink.models.detector import Detector
from tadshrink.reporting import SILENT
from tadshrink.stages import evaluate as module
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.evaluate import evaluate, evaluate_detector, evaluate_results
from tests.notes import Notes


@pytest.fixture
def changed(tiny, tmp_path: Path) -> Callable[..., DatasetChoice]:
    """The tiny dataset with other values in its YAML."""
    def change(**values: object) -> DatasetChoice:
        data = yaml.safe_load(tiny.yaml.read_text()) | {"root": str(tiny.folder)} | values
        (tmp_path / "changed.yaml").write_text(yaml.safe_dump(data))
        return DatasetChoice(str(tmp_path / "changed.yaml"))

    return change


def test_videos_and_actions_of_the_split_are_counted(tiny) -> None:
    result = evaluate(tiny.checkpoint, tiny.choice, "testing", device="cpu").to_json()
    records = tiny.data.split("test")
    assert (result["videos"], result["ground_truths"]) == (2, sum(len(record.actions) for record in records))
    assert list(result["map"]) == ["0.3", "0.4", "0.5", "0.6", "0.7"]
    assert result["per_class"].keys() == {action.label for record in records for action in record.actions}


def test_perfect_detections_score_100(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def oracle(detector: object, videos: list, *rest: object) -> dict[str, Detections]:
        records = {record.name: record.actions for record in tiny.data.records}
        return {video.name: Detections(np.array([(action.start, action.end) for action in records[video.name]]),
                                       np.ones(len(records[video.name])),
                                       np.array([tiny.config.classes.index(action.label) for action in records[video.name]]))
                for video in videos}

    monkeypatch.setattr(module, "detect_videos", oracle)
    result = evaluate(tiny.checkpoint, tiny.choice, "heldout", device="cpu")
    assert result.average == 100
    assert result.videos == 3


def test_the_size_of_batches_does_not_matter(tiny) -> None:
    one, many = (evaluate(tiny.checkpoint, tiny.choice, "testing", size, "cpu").average for size in (1, 8))
    assert one == pytest.approx(many, abs=0.5)


def test_a_split_that_is_not_there_is_named(tiny) -> None:
    with pytest.raises(UserError, match=r"split 'test1' has no videos.*splits in the file are: testing, training, validation"):
        evaluate(tiny.checkpoint, tiny.choice, "test1", device="cpu")


def test_a_dataset_with_other_classes_is_refused(tiny, changed: Callable[..., DatasetChoice]) -> None:
    choice = changed(classes=[*reversed(tiny.config.classes)])
    with pytest.raises(UserError, match=r"classes .* are not the model's"):
        evaluate(tiny.checkpoint, choice, device="cpu")


def test_a_dataset_sampled_otherwise_is_refused_and_every_difference_named(tiny, changed: Callable[..., DatasetChoice]) -> None:
    with pytest.raises(UserError, match=r"window 32 \(model: 16\); frame_size 64 \(model: 32\)"):
        evaluate(tiny.checkpoint, changed(window=32, frame_size=64), device="cpu")


def test_a_split_without_actions_or_without_its_files_is_found_before_the_work(tiny, changed: Callable[..., DatasetChoice],
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "detect_videos", None)
    with pytest.raises(UserError, match=r"2 of the 2 videos of split 'testing' are not here \(testing_0000, testing_0001\)"):
        evaluate(tiny.checkpoint, changed(videos="nowhere"), device="cpu")
    empty = json.loads((tiny.folder / "annotations.json").read_text())
    for entry in empty["database"].values():
        entry["annotations"] = []
    path = Path(changed().name).with_name("empty.json")
    path.write_text(json.dumps(empty))
    with pytest.raises(UserError, match="split 'testing' has 2 videos and not one action"):
        evaluate(tiny.checkpoint, changed(annotations=str(path)), device="cpu")


def test_the_datasets_rule_and_thresholds_hold_unless_others_are_given(tiny, changed: Callable[..., DatasetChoice]) -> None:
    choice = changed(rule="thumos14", tiou=[0.1, 0.2])
    scored = evaluate(tiny.checkpoint, choice, "testing", device="cpu")
    assert (scored.rule.name, list(scored.result.map)) == ("thumos14", [0.1, 0.2])
    data = choice.load(SILENT)
    held = evaluate_detector(tiny.opened(), data, "testing", open_source(data, tiny.config.sampling))
    assert held.to_json() == scored.result.to_json()
    scored = evaluate(tiny.checkpoint, choice, "testing", device="cpu", rule=ACTIVITYNET, thresholds=[0.5])
    assert (scored.rule.name, list(scored.result.map)) == ("activitynet", [0.5])


def test_a_file_of_detections_is_scored_by_the_dataset_without_its_videos(tiny, tmp_path: Path, changed: Callable[..., DatasetChoice]) -> None:
    perfect = {record.name: [{"segment": [action.start, action.end], "label": action.label, "score": 0.5} for action in record.actions]
               for record in tiny.data.split("test")}
    (tmp_path / "found.json").write_text(json.dumps({"results": perfect}))
    scored = evaluate_results(tmp_path / "found.json", changed(videos="nowhere", rule="thumos14"), "testing")
    assert (scored.average, scored.rule.name, scored.videos) == (100, "thumos14", 2)
    with pytest.raises(UserError, match="split 'test1' has no videos"):
        evaluate_results(tmp_path / "found.json", tiny.choice, "test1")


def test_the_datasets_class_scores_name_the_proposals(tiny, tmp_path: Path, changed: Callable[..., DatasetChoice]) -> None:
    config, notes = tiny.config.model_copy(update={"classes": ("action",)}), Notes()
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "one.pth", Checkpoint(config.model_dump(mode="json"), Detector(config).state_dict(), ["action"]))
    choice = changed(class_scores=str(tmp_path / "scores.json"))
    scored = evaluate(tmp_path / "one.pth", choice, "testing", device="cpu", reporter=notes)
    assert scored.result.classes == ("action",)
    assert any("no class scores here" in line for line in notes.lines)
    results = {record.name: [1.0] * len(tiny.config.classes) for record in tiny.data.split("test")}
    (tmp_path / "scores.json").write_text(json.dumps({"class": list(tiny.config.classes), "results": results}))
    assert evaluate(tmp_path / "one.pth", choice, "testing", device="cpu").result.classes == tiny.config.classes
