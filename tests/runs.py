"""The work dir of a run of the tiny detector, and scores for runs that measure none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tadshrink.compress.select_settings import SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.evaluation.mean_ap import MapResult
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


def scored(average: float) -> MapResult:
    """A score that a test gives a model, in place of one that is measured."""
    return MapResult(average, {0.5: average}, np.full((1, 1), average), ("a",), 1, 1)
