from __future__ import annotations

import json

import pytest
from rich.console import Console

from tadshrink.cli.console import ConsoleReporter, emit, fail, say, table


def test_an_error_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    fail("x" * 500 + " [bold]not markup[/bold]")
    captured = capsys.readouterr()
    assert captured.err == "error: " + "x" * 500 + " [bold]not markup[/bold]\n"
    assert captured.out == ""


def test_what_a_terminal_would_obey_is_shown_and_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    fail("a\x1b[31mb\x07\u202ec é")
    assert capsys.readouterr().err == "error: a\\x1b[31mb\\x07\\u202ec é\n"


def test_json_goes_to_stdout_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    emit(False, {"a": 1})
    assert capsys.readouterr().out == ""
    emit(True, {"a": [1, None]})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": [1, None]}
    assert captured.err == ""


def test_words_notes_and_tables_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("words [1]")
    ConsoleReporter().note("a note [2]")
    table("Title [3]", ["name", "value"], [["[bold]a", 1.5]])
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in ("words [1]", "a note [2]", "Title", "[bold]a", "1.5"):
        assert text in captured.err


def test_where_stderr_is_no_terminal_a_finished_work_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter().track("work [x]", 3) as advance:
        for number in range(3):
            advance(1, f"item {number} [y]")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert "work [x]" in lines[0]
    assert "3/3" in lines[0]


def test_a_narrow_table_cuts_nothing_off(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tadshrink.cli.console.stderr", Console(stderr=True, width=30))
    table("Times", ["way", "speed-up", "memory", "views"], [["sfc", "1.25 (0.75-1.75)", "123456789", "10x1of3"]])
    columns = zip(*(line.split("│") for line in capsys.readouterr().err.splitlines() if line.startswith("│")), strict=True)
    assert ["".join(cell.strip() for cell in column) for column in columns][1:-1] == ["sfc", "1.25(0.75-1.75)", "123456789", "10x1of3"]
