"""What the stages of recognition do first: open a recogniser, and make sure that a dataset means the same to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.opening import ModelFile, path_of
from tadshrink.device import Compute
from tadshrink.errors import UserError
from tadshrink.onnx_export.settings import is_onnx
from tadshrink.recognition.accuracy import Accuracy, accuracy
from tadshrink.recognition.config import ONE_PASS
from tadshrink.recognition.data import RecognitionDataset, load_recognition, with_files
from tadshrink.recognition.evaluation import predict
from tadshrink.recognition.opening import open_recogniser as built
from tadshrink.recognition.opening import read_recogniser
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.recognition.views import ClipSource, Views, parse_views
from tadshrink.reporting import Reporter
from tadshrink.stages.common import AnyOpened, DatasetChoice, Opened, placed, renamed
from tadshrink.stages.inputs import PLACEHOLDER
from tadshrink.stages.opening import check_as_is

#: Class names that a message shows.
SHOWN = 5


@dataclass(frozen=True)
class RecognitionChoice(DatasetChoice):
    """A dataset of trimmed videos by built-in name, or the path of a YAML, a CSV file or a folder, and the folder it lies in."""

    def load(self, reporter: Reporter) -> RecognitionDataset:  # type: ignore[override]
        """:func:`~tadshrink.recognition.data.load_recognition`, with the files looked for."""
        return with_files(load_recognition(self.name, self.root, reporter), self.allow_missing, reporter)


@dataclass(frozen=True)
class OpenedRecogniser(Opened):
    """A checkpoint that was read, and its recogniser in eval mode on the chosen device."""

    @property
    def recogniser(self) -> ActionRecogniser:
        """The model, by what it is."""
        return cast(ActionRecogniser, self.detector)

    def source(self, reporter: Reporter, augment: str = "none") -> ClipSource:
        """Where its clips come from, time and again."""
        return ClipSource(self.recogniser.config.clip, augment, reporter)

    def source_once(self, reporter: Reporter) -> ClipSource:
        """Likewise, but for videos that are looked at once: no frame is kept."""
        return ClipSource(self.recogniser.config.clip, reporter=reporter, max_bytes=0)


def open_recogniser(file: Path | ModelFile, device: str | None, reporter: Reporter) -> OpenedRecogniser:
    """Read a checkpoint and build its recogniser.

    Raises:
        UserError: a file that is not a sound checkpoint of a recogniser, or weights that do not fit its architecture.
    """
    path = path_of(file)
    checkpoint = read_recogniser(file, reporter)
    return OpenedRecogniser(**vars(placed(path, checkpoint, built(checkpoint, path), device, reporter)))


def open_model(file: Path | ModelFile, device: str | None, reporter: Reporter) -> OpenedRecogniser:
    """:func:`open_recogniser`, also for ONNX files: what comes back classifies, and does nothing else.

    Raises:
        UserError: neither a sound checkpoint nor a sound ONNX file of a recogniser, or a device that does not run it.
    """
    path = path_of(file)
    if not is_onnx(path):
        return open_recogniser(file, device, reporter)
    check_as_is(file)
    from tadshrink.recognition.onnx_file import OnnxRecogniser

    model = OnnxRecogniser.open(path, device and device.partition(":")[0], reporter)
    checkpoint = Checkpoint(model.config.model_dump(mode="json"), {}, list(model.config.classes), list(model.metadata.dropped))
    compute = Compute(torch.device("cpu"), torch.float32, f"ONNX Runtime ({model.provider})")
    return OpenedRecogniser(path, checkpoint, model, compute, model.metadata.checksum)


def fitted(opened: AnyOpened, dataset: RecognitionDataset, reporter: Reporter) -> AnyOpened:
    """The recogniser with the dataset's class names, if its own are placeholders.

    Raises:
        UserError: the dataset has a class that the recogniser does not know.
    """
    config = opened.detector.config
    if unknown := [name for name in dataset.classes if name not in config.classes]:
        if len(dataset.classes) != len(config.classes) or not all(map(PLACEHOLDER.fullmatch, config.classes)):
            raise UserError(f"{len(unknown)} of the {len(dataset.classes)} classes are none of the model's {len(config.classes)} "
                            f"({_some(unknown)}; the model has {_some(config.classes)})", where=dataset.where,
                            fix="Use a dataset with the labels that the model was trained on, or name its classes: --set classes=FILE")
        reporter.note(f"the model has no class names: those of dataset {dataset.config.name!r} are taken, in their order")
        return renamed(opened, dataset.classes)
    if len(dataset.classes) < len(config.classes):
        reporter.note(f"the dataset has {len(dataset.classes)} of the model's {len(config.classes)} classes; the model may name any of them")
    return opened


def views_of(text: str, recogniser: ActionRecogniser, where: object) -> Views | None:
    """What ``--views`` asks for; ``None`` is the module's one pass.

    Raises:
        UserError: it is no number of views, or the recogniser has no module.
    """
    views = None if text == ONE_PASS else parse_views(text)
    recogniser.check_way(views is None, where)
    return views


def labels_of(records: Sequence[TrimmedVideo], classes: Sequence[str]) -> list[int]:
    """The numbers of the labels."""
    numbers = {name: number for number, name in enumerate(classes)}
    return [numbers[record.label] for record in records]


def judge(opened: OpenedRecogniser, records: Sequence[TrimmedVideo], views: Views | None, source: ClipSource, batch_size: int, name: str,
          reporter: Reporter) -> Accuracy:
    """Accuracy of a recogniser on some videos."""
    classes = opened.recogniser.config.classes
    found = predict(opened.recogniser, records, source, views, opened.compute, batch_size, name, reporter)
    return accuracy(found, torch.tensor(labels_of(records, classes)), classes)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
