from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tadshrink import __version__
from tadshrink.errors import UserError

COMMANDS = ("run", "train", "eval", "profile", "select", "drop", "prune", "align", "merge", "detect", "export", "data make", "data check",
            "report", "doctor", "sfc base", "sfc train", "sfc eval", "sfc classify")
#: Prints what each --help costs in imports.
HELP = """
import sys
from tadshrink.cli.app import main
for command in %r:
    sys.argv = ["tadshrink", *command.split(), "--help"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, command
    print("=====")
heavy = {"torch", "numpy", "peft", "av", "matplotlib", "fvcore"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """The --help of every command, all from a single process; it fails when one of them imports a heavy library."""
    done = subprocess.run([sys.executable, "-c", HELP % (["", *COMMANDS],)], capture_output=True, text=True, check=False,
                          env=os.environ | {"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return dict(zip(["", *COMMANDS], done.stdout.split("=====\n"), strict=False))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example_and_json(helps: dict[str, str], command: str) -> None:
    assert f"Example: tadshrink {command} " in helps[command]
    assert "--json" in helps[command]


def test_help_lists_the_commands_and_the_first_step(helps: dict[str, str]) -> None:
    assert all(f"│ {command.split()[0]} " in helps[""] for command in COMMANDS)
    assert "First steps: tadshrink run --dataset synthetic --target 25%" in helps[""]


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="no processor time of single processes here")
def test_help_takes_less_than_0_7_seconds() -> None:
    def seconds() -> float:
        child = subprocess.Popen([sys.executable, "-m", "tadshrink", "--help"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
        return usage.ru_utime + usage.ru_stime

    # Processor time, since other processes may make the clock run on.
    assert min(seconds() for _ in range(3)) < 0.7


def test_version(tadshrink: Callable[..., Any]) -> None:
    assert tadshrink("--version").out == f"tadshrink {__version__}\n"


def test_without_a_command_there_is_help(tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink()
    assert outcome.code == 0
    shown = [shlex.split(line)[1] for line in outcome.out.splitlines() if line.startswith("  tadshrink ")]
    assert shown == ["run", "run", "detect"]
    assert all(pointer in outcome.out for pointer in ("tadshrink --help", "tadshrink run --help", "tadshrink doctor"))


@pytest.mark.parametrize(("arguments", "problem"), [
    (("nosuch",), "No such command 'nosuch'"),
    (("drop",), "Missing argument 'CKPT'"),
    (("eval",), "nothing to evaluate. Give a checkpoint (CKPT) and --dataset, or a file of detections (--results)"),
    (("eval", "a.pth"), "Missing option '--dataset'"),
    (("eval", "a.pth", "--what"), "No such option"),
    (("profile", "a.pth", "--runs", "0"), "'--runs'"),
    (("profile", "a.pth", "--runs", "many"), "'--runs'"),
    (("data", "make"), "Missing argument"),
])
def test_wrong_usage_is_one_line(tadshrink: Callable[..., Any], arguments: tuple[str, ...], problem: str) -> None:
    outcome = tadshrink(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("error: ")
    assert problem in outcome.err


@pytest.mark.parametrize(("words", "told"), [
    (("drop", "a.pth", "-o", "b.pth"), "interrupted"),
    (("merge", "a.pth", "-o", "b.pth"), "interrupted"),
    (("select", "a.pth", "--dataset", "d", "-o", "b.pth"), "interrupted; the same command goes on from the last finished epoch or stage"),
    (("sfc", "train", "a.pth", "--dataset", "d", "--split-at", "res3", "-o", "b.pth"), "interrupted; the same command goes on from the last "
                                                                                      "finished epoch or stage"),
])
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tadshrink: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...],
                                                    told: str) -> None:
    def stopped(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    for place in ("drop.drop", "merge.merge", "select.select", "sfc_train.train_module"):
        monkeypatch.setattr(f"tadshrink.stages.{place}", stopped)
    outcome = tadshrink(*words)
    assert (outcome.code, outcome.errors) == (130, [f"error: {told}"])


def test_what_cannot_be_made_is_one_line(tadshrink: Callable[..., Any], tmp_path: Path) -> None:
    outcome = tadshrink("data", "make", "nosuch", "--root", tmp_path)
    assert outcome.code == 2
    assert outcome.err == "error: cannot make 'nosuch'. The datasets that can be made are: synthetic, synthetic-clips\n"


def test_debug_shows_where_it_went_wrong(process: Callable[..., Any], tmp_path: Path) -> None:
    # A command that fails before it imports torch.
    arguments = ("eval", "--results", tmp_path / "none.json", "--annotations", tmp_path / "none.json")
    plain, debug = process(*arguments), process(*arguments, TADSHRINK_DEBUG="1")
    assert plain.code == 2
    assert plain.err.startswith("error: ") and plain.err.count("\n") == 1
    assert debug.code != 0
    assert "Traceback (most recent call last)" in debug.err
    assert "UserError: " in debug.err


def test_no_color_is_respected(process: Callable[..., Any]) -> None:
    coloured, plain = process("nosuch", FORCE_COLOR="1"), process("nosuch", FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b[1;31merror:" in coloured.err
    assert "31m" not in plain.err
    assert "\x1b" not in process("nosuch").err


def test_a_user_error_is_raised_as_it_is_to_those_who_debug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tadshrink.cli.app import main

    monkeypatch.setenv("TADSHRINK_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["tadshrink", "drop", str(tmp_path / "none.pth"), "-o", "b.pth"])
    with pytest.raises(UserError, match="no such file"):
        main()
