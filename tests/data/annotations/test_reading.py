from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadshrink.data.annotations import AnnotationSettings, find_annotations, read_annotations
from tadshrink.errors import UserError

ITEM = {"segment": [1, 2], "label": "x"}


def write(path: Path, *items: dict[str, object]) -> Path:
    path.write_text(json.dumps({"database": {"v": {"subset": "a", "duration": 9, "annotations": list(items)}}}))
    return path


def test_actions_with_an_ambiguous_label_are_regions(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", ITEM, {"segment": [3, 4], "label": "Ambiguous"}, {"segment": [5, 6], "label": "unsure"})
    (record,) = read_annotations(path)
    assert [action.label for action in record.actions] == ["x", "unsure"]
    assert record.ambiguous == ((3.0, 4.0),)
    # Places are those in the file.
    assert record.where(record.actions[1]) == "video 'v', annotation 2"
    (record,) = read_annotations(path, AnnotationSettings(ambiguous_labels=("unsure", "Ambiguous")))
    assert record.ambiguous == ((3.0, 4.0), (5.0, 6.0))
    (record,) = read_annotations(path, AnnotationSettings(ambiguous_labels=()))
    assert (len(record.actions), record.ambiguous) == (3, ())


def test_a_form_that_is_named_is_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", ITEM)
    assert find_annotations(path, AnnotationSettings("activitynet")).notes == ["annotations: ActivityNet JSON"]
    with pytest.raises(UserError, match=r"a\.json: not annotations in the form \"BMN's JSON\"\. Correct 'annotation_format'"):
        find_annotations(path, AnnotationSettings("bmn"))


def test_a_folder_with_one_json_is_that_file_and_one_with_two_is_not(tmp_path: Path) -> None:
    write(tmp_path / "a.json", ITEM)
    assert len(read_annotations(tmp_path)) == 1
    write(tmp_path / "b.json", ITEM)
    with pytest.raises(UserError, match=r"in this folder there are no annotations.*ActivityNet JSON, BMN's JSON, EPIC-KITCHENS CSV"):
        read_annotations(tmp_path)


@pytest.mark.parametrize(("name", "text"), [("a.csv", "a,b\n1,2\n"), ("a.txt", "v1 0 1\n"), ("a.json", '{"v": {"fps": 3}}'), ("a.csv", "")])
def test_files_of_no_known_form(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="no 'database' object, and no annotations of a form that is known"):
        read_annotations(tmp_path / name)


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        read_annotations(tmp_path / "none.json")


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                        ["database", "v", "subset", "duration", "annotations", "segment", "label", "ambiguous", "frame"]), inner, max_size=4))


@given(JSON)
def test_whatever_a_json_file_holds_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps({"database": {"w": content, "v": {"subset": "a", "annotations": [content], "ambiguous": content}}}))
    try:
        records = read_annotations(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert all(action.start <= action.end for record in records for action in record.actions)
