from __future__ import annotations

import pytest

from tadshrink.errors import UserError, check_unused


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


@pytest.mark.parametrize(("given", "line"), [({"--a": 0, "--b": None, "--c": False}, "--a means nothing for a toy. Leave it out"),
                                              ({"--a": "", "--b": True}, "--a, --b mean nothing for a toy. Leave it out")])
def test_what_would_change_nothing_is_named(given: dict[str, object], line: str) -> None:
    with pytest.raises(UserError) as error:
        check_unused(given, "for a toy")
    assert str(error.value) == line


def test_what_is_not_given_is_no_error() -> None:
    check_unused({"--a": None, "--b": False}, "for a toy")
