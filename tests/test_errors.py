from __future__ import annotations

import pytest

from tadshrink.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("no such file",), "no such file"),
        (("no such file", "a.pth"), "a.pth: no such file"),
        (("no such file.", "a.pth", "Check the path."), "a.pth: no such file. Check the path"),
        (("two\n  lines", None, "and\tmore"), "two lines. and more"),
    ],
)
def test_it_reads_as_one_line(arguments: tuple[str | None, ...], line: str) -> None:
    assert str(UserError(*arguments)) == line


def test_it_keeps_what_and_where_apart() -> None:
    error = UserError("bad value", where="lr", fix="Use a number")
    assert (error.what, error.where) == ("bad value", "lr")
