"""``align``: heal a checkpoint after a drop, against its uncompressed teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tadshrink.checkpoint.opening import ModelFile, check_merged
from tadshrink.compress.alignment import AlignmentLosses
from tadshrink.compress.initialise import head_start
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.student import check_settings, described, first_trained, make_student, narrower
from tadshrink.compress.teacher import Lesson
from tadshrink.data.datasets import Dataset
from tadshrink.data.loader import TrainingSet, prefetch
from tadshrink.data.sources import Source
from tadshrink.device import Compute, with_dtype
from tadshrink.distributed import only_first, start, world
from tadshrink.errors import UserError
from tadshrink.files import check_output
from tadshrink.models.body import narrowed
from tadshrink.models.detector import Detector
from tadshrink.recognition.data import RecognitionDataset
from tadshrink.recognition.training import measure_norms
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, Written, save_stage, with_weights
from tadshrink.stages.sides import open_both, open_either, side_of
from tadshrink.training.draws import Draws
from tadshrink.training.loop import Resume, Task, fit


@dataclass(frozen=True)
class Aligned(Written):
    """A healed checkpoint, the mean losses of each epoch, and whether it has LoRA that is to be merged."""

    curve: list[dict[str, float]]
    lora: bool


def align(checkpoint: Path | ModelFile, teacher: Path | ModelFile, dataset: DatasetChoice, output: Path, settings: AlignSettings | None = None,
          device: str | None = None, reporter: Reporter = SILENT) -> Aligned:
    """LoRA fine-tuning of ``checkpoint`` against ``teacher`` on the training split without its held-out part.

    The state after each epoch is kept beside the output until that is written, so that the same call resumes.

    Raises:
        UserError: a teacher that lacks a block of the student or differs in shape, or LoRA that is not merged yet.
    """
    check_output(output)
    student, data = open_both(checkpoint, dataset, device, reporter)
    side = side_of(student.checkpoint)
    source = side.source(data, student.detector.config, reporter)
    taught_by = open_either(teacher, device, reporter)
    if side_of(taught_by.checkpoint) is side:
        # Otherwise it is told that the architectures differ.
        taught_by, _ = side.fitted(taught_by, data, reporter)
    return align_opened(student, taught_by, data, dataset, source, output, settings or AlignSettings(), reporter)


def align_opened(student: Opened, teacher: Opened, data: Dataset | RecognitionDataset, dataset: DatasetChoice, source: Source, output: Path,
                 settings: AlignSettings, reporter: Reporter = SILENT) -> Aligned:
    """:func:`align` for models and data that are open already; the student's detector is changed.

    Every process that torchrun started calls this, and has its share of each batch. The first one writes.
    """
    _check_pair(student, teacher)
    side = side_of(student.checkpoint)
    side.check(data, ["train"], True)
    start(student.compute.device)
    detector, compute = student.detector, with_dtype(student.compute, settings.dtype)
    check_settings(detector, settings)
    reporter.note(described(detector, settings))
    if compute != student.compute:
        reporter.note(compute.reason)
    training = side.training(data, "train", source)
    arguments = {**dataset.arguments(), **settings.model_dump(mode="json"), "teacher": teacher.checksum}
    model = student.checkpoint
    fingerprint = {"command": "align", "student": student.checksum, "architecture": model.architecture, "dropped": model.dropped, **arguments,
                   "data": side.state(data), "processes": world().size, "device": compute.kind}
    resume = Resume(output.with_name(output.name + ".training"), fingerprint)
    changed = _correct(detector, teacher.detector, training, settings, compute, reporter) + narrower(detector, teacher.detector)
    first = first_trained(detector, settings, changed)
    lora = make_student(detector, settings, first)
    curve = [] if settings.heal == "none" else _heal(detector, teacher.detector, training, settings, first, compute, resume, reporter)
    healed = with_weights(replace(student.checkpoint, lora=lora, ranking=None), detector)
    written = only_first(lambda: save_stage(output, healed, "align", arguments, student.checksum, {"curve": curve}))
    if world().rank == 0:
        resume.path.unlink(missing_ok=True)
    return Aligned(written.output, written.checksum, curve, healed.lora is not None)


def _correct(student: Detector, teacher: Detector, training: TrainingSet, settings: AlignSettings, compute: Compute,
             reporter: Reporter) -> list[int]:
    """The head start that the settings ask for; the blocks that it has changed."""
    if settings.init == "none":
        return []
    draws = Draws(training, settings.batch_size, settings.seed, augmented=False)
    count = -(-settings.init_windows // settings.batch_size)
    return head_start(student, teacher, settings.init, lambda: islice(draws.epoch(0), count), compute, reporter)


def _heal(student: Detector, teacher: Detector, training: TrainingSet, settings: AlignSettings, first: int | None, compute: Compute,
          resume: Resume, reporter: Reporter) -> list[dict[str, float]]:
    """Train; mean losses of each epoch."""
    draws = Draws(training, settings.batch_size, settings.seed, settings.augment, settings.subset, settings.repeats)
    losses = AlignmentLosses(student, teacher, settings, first, round(settings.teacher_memory * 1e9) if draws.fixed else 0)
    reporter.note(losses.described())

    def lessons(epoch: int) -> Iterator[Lesson]:
        for batch in draws.epoch(epoch):
            # Not open while others run: a generator that is dropped may be closed by another thread, which would leave its context then.
            with compute.autocast():
                lesson = losses.lesson(batch)
            yield lesson

    # The teacher works in a thread of its own, ahead of the student.
    task = Task(student, losses, lambda epoch: prefetch(lessons(epoch)), draws.batches_per_epoch)
    curve = fit(task, settings, compute, resume, "align", reporter)
    # The batch norms of a compressing module; no others are trained.
    measure_norms(task, compute)
    if said := losses.teacher.account():
        reporter.note(said)
    return curve


def _check_pair(student: Opened, teacher: Opened) -> None:
    for side in (student, teacher):
        check_merged(side.checkpoint, side.path)
    ours, theirs = student.detector, teacher.detector
    if type(ours) is not type(theirs):
        raise UserError("one of the two is a detector and the other a recogniser", where=teacher.path,
                        fix="Give the model that the student was made from")
    left = theirs.blocks.left
    missing = [index if index not in left else f"{index}.{half}" for index, halves in ours.blocks.left.items()
               for half in halves if half not in left.get(index, ())]
    if missing:
        raise UserError(f"the teacher lacks block {', '.join(map(str, dict.fromkeys(missing)))} of the student", where=teacher.path,
                        fix="Give the uncompressed model as --teacher")
    # Channel pruning leaves the tokens as they are.
    if narrowed(ours.body, ours.config, ()) != narrowed(theirs.body, theirs.config, ()):
        raise UserError("the teacher's architecture or classes differ from the student's", where=teacher.path,
                        fix="Give the model that the student was made from")
