"""``profile``: what a checkpoint costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tadshrink.checkpoint.foreign.summary import summary
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.profiling.profile import Profile, profile_detector
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import open_detector


def profile(checkpoint: Path | ModelFile, runs: int | None = None, device: str | None = None, reporter: Reporter = SILENT) -> Profile:
    """Parameters, multiply-adds, latency and peak memory for one window of noise, batch 1; see :func:`profile_detector`."""
    opened = open_detector(checkpoint, device, reporter)
    return replace(profile_detector(opened.detector, runs, device, reporter=reporter), summary=summary(opened.checkpoint))
