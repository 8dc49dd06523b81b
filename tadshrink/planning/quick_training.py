"""A few training steps of an alignment, timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median_high

import torch

from tadshrink.compress.alignment import AlignmentLosses
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.student import first_trained, make_student
from tadshrink.compress.teacher import Lesson
from tadshrink.data.loader import Batch, TrainingSet
from tadshrink.data.sources import Source, VideoSource
from tadshrink.device import Compute
from tadshrink.models.detector import Detector
from tadshrink.planning.clock import SECONDS, STEPS, Clock, timed
from tadshrink.planning.speeds import Loading, Trained
from tadshrink.training.loop import Task, fit


def draw_batches(training: TrainingSet, source: Source, align: AlignSettings, size: int) -> tuple[list[Batch], Loading]:
    """A few batches of training windows, and what it takes to draw them."""
    batches = [[(step * size + place) % len(training.samples) for place in range(size)] for step in range(STEPS)]
    drawn, cold = timed(lambda: [training.batch(indices, 0, align.seed, align.augment) for indices in batches])
    _, warm = timed(lambda: training.batch(batches[0], 0, align.seed, align.augment))
    held = source.training.cache.bytes / (size * STEPS) if isinstance(source, VideoSource) else 0.0
    return drawn, Loading(cold / size / STEPS, warm / size, held, size * STEPS)


def measure_steps(student: Detector, teacher: Detector, drawn: Sequence[Batch], align: AlignSettings, compute: Compute) -> Trained:
    """Steps of the real training loop; both detectors are changed."""
    make_student(student, align, first := first_trained(student, align, []))
    losses = AlignmentLosses(student, teacher, align, first)
    clock, taught, answers, size = Clock(), list[float](), list[float](), len(drawn[0].masks)

    def lessons(epoch: int) -> Iterator[Lesson]:
        for batch in drawn:
            if len(clock.ticks) > 2 and clock.ticks[-1] - clock.ticks[0] > SECONDS:
                return
            with compute.autocast():
                lesson, seconds = timed(lambda batch=batch: _done(losses.lesson(batch), compute))
            taught.append(seconds)
            answers.append(sum(tensor.nbytes for tensor in lesson.answer.tensors()) / size)
            yield lesson

    fit(Task(student, losses, lessons, len(drawn)), align.model_copy(update={"epochs": 1, "accumulate": 1}), compute, reporter=clock)
    # The loop tells about nothing before its first step, which warms up.
    steps = [after - before for before, after in pairwise(clock.ticks)][1:]
    teaching = median_high(taught[1:])
    return Trained(teaching / size, max(0.0, median_high(steps) - teaching) / size, answers[0], len(steps), size)


def _done(lesson: Lesson, compute: Compute) -> Lesson:
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
    return lesson
