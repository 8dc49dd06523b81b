"""What a detector costs: parameters, multiply-adds, time and memory for one window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tadshrink.device import choose_compute
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, FeatureConfig
from tadshrink.models.detector import Detector
from tadshrink.models.units import Unit, gone
from tadshrink.profiling.latency import Latency, PeakMemory, measure_latency, peak_memory
from tadshrink.profiling.macs import MacsReport, count_macs, parameters
from tadshrink.reporting import SILENT, Reporter

#: Timed calls, and how long warming up and timing may take (s), where nothing else was asked for.
RUNS, SECONDS = 20, 60.0


@dataclass(frozen=True)
class Profile:
    """The cost of one window, batch 1. ``dropped`` are units that are gone, ascending; ``summary`` is the architecture in words."""

    params: int
    macs: MacsReport
    latency: Latency
    memory: PeakMemory
    architecture: DetectorConfig
    dropped: list[Unit]
    summary: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "params": self.params,
            "macs": self.macs.to_json(),
            "latency_ms": self.latency.to_json(),
            "peak_memory": self.memory.bytes,
            "arch": self.architecture.model_dump(mode="json"),
            "dropped": self.dropped,
            "summary": self.summary,
        }


def profile_detector(detector: Detector, runs: int | None = None, device: str | None = None, warmup: int = 3,
                     reporter: Reporter = SILENT) -> Profile:
    """Count and measure one window of noise, in eval mode; the detector is left as it was.

    Args:
        runs: timed calls; None for 20, or as many as fit into a minute.
        device: to measure on, and with the dtype of the other commands there; None chooses as they do.

    Raises:
        UserError: ``runs`` is below 1, or there is no such device.
    """
    wanted = RUNS if runs is None else runs
    if wanted < 1 or warmup < 0:
        raise UserError(f"{wanted} runs after {warmup} to warm up measure nothing", fix="Choose at least 1 run")
    compute = choose_compute(device, detector.config.compute_width)
    inputs, masks = example_window(detector.config)
    macs = count_macs(detector, inputs, masks)
    with _placed(detector, compute.device), torch.inference_mode(), compute.autocast():
        inputs, masks = inputs.to(compute.device), masks.to(compute.device)

        def run() -> object:
            return detector(inputs, masks)

        with reporter.track("profile", 1 + warmup + wanted) as advance:
            # Beside the memory, this shows how long one call takes, before others are begun.
            memory = peak_memory(run, compute.device)
            advance(1, "")
            latency = measure_latency(run, warmup, wanted, compute.device, compute.dtype_name, inputs.shape,
                                      SECONDS if runs is None else math.inf, advance)
    if latency.runs < wanted:
        reporter.note(f"{latency.runs} timed instead of {wanted}: no more fit into {SECONDS:.0f} s (--runs {wanted} for all)")
    dropped = gone(detector.config.block_count, detector.blocks.left)
    return Profile(parameters(detector), macs, latency, memory, detector.config, dropped)


def example_window(config: DetectorConfig) -> tuple[Tensor, Tensor]:
    """The same window of noise each time: uint8 [1, 1, 3, F, H, W] or features [1, C, T], and bool [1, window] of cells, none padding."""
    sampling, generator = config.sampling, torch.Generator().manual_seed(0)
    masks = torch.ones(1, sampling.window, dtype=torch.bool)
    if isinstance(config.backbone, FeatureConfig):
        return torch.randn(1, config.backbone.channels, sampling.window, generator=generator), masks
    shape = (1, 1, 3, sampling.frames, sampling.frame_size, sampling.frame_size)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator), masks


@contextmanager
def _placed(detector: Detector, device: torch.device) -> Iterator[None]:
    """``detector`` on ``device`` and in eval mode; afterwards back where it was, each part in its former mode."""
    home = next(detector.parameters()).device
    modes = [(module, module.training) for module in detector.modules()]
    try:
        detector.to(device).eval()
        yield
    finally:
        detector.to(home)
        for module, training in modes:
            module.training = training
