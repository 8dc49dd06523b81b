"""``profile``: what a checkpoint costs."""

from __future__ import annotations

from pathlib import Path

from tadshrink.profiling.profile import Profile, profile_detector
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import open_detector


def profile(checkpoint: Path, runs: int = 20, device: str | None = None, reporter: Reporter = SILENT) -> Profile:
    """Parameters, multiply-adds, latency and peak memory for one window of noise, batch 1."""
    return profile_detector(open_detector(checkpoint, device, reporter).detector, runs, device)
