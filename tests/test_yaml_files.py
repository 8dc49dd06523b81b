from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.errors import UserError
from tadshrink.yaml_files import parse_yaml, read_yaml


def test_values(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [1, x]\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, "x"]}
    assert parse_yaml("", "here") is None


@pytest.mark.parametrize("text", ["a: [", "day: 2024-13-45", f"n: {'9' * 5000}", "[" * 5000, "!!python/object:os.system x"])
def test_what_is_no_yaml_is_told_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^here: not valid YAML: ") as told:
        parse_yaml(text, "here")
    assert "\n" not in str(told.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.yaml"):
        read_yaml(tmp_path / "a.yaml")
