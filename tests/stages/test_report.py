from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.data.annotations import VideoRecord
from tadshrink.data.datasets import Dataset
from tadshrink.errors import UserError
from tadshrink.report.findings import Findings
from tadshrink.stages import report as module
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.evaluate import evaluate
from tadshrink.stages.report import SCORE, choose_videos, write_report
from tests.checkpoint import reference_files as files
from tests.notes import Notes

pytestmark = pytest.mark.usefixtures("counted_once")


@pytest.fixture
def work(tiny_run: Path, tmp_path: Path) -> Path:
    """A work dir that a test may change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "work"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> list[Findings]:
    """Findings that would have become pages: drawing takes seconds."""
    kept: list[Findings] = []
    monkeypatch.setattr(module, "write_page", lambda findings, output: kept.append(findings) or 0)
    return kept


def test_a_run_gets_its_page_and_keeps_what_was_found(tiny, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = write_report(work, device="cpu")
    page = (work / "report.html").read_text(encoding="utf-8")
    assert (result.output, result.bytes) == (str(work / "report.html"), len(page.encode()))
    assert result.bytes < 5_000_000
    assert all(f'id="{key}"' in page for key in ("models", "tradeoff", "importance", "losses", "classes", "latency", "timelines"))
    assert "http" not in page
    told = json.loads((work / "final/timelines.json").read_text())["videos"]
    assert [video["name"] for video in told] == ["testing_0000", "testing_0001"]
    # Another time, no model is opened.
    monkeypatch.setattr(module, "open_detector", None)
    assert write_report(work, device="cpu").missing == result.missing
    assert (work / "report.html").read_text(encoding="utf-8") == page


def test_what_is_kept_is_what_evaluation_finds(tiny, work: Path, tmp_path: Path, undrawn: list[Findings]) -> None:
    write_report(work, device="cpu")
    told = {video["name"]: video for video in json.loads((work / "final/timelines.json").read_text())["videos"]}
    records = {record.name: record for record in tiny.data.split("test")}
    for name, file in (("baseline", work / "baseline/model.pth"), ("final", work / "final/model.pth")):
        evaluate(file, tiny.choice, device="cpu", output=tmp_path / "found.json")
        every = json.loads((tmp_path / "found.json").read_text())["results"]
        for video, items in every.items():
            assert told[video][name] == [item for item in items if item["score"] >= SCORE][:200]
            truth = [(item["segment"], item["label"]) for item in told[video]["truth"]]
            assert truth == [([action.start, action.end], action.label) for action in records[video].actions]


def test_without_the_dataset_the_rest_is_told(work: Path, undrawn: list[Findings]) -> None:
    plan = json.loads((work / "run.json").read_text())
    (work / "run.json").write_text(json.dumps(plan | {"dataset": "gone.yaml"}))
    notes = Notes()
    result = write_report(work, device="cpu", reporter=notes)
    assert result.missing[0].startswith("Detections in test videos: gone.yaml: no such dataset")
    assert any("no timelines" in line for line in notes.lines)
    assert undrawn[0].timelines == () and len(undrawn[0].steps) == 2
    assert not (work / "final/timelines.json").exists()


def test_the_dataset_may_have_moved(tiny, work: Path, undrawn: list[Findings]) -> None:
    plan = json.loads((work / "run.json").read_text())
    (work / "run.json").write_text(json.dumps(plan | {"dataset": "gone.yaml"}))
    assert not any("Detections" in text for text in write_report(work, device="cpu", dataset=tiny.choice).missing)


def test_a_work_dir_that_cannot_be_written_to_is_told_of(work: Path, undrawn: list[Findings], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise UserError("read-only")

    monkeypatch.setattr(module, "write_json", refuse)
    write_report(work, videos=1, device="cpu")
    assert len(undrawn[0].timelines) == 1


def test_as_many_videos_as_are_asked_for_whatever_is_kept(tiny, work: Path, undrawn: list[Findings], monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(work, videos=1, device="cpu")
    write_report(work, videos=2, device="cpu")
    monkeypatch.setattr(module, "open_detector", None)
    assert "--videos 0" in write_report(work, videos=0).missing[0]
    write_report(work)
    assert [len(found.timelines) for found in undrawn] == [1, 2, 0, 2]
    with pytest.raises(TypeError):
        # What another dataset shows is not known yet.
        write_report(work, dataset=tiny.choice)


def test_a_run_that_has_not_ended(work: Path) -> None:
    for name in ("result.json", "final/test.json", "final/model.pth"):
        (work / name).unlink()
    result = write_report(work, device="cpu")
    assert any("has not ended" in text for text in result.missing)
    assert "has not ended: 2 steps" in (work / "report.html").read_text(encoding="utf-8")


def test_a_checkpoint_gets_a_page_beside_it(chain, tmp_path: Path) -> None:
    shutil.copy(chain.merged, tmp_path / "model.pth")
    result = write_report(tmp_path / "model.pth")
    page = (tmp_path / "model.html").read_text(encoding="utf-8")
    assert result.output == str(tmp_path / "model.html")
    assert all(f'id="{key}"' in page for key in ("losses", "cost", "history", "checksums", "commands", "missing"))


def test_a_file_of_another_code_base_gets_a_page(tmp_path: Path) -> None:
    write_report(files.write_opentad(tmp_path / "theirs.pth", files.weights(files.video_config())))
    page = (tmp_path / "theirs.html").read_text(encoding="utf-8")
    assert "OpenTAD end-to-end ActionFormer" in page
    assert "The file is of another code base and holds none" in page and "content verified" not in page


def test_a_recogniser_gets_a_page(tiny_clips, tmp_path: Path) -> None:
    write_report(tiny_clips.checkpoints["slow"], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "slow-only ResNet" in page and 'id="configuration"' in page and 'id="cost"' not in page


def test_a_place_that_cannot_be_written_to_is_told_first(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gather_run", None)
    with pytest.raises(UserError, match="cannot write here"):
        write_report(work, work)


def dataset(tiny, lengths: Sequence[tuple[str, float | None, int]], tmp_path: Path) -> Dataset:
    """Test videos with a duration and a number of actions; those that are named with a capital are not here."""
    data: Dataset = tiny.data
    action = next(record for record in data.records if record.actions).actions[0]
    records = tuple(VideoRecord(name, "testing", duration, (action,) * count) for name, duration, count in lengths)
    (tmp_path / "videos").mkdir()
    made = replace(data, root=tmp_path, records=records)
    for record in records:
        if record.name.islower():
            made.files(record)[0].touch()
    return made


def test_of_the_shorter_videos_those_with_most_actions_are_chosen(tiny, tmp_path: Path) -> None:
    data = dataset(tiny, [("long", 900.0, 50), ("a", 10.0, 1), ("b", 20.0, 4), ("c", 30.0, 2), ("Gone", 5.0, 9), ("d", 40.0, 3),
                          ("empty", 1.0, 0), ("e", 800.0, 8)], tmp_path)
    assert [record.name for record in choose_videos(data, 2)] == ["b", "c"]
    assert [record.name for record in choose_videos(data, 9)] == ["a", "b", "c", "d", "e", "long"]


def test_videos_whose_length_nobody_knows_can_be_chosen(tiny, tmp_path: Path) -> None:
    assert [record.name for record in choose_videos(dataset(tiny, [("a", None, 1), ("Gone", None, 1)], tmp_path), 3)] == ["a"]


def test_no_video_at_all_is_an_error(tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no test video with actions is here"):
        choose_videos(dataset(tiny, [("Gone", 1.0, 1)], tmp_path), 3)


def test_the_dataset_of_the_run_is_taken_without_what_is_missing(work: Path) -> None:
    from tadshrink.report.gather import gather_run

    choice = module._choice(gather_run(work))
    assert isinstance(choice, DatasetChoice) and choice.allow_missing and choice.name.endswith("tiny.yaml")


@pytest.mark.parametrize(("given", "problem"), [
    ({"videos": 3, "device": "cpu"}, "--videos, --device mean nothing for a checkpoint"),
    ({"dataset": DatasetChoice("synthetic")}, "--dataset means nothing for a checkpoint"),
])
def test_what_only_a_run_has_a_use_for_is_refused(chain, tmp_path: Path, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        write_report(chain.ranked, tmp_path / "a.html", **given)
    assert not list(tmp_path.iterdir())


def test_what_only_a_checkpoint_has_a_use_for_is_refused(work: Path) -> None:
    with pytest.raises(UserError, match="heads means nothing for a work dir"):
        write_report(ModelFile(work, LoadSettings(heads=3)), videos=0)


def test_a_checkpoint_is_not_replaced_by_its_report(chain, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(chain.ranked.read_bytes())
    with pytest.raises(UserError, match=r"a\.pth: this would replace a file that is read"):
        write_report(path, path)
    assert path.read_bytes() == chain.ranked.read_bytes()


def test_what_a_stage_lacks_is_one_line(work: Path) -> None:
    stage = work / "step-1/select.json"
    stage.write_text(json.dumps({key: value for key, value in json.loads(stage.read_text()).items() if key != "ranking"}))
    with pytest.raises(UserError, match="not as tadshrink run writes them \\(KeyError: 'ranking'\\)"):
        write_report(work, videos=0)
