from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tadshrink.stages import doctor as stage
from tadshrink.stages.doctor import Check, Diagnosis


def test_what_is_here_is_told(process: Callable[..., Any]) -> None:
    outcome = process("doctor", "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["ok"] and told["broken"] == []
    lines = outcome.err.splitlines()
    assert len(lines) == len(told["checks"])
    assert all(line.startswith(("ok    ", "lack  ")) for line in lines)
    assert any(line.startswith("ok    torch ") for line in lines)


def test_what_is_needed_and_lacks_ends_it_with_an_error(tadshrink: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    checks = (Check("Python", "3.2", "too old", needed=True), Check("GPU", "none", "it takes longer"))
    monkeypatch.setattr(stage, "doctor", lambda: Diagnosis(checks))
    outcome = tadshrink("doctor")
    assert outcome.code == 2
    assert outcome.errors == ["error: needed, and not here: Python. Install tadshrink again, in an environment of its own"]
    assert "lack  GPU     none; it takes longer" in outcome.err
    monkeypatch.setattr(stage, "doctor", lambda: Diagnosis(checks[1:]))
    assert tadshrink("doctor").code == 0
