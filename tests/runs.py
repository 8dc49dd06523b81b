"""The work dir of a run of the tiny detector."""

from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.compress.select_settings import SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.pipeline import run
from tadshrink.run_settings import RunSettings

SETTINGS = RunSettings(target="2", tolerance=100, latency_runs=1, select=SelectSettings(metric="mse"),
                       align=AlignSettings(epochs=2, batch_size=4, seed=1))
#: The same on the command line, but for the seed of alignment, which only a recipe can say.
SAME = ("--target", SETTINGS.target, "--tolerance", 100, "--latency-runs", 1, "--metric", "mse", "--epochs", 2, "--batch-size", 4)


@pytest.fixture(scope="session")
def tiny_run(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drops of four blocks. Made once: tests must leave it as it is."""
    work = tmp_path_factory.mktemp("run") / "work"
    run(tiny.checkpoint, tiny.choice, work, SETTINGS, device="cpu")
    return work
