from __future__ import annotations

import json
from pathlib import Path

import pytest

from tadshrink.data.annotations import Action, VideoRecord, find_annotations, read_annotations
from tadshrink.errors import UserError
from tests.notes import Notes

INFO = "video,numFrame,seconds,fps,rfps,subset,featureFrame\nv_a,300,10.0,30.0,29.9,training,288\nv_b,50,2.0,25.0,25.0,testing,48\n"


def write(folder: Path, info: str | None = INFO) -> Path:
    actions = [{"segment": [1.5, 9], "label": "Ballet"}]
    content = {"v_a": {"duration_second": 10.0, "duration_frame": 299, "annotations": actions, "feature_frame": 288},
               "v_b": {"duration_second": 2.0, "duration_frame": 50, "annotations": [], "feature_frame": 48}}
    (folder / "anet_anno_action.json").write_text(json.dumps(content))
    (folder / "action_name.csv").write_text("action\nBallet\nSkiing\n")
    if info is not None:
        (folder / "video_info_new.csv").write_text(info)
    return folder / "anet_anno_action.json"


def test_splits_come_from_the_csv_beside_it_and_are_told(tmp_path: Path) -> None:
    path, notes = write(tmp_path), Notes()
    expected = [VideoRecord("v_a", "training", 10.0, (Action(1.5, 9.0, "Ballet"),), 299, 30.0),
                VideoRecord("v_b", "testing", 2.0, (), 50, 25.0)]
    assert read_annotations(path, reporter=notes) == read_annotations(tmp_path) == expected
    assert notes.lines[0] == "annotations: BMN's JSON (by their content)"
    assert "video_info_new.csv" in notes.lines[1]
    assert find_annotations(path).classes == ("Ballet", "Skiing")


def test_without_the_csv_nothing_says_the_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"which split.*Put video_info_new\.csv beside it"):
        read_annotations(write(tmp_path, None))


@pytest.mark.parametrize(("info", "message"), [
    (INFO.replace("v_b,", "v_c,"), "video 'v_b': 'subset' is missing"),
    (INFO.replace("2.0,25.0,25", "-2,25.0,25"), r"video_info_new\.csv, line 3: the duration is '-2', not a positive number"),
    (INFO.replace("2.0,25.0,25", "two,25.0,25"), r"line 3: the duration is 'two'"),
    (INFO + "v_a,300,10.0,30.0,29.9,testing,288\n", "line 4: video 'v_a' stands here a second time, with other values"),
    (INFO.replace("video,", "clip,"), "no column video or video_id"),
    ("", "no column video"),
])
def test_a_csv_that_is_wrong(tmp_path: Path, info: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_annotations(write(tmp_path, info))
