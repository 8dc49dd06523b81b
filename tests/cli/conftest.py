"""The command line, within this process and as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Lines of stderr that tell of an error."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]


@pytest.fixture
def tadshrink(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Calls ``tadshrink ARGUMENTS`` in this process; what libraries print from C is caught, too."""
    from tadshrink.cli.app import main

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["tadshrink", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        sys.stdout.flush()
        captured = capfd.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def process() -> Callable[..., Outcome]:
    """Starts ``python -m tadshrink ARGUMENTS``; environment variables as keywords."""
    def start(*arguments: object, **environment: str) -> Outcome:
        plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "TADSHRINK_DEBUG")}
        done = subprocess.run([sys.executable, "-m", "tadshrink", *map(str, arguments)], capture_output=True, text=True, check=False,
                              env=plain | {"OMP_NUM_THREADS": "1"} | environment)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return start
