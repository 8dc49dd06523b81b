from __future__ import annotations

import pytest

from tadshrink.reporting import SILENT, Reporter


def test_the_silent_one_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    SILENT.note("something")
    with SILENT.track("work", 3) as advance:
        for number in range(3):
            assert advance(1, f"unit {number}") is None
    assert capfd.readouterr() == ("", "")


def test_an_error_while_working_comes_through() -> None:
    with pytest.raises(ValueError, match="no"), Reporter().track("work", 1):
        raise ValueError("no")
