"""Quick measurements of the real thing: a few windows loaded, detected in and judged, and a few training steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median_high
from typing import TypeVar

import torch

from tadshrink.compress.benches import BENCHES
from tadshrink.compress.candidates import Key, candidates
from tadshrink.compress.judges import Bench, Windows
from tadshrink.compress.select_settings import RACEABLE
from tadshrink.data.datasets import HELDOUT, Dataset
from tadshrink.data.loader import TrainingSet, inference_batches
from tadshrink.data.sources import Source, VideoSource
from tadshrink.data.timeline import Video
from tadshrink.device import Compute, with_dtype
from tadshrink.evaluation.inference import Collector, split_videos
from tadshrink.models.detector import Detector
from tadshrink.models.units import units
from tadshrink.planning.clock import CALLS, SECONDS, fitting, timed
from tadshrink.planning.quick_training import draw_batches, measure_steps
from tadshrink.planning.speeds import Judged, Loading, Quick, Speed, Trained
from tadshrink.profiling.latency import measure_in_turn, measure_latency
from tadshrink.profiling.macs import detector_macs
from tadshrink.profiling.windows import example_window
from tadshrink.reporting import Advance, Reporter
from tadshrink.run_inputs import RunModel
from tadshrink.run_settings import RunSettings

T = TypeVar("T")
#: Videos that windows are loaded from, windows per batch of an evaluation, and how many passes a training step of a window takes.
VIDEOS, EVALUATED, PASSES = 2, 8, 5


def measure(model: RunModel, speed: Speed, few: Dataset, source: Source, settings: RunSettings, reporter: Reporter) -> Quick:
    """Measure everything that takes time in a run.

    Args:
        speed: as from :func:`measure_speed`, with as many units gone as the run will drop.
        few: the dataset, or a part of it.
    """
    started = time.perf_counter()
    videos = split_videos(few, HELDOUT)
    with reporter.track("measure", 4) as advance, torch.random.fork_rng(devices=[]):
        loading = _told(advance, _loading(source, videos[:VIDEOS]))
        size = fitting(speed.before, EVALUATED)
        batch = _batch(few, source, min(size, loading.windows), model.baseline.compute)
        detected = _told(advance, _detected(model.baseline.detector, batch, model.baseline.compute))
        judged = _told(advance, _judged(model, few, source, settings, batch))
        drawing, trained = _told(advance, _trained(model, few, source, settings, speed))
    return Quick(speed, loading, drawing, detected, judged, trained, time.perf_counter() - started)


def measure_speed(model: RunModel, kind: str, gone: int) -> Speed:
    """Both models in turn, on a window of noise."""
    detector, compute = model.baseline.detector.eval(), model.baseline.compute
    smaller = _without(detector, kind, gone)
    _, counting = timed(lambda: detector_macs(smaller))
    inputs, masks = (tensor.to(compute.device) for tensor in example_window(detector.config))
    with torch.inference_mode(), compute.autocast():
        times = measure_in_turn([lambda: detector(inputs, masks), lambda: smaller(inputs, masks)], 1, CALLS, compute.device, SECONDS)
    before, after = (median_high(own) / 1000 for own in times)
    return Speed(before, after, gone, len(times[0]), counting)


def _without(detector: Detector, kind: str, count: int) -> Detector:
    """A copy without so many units, evenly spread: which ones a run drops is not known yet, and costs hardly differ."""
    smaller, there = copy.deepcopy(detector), units(detector.blocks.left, kind)
    for place in range(count):
        smaller.blocks.drop(there[(2 * place + 1) * len(there) // (2 * count)])
    return smaller


def _loading(source: Source, videos: Sequence[Video]) -> Loading:
    places = [(video, window) for video in videos for window in source.windows(video)]
    started, count = time.perf_counter(), 0
    for video, window in places:
        source.load(video, window)
        count += 1
        if time.perf_counter() - started > SECONDS:
            break
    cold = (time.perf_counter() - started) / count
    _, warm = timed(lambda: source.load(*places[count - 1]))
    held = source.frames.cache.bytes / count if isinstance(source, VideoSource) else 0.0
    return Loading(cold, warm, held, count)


def _batch(few: Dataset, source: Source, size: int, compute: Compute) -> Windows:
    inputs, masks, windows = next(iter(inference_batches(split_videos(few, HELDOUT)[:VIDEOS], source, size)))
    return inputs.to(compute.device), masks.to(compute.device), windows


def _detected(detector: Detector, batch: Windows, compute: Compute) -> float:
    inputs, masks, windows = batch

    @torch.inference_mode()
    def detect() -> None:
        collector = Collector(detector.config)
        with compute.autocast():
            output = detector(inputs, masks)
        collector.add(output, windows)
        collector.finish()

    return measure_latency(detect, 1, CALLS, compute.device, limit=SECONDS).median / 1000 / len(windows)


def _judged(model: RunModel, few: Dataset, source: Source, settings: RunSettings, batch: Windows) -> Judged | None:
    """Of the first and the last candidate: on average, these make as many blocks run again as all do."""
    detector, compute, kind = model.baseline.detector, model.baseline.compute, BENCHES[type(few)]
    bench = Bench(detector.eval(), few, HELDOUT, kind.actions(few, HELDOUT, source), compute)
    judge = kind.judges[settings.select.metric](bench, settings.unit, settings.select.seed)
    if not judge.looks:
        return None
    keys, count = candidates(detector.blocks.left, settings.unit), len(batch[2])

    def seconds(chosen: Sequence[Key]) -> float:
        with ThreadPoolExecutor(1) as beside:
            look: Callable[[], object] = lambda: judge.group(iter([batch]), chosen, beside).result()  # noqa: E731
            return measure_latency(look, 1, CALLS, compute.device, limit=SECONDS).median / 1000 / count

    if settings.select.metric not in RACEABLE:
        return Judged(seconds(keys), 0.0, count)
    whole, ends = seconds([]), seconds([keys[0], keys[-1]])
    return Judged(whole, max(0.0, ends - whole) / 2, count)


def _trained(model: RunModel, few: Dataset, source: Source, settings: RunSettings, speed: Speed) -> tuple[Loading, Trained | None]:
    """Of a student of middling size."""
    training, align, detector = TrainingSet(few, "train", source), settings.align, model.baseline.detector
    size = min(fitting(speed.before * PASSES, align.batch_size), len(training.samples))
    drawn, drawing = draw_batches(training, source, align, size)
    if align.heal == "none":
        return drawing, None
    student = _without(detector, settings.unit, (speed.gone + 1) // 2 if settings.schedule == "progressive" else speed.gone)
    return drawing, measure_steps(student, detector, drawn, align, with_dtype(model.baseline.compute, align.dtype))


def _told(advance: Advance, value: T) -> T:
    advance(1, "")
    return value
