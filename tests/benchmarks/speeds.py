"""How many times as fast as its baseline each of several models is: all in turn, in one process, as times of different runs tell nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tadshrink.profiling.latency import Ratio, measure_in_turn
from tadshrink.profiling.windows import example_window
from tadshrink.reporting import SILENT
from tadshrink.stages.common import open_detector

#: Turns in which all models are timed, each in an order of its own: what ran just before must not matter.
TURNS = 60


def times_of(paths: Sequence[Path]) -> dict[Path, list[float]]:
    """Milliseconds of a window of each detector, turn by turn; that of the first decides device and number format."""
    opened = [open_detector(path, None, SILENT) for path in paths]
    inputs, masks = (tensor.to(opened[0].compute.device) for tensor in example_window(opened[0].detector.config))
    runs = [lambda model=one.detector: model(inputs, masks) for one in opened]
    times, order = [list[float]() for _ in runs], list(range(len(runs)))
    with torch.inference_mode(), opened[0].compute.autocast():
        for turn in range(TURNS):
            random.Random(turn).shuffle(order)
            for number, taken in zip(order, measure_in_turn([runs[one] for one in order], 0 if turn else 3, 1, opened[0].compute.device),
                                     strict=True):
                times[number] += taken
    return dict(zip(paths, times, strict=True))


def speedups(baseline: Path, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Of each, as plain data."""
    times = times_of([baseline, *paths])
    return [Ratio.of(times[baseline], times[path]).to_json() for path in paths]
