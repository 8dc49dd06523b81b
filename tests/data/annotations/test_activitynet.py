from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tadshrink.data.annotations import Action, VideoRecord, read_annotations
from tadshrink.errors import UserError


def write(path: Path, database: Any) -> Path:
    path.write_text(json.dumps({"database": database}))
    return path


def entry(*annotations: Any, **changes: Any) -> dict[str, Any]:
    return {"subset": "training", "duration": 10, "annotations": list(annotations), **changes}


def test_records_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {
        "b": entry({"segment": [1, 2.5], "label": "x"}, {"segment": [4, 4], "label": "y"}, frame=250, fps=25),
        "a": {"subset": "testing", "duration": 3.5, "fps": None},
    })
    assert read_annotations(path) == [
        VideoRecord("b", "training", 10.0, (Action(1.0, 2.5, "x"), Action(4.0, 4.0, "y")), frames=250, fps=25),
        VideoRecord("a", "testing", 3.5, ()),
    ]


def test_the_variants_of_actionformer_and_opentad(tmp_path: Path) -> None:
    item = {"segment": [1, 2], "segment(frames)": [30, 60], "label": "x", "label_id": 0}
    path = write(tmp_path / "a.json", {"v": {"subset": "Test", "duration": 9.5, "fps": 30.0, "frame": 285, "annotations": [item], "url": "-"}})
    assert read_annotations(path) == [VideoRecord("v", "Test", 9.5, (Action(1.0, 2.0, "x"),), 285, 30.0)]


def test_a_file_of_ground_truth_alone_has_no_durations(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"v": {"subset": "testing", "annotations": [{"segment": [1, 2], "label": "x"}],
                                             "ambiguous": [[3, 4], {"segment": [5, 6.5], "label": "Ambiguous"}]}})
    assert read_annotations(path) == [VideoRecord("v", "testing", None, (Action(1, 2, "x"),), ambiguous=((3.0, 4.0), (5.0, 6.5)))]


def test_a_video_twice_would_silently_be_the_last(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"database": {"v": {"subset": "a"}, "w": {"subset": "a"}, "v": {"subset": "b"}}}')
    with pytest.raises(UserError, match="'v': stands twice in one object"):
        read_annotations(tmp_path / "a.json")


@pytest.mark.parametrize(("bad", "message"), [
    (entry(ambiguous=3), "'ambiguous' is not a list"),
    (entry(ambiguous=[[2, 1]]), r"ambiguous region 0: the segment ends \(1\) before"),
    ([], "not an object"),
    ({"duration": 3}, "'subset' is missing"),
    (entry(subset=3), "'subset' is missing"),
    (entry(duration=None), "'duration' is None, not a positive number of seconds"),
    (entry(duration=0), "'duration' is 0"),
    (entry(duration=True), "'duration' is True"),
    (entry(duration="10"), "'duration' is '10'"),
    (entry(duration=float("nan")), "'duration' is nan"),
    (entry(duration=float("inf")), "'duration' is inf"),
    (entry(duration=10**400), "'duration' is 1000"),
    (entry(frame=0), "'frame' is 0, not a positive number"),
    (entry(fps="25"), "'fps' is '25', not a positive number"),
    (entry(annotations={}), "'annotations' is not a list"),
    (entry(3), "annotation 0: 'segment' is not"),
    (entry({"label": "x"}), "annotation 0: 'segment' is not"),
    (entry({"segment": [1], "label": "x"}), "annotation 0: 'segment' is not"),
    (entry({"segment": [1, "2"], "label": "x"}), "annotation 0: 'segment' is not"),
    (entry({"segment": [1, 10**400], "label": "x"}), "annotation 0: 'segment' is not"),
    (entry({"segment": [0, 1], "label": "x"}, {"segment": [1, 2]}), "annotation 1: 'label' is missing"),
    (entry({"segment": [2, 1], "label": "x"}), r"annotation 0: the segment ends \(1\) before it starts \(2\)"),
])
def test_bad_records_are_named(tmp_path: Path, bad: Any, message: str) -> None:
    path = write(tmp_path / "a.json", {"good": entry(), "v1": bad})
    with pytest.raises(UserError, match=message) as caught:
        read_annotations(path)
    assert "video 'v1'" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_bad_records_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {f"v{number}": entry(duration=-1) for number in range(8)})
    with pytest.raises(UserError, match=r"video 'v0': .*; video 'v1': .*; video 'v2': [^;]* \(and 5 more\)") as caught:
        read_annotations(path)
    assert "v3" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"database": []}'])
def test_another_layout(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="no 'database' object"):
        read_annotations(tmp_path / "a.json")


def test_no_json_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_annotations(tmp_path / "a.json")
    with pytest.raises(UserError, match="no such file"):
        read_annotations(tmp_path / "b.json")
