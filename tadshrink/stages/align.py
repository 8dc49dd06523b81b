"""``align``: heal a checkpoint after a drop, against its uncompressed teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.compress.alignment import AlignmentLosses, AlignSettings, Lesson, make_student
from tadshrink.data.datasets import Dataset
from tadshrink.data.loader import TrainingSet, prefetch
from tadshrink.data.sources import Source, open_source
from tadshrink.errors import UserError
from tadshrink.files import check_output
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, Written, open_pair, save_stage, with_weights
from tadshrink.stages.inputs import check_splits, data_state
from tadshrink.training.loop import Resume, Task, fit


@dataclass(frozen=True)
class Aligned(Written):
    """A healed checkpoint, LoRA not merged yet, and the mean losses of each epoch."""

    curve: list[dict[str, float]]


def align(checkpoint: Path | ModelFile, teacher: Path | ModelFile, dataset: DatasetChoice, output: Path, settings: AlignSettings | None = None,
          device: str | None = None, reporter: Reporter = SILENT) -> Aligned:
    """LoRA fine-tuning of ``checkpoint`` against ``teacher`` on the training split without its held-out part.

    The state after each epoch is kept beside the output until that is written, so that the same call resumes.

    Raises:
        UserError: a teacher that lacks a block of the student or differs in shape, or LoRA that is not merged yet.
    """
    check_output(output)
    student, data = open_pair(checkpoint, dataset, device, reporter)
    source = open_source(data, student.detector.config.sampling, reporter)
    taught_by, _ = open_pair(teacher, dataset, device, reporter)
    return align_opened(student, taught_by, data, dataset, source, output, settings or AlignSettings(), reporter)


def align_opened(student: Opened, teacher: Opened, data: Dataset, dataset: DatasetChoice, source: Source, output: Path,
                 settings: AlignSettings, reporter: Reporter = SILENT) -> Aligned:
    """:func:`align` for models and data that are open already; the student's detector is changed."""
    _check_pair(student, teacher)
    check_splits(data, ["train"])
    detector = student.detector
    rank, alpha = make_student(detector, settings)
    training = TrainingSet(data, "train", source)
    losses = AlignmentLosses(detector, teacher.detector, settings)

    def lessons(epoch: int) -> Iterator[Lesson]:
        with teacher.compute.autocast():
            for batch in training.epoch(epoch, settings.batch_size, settings.seed, settings.augment):
                yield losses.lesson(batch)

    # The teacher works in a thread of its own, ahead of the student.
    task = Task(detector, losses, lambda epoch: prefetch(lessons(epoch)), training.batches_per_epoch(settings.batch_size))
    arguments = {**dataset.arguments(), "teacher": teacher.checksum, **settings.model_dump()}
    fingerprint = {"command": "align", "student": student.checksum, **arguments, "data": data_state(data)}
    resume = Resume(output.with_name(output.name + ".training"), fingerprint)
    curve = fit(task, settings, student.compute, resume, "align", reporter)
    lora = {"rank": rank, "alpha": alpha, "targets": list(detector.body.lora_targets), "state": {}}
    healed = with_weights(replace(student.checkpoint, lora=lora, ranking=None), detector)
    written = save_stage(output, healed, "align", arguments, student.checksum, {"curve": curve})
    resume.path.unlink(missing_ok=True)
    return Aligned(written.output, written.checksum, curve)


def _check_pair(student: Opened, teacher: Opened) -> None:
    if student.checkpoint.lora:
        raise UserError("its LoRA is not merged yet", where=student.path, fix="Run tadshrink merge first")
    ours, theirs = student.detector, teacher.detector
    if missing := sorted(set(ours.blocks.indices) - set(theirs.blocks.indices)):
        raise UserError(f"the teacher lacks block {', '.join(map(str, missing))} of the student", where=teacher.path,
                        fix="Give the uncompressed model as --teacher")
    if ours.config != theirs.config:
        raise UserError("the teacher's architecture or classes differ from the student's", where=teacher.path,
                        fix="Give the model that the student was made from")
