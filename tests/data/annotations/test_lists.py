from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.data.annotations.lists import read_classes, read_names
from tadshrink.errors import UserError


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("a.txt", "run\n\n  long jump \n", ("run", "long jump")),
    ("a.txt", "\ufeff7 BaseballPitch\n9 Basketball Dunk\n", ("BaseballPitch", "Basketball Dunk")),
    ("a.txt", "100 m\nrun\n", ("100 m", "run")),
    ("a.csv", "action\nBallet\n\"Snow, tubing\"\n", ("Ballet", "Snow, tubing")),
    ("a.csv", "id,key,instances\n0,tap,\"['a', 'b']\"\n1,spoon,\n", ("tap", "spoon")),
    ("a.json", '["run", "jump"]', ("run", "jump")),
    ("a.json", '{"run": 1, "jump": 0}', ("jump", "run")),
])
def test_forms(tmp_path: Path, name: str, text: str, expected: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name) == expected
    assert set(read_names(tmp_path / name)) == set(expected)


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.txt", "run\njump\nrun\n", "listed more than once: run"),
    ("a.txt", "\n", "no class in this list"),
    ("a.csv", "action_en\nrun\n", "no column key or action"),
    ("a.csv", "id,key\n1,run\n0,jump\n", "the ids are not 0, 1, 2"),
    ("a.csv", "key\n" + "x" * 200_000, "not a readable CSV file"),
    ("a.json", "3", "not a list of names"),
    ("a.json", '{"database": {}}', "not a list of names"),
    ("a.json", '["run", 3]', "not a list of names"),
])
def test_what_is_no_list_of_classes(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_classes(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_no_video_need_be_listed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    assert read_names(tmp_path / "a.json") == ()


def test_a_json_object_may_say_why_a_video_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"v1": "lost", "v2": {"broken": true}}')
    assert read_names(tmp_path / "a.json") == ("v1", "v2")
